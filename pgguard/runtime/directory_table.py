"""The directory's state as the console shows it: does it answer, does what is known still serve, who is asked when."""

from collections.abc import Iterator

from pgguard.directory.directory import Directory, Health
from pgguard.directory.settings import DirectorySettings

DIRECTORY = ("what", "state")


def directory_rows(directory: Directory, settings: DirectorySettings, *, in_full: bool) -> Iterator[tuple[str, str]]:
    """`in_full`: with what tells of the inside: which server it is, and what it says."""
    health = directory.health()
    yield "directory", _answers(health)
    yield "groups", _serving(health, settings)
    yield "breaker", _breaker(health)
    pushed = directory.told_by is not None
    yield "changes", "told at once" if pushed else f"found by polling every {settings.refresh:g} s"
    if in_full:
        yield "source", directory.origin
        yield "error", directory.error or "none"


def _answers(health: Health) -> str:
    return f"has not answered for {health.silent:.0f} s" if health.failures else "answers"


def _serving(health: Health, settings: DirectorySettings) -> str:
    if not health.failures:
        return f"at most {health.oldest:.1f} s old"
    if health.serves:
        return f"those known serve for {health.serves:.0f} s more"
    return f"none are known: older than max_stale, {settings.max_stale:g} s"


def _breaker(health: Health) -> str:
    if not health.failures:
        return "closed"
    state = "open" if health.breaker_open else "closed"
    return f"{state} after {health.failures} failures; the next try is in {health.next_try:.0f} s"
