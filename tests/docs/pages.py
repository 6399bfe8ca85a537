"""The commands that the documentation shows: found in its pages, run, and held against what stands below them.

A `console` block shows what is typed ("$ ", going on with "> ") and what comes of it, where "…" stands for anything
within a line, and for any lines where it stands alone. A `sh` block shows what is typed, and nothing more. A block that
nothing runs has a comment of its own above it, which says why: <!-- not run: needs systemd -->
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"(?:^<!-- not run: (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and why nothing runs it."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def is_for_a_shell(self) -> bool:
        return self.language in {"sh", "console"}


@dataclass(frozen=True)
class Command:
    """What is typed, and what is to be shown; `shown` is None where the page does not say."""

    typed: str
    shown: tuple[str, ...] | None


@dataclass(frozen=True)
class Stage:
    """Where the commands of a page run: `places` says what stands for what in this run.

    `answers`: beginnings of commands whose exit code 1 is an answer.
    """

    folder: Path
    environment: Mapping[str, str]
    places: Mapping[str, str] = field(default_factory=dict)
    answers: Sequence[str] = ()


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page.name, text.count("\n", 0, found.start(2)) + 1, found[2], found[3], found[1])
        for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    if block.language == "sh":
        return [Command(block.text, None)]
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> "):
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", found[-1][1])
        else:
            found[-1][1].append(line.rstrip())
    return [Command(typed, tuple(shown)) for typed, shown in found]


def run(command: Command, stage: Stage) -> None:
    """Asserts that it shows what it is to show, or ends well where the page does not say."""
    typed = command.typed
    for said, meant in stage.places.items():
        typed = typed.replace(said, meant)
    done = subprocess.run(
        ["bash", "-ec", typed], cwd=stage.folder, env={**stage.environment}, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    printed = done.stdout
    for said, meant in stage.places.items():
        printed = printed.replace(meant, said)
    if command.shown is None:
        fine = done.returncode == 0 or (done.returncode == 1 and command.typed.startswith(tuple(stage.answers)))
        assert fine, f"$ {typed}\n{printed}\nended with {done.returncode}"
    else:
        shown = [line.rstrip() for line in printed.splitlines() if line]
        assert _matches(shown, command.shown), f"$ {typed}\n{printed}\nwas to be\n" + "\n".join(command.shown)


def _matches(shown: Sequence[str], expected: Sequence[str]) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(re.escape(part) for part in line.split("…")) + "\n"
        for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in shown)) is not None
