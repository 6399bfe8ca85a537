"""Reading a rule file's values: words, lists, durations, maps; each with its own error where it does not fit."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pgguard.policy.patterns import Matcher, PatternError, glob
from pgguard.policy.problems import Place, Problems, suggest
from pgguard.policy.tree import Items, Mapping, Node, Scalar, kind_of

_T = TypeVar("_T")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_DAYS = 3660
"""Durations and counts are bounded by what clocks and the audit's numbers hold, with room."""
LARGEST_COUNT = 10**15
_CONTROL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")
"""What no protocol field or log line may hold; YAML lets it in by an escape in double quotes."""


def seconds_of(duration: str) -> float | None:
    """Seconds of `90s`, `15m`, `8h`, `1d`; None where it is no duration."""
    match = _DURATION.fullmatch(duration)
    return None if match is None else float(match[1]) * _UNITS[match[2]]


class Reader:
    """Reads values of one load; what does not fit becomes a problem, and None."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def add(self, place: Place, message: str) -> None:
        self.problems.add(place, message)

    def mapping(self, node: Node, what: str) -> Mapping | None:
        if isinstance(node, Mapping):
            if not node.entries:
                self.add(node.place, f"{what} is empty; write it out or leave it out")
                return None
            return node
        self.add(node.place, f"{what} must be a map of keys")
        return None

    def known_keys(self, mapping: Mapping, known: Iterable[str], what: str) -> None:
        known = list(known)
        for entry in mapping.entries:
            if entry.key not in known:
                self.add(entry.place, f'unknown key "{entry.key}" in {what}{suggest(entry.key, known)}')

    def word(self, node: Node, what: str) -> str | None:
        """A string; a number or boolean in its place must be quoted."""
        if not isinstance(node, Scalar):
            self.add(node.place, f"{what} must be one word or text")
            return None
        if node.value is None or node.value == "":
            self.add(node.place, f"{what} is empty; write it out or leave it out")
            return None
        if not isinstance(node.value, str):
            self.add(node.place, f'{what} "{node.text}" is read as a {kind_of(node)}; quote it: "{node.text}"')
            return None
        control = _CONTROL.search(node.value)
        if control is not None:
            self.add(node.place, f"{what} holds the control character U+{ord(control[0]):04X}; leave it out")
            return None
        return node.value

    def name(self, node: Node, what: str) -> str | None:
        """A word that messages and logs show in one line."""
        word = self.word(node, what)
        if word is None or (word.isprintable() and word == word.strip()):
            return word
        self.add(node.place, f"{what} {word!r} has space around it or what cannot be printed; write it plainly")
        return None

    def listed(self, node: Node, what: str) -> tuple[Node, ...]:
        """A value or a list of values, never empty."""
        if not isinstance(node, Items):
            return (node,)
        if not node.items:
            self.add(node.place, f"{what} is an empty list; name something or leave it out")
        return node.items

    def words(self, node: Node, what: str) -> tuple[tuple[Place, str], ...]:
        found = ((item.place, self.word(item, what)) for item in self.listed(node, what))
        return tuple((place, word) for place, word in found if word is not None)

    def globs(self, node: Node, what: str, *, ignore_case: bool = False) -> tuple[Matcher, ...]:
        return tuple(glob(word, ignore_case=ignore_case) for _, word in self.words(node, what))

    def patterns(self, node: Node, what: str, parse: Callable[[str], _T]) -> tuple[_T, ...]:
        return tuple(self._parsed(self.words(node, what), parse))

    def _parsed(self, words: Iterable[tuple[Place, str]], parse: Callable[[str], _T]) -> Iterator[_T]:
        for place, word in words:
            try:
                yield parse(word)
            except PatternError as error:
                self.add(place, str(error))

    def choice(self, node: Node, what: str, known: Iterable[str]) -> str | None:
        known = list(known)
        word = self.word(node, what)
        if word is None:
            return None
        if word not in known:
            self.add(node.place, f'unknown {what} "{word}"{suggest(word, known)}')
            return None
        return word

    def boolean(self, node: Node, what: str) -> bool | None:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.add(node.place, f"{what} must be true or false")
        return None

    def count(self, node: Node, what: str, least: int = 1) -> int | None:
        if isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool):
            if least <= node.value <= LARGEST_COUNT:
                return node.value
            bound = f"at least {least}" if node.value < least else f"at most {LARGEST_COUNT}"
            self.add(node.place, f"{what} must be {bound}")
            return None
        self.add(node.place, f"{what} must be a whole number")
        return None

    def duration(self, node: Node, what: str) -> float | None:
        """Seconds, of `90s`, `15m`, `8h`, `1d`."""
        word = self.word(node, what)
        seconds = None if word is None else seconds_of(word)
        if seconds and seconds > LONGEST_DAYS * _UNITS["d"]:
            self.add(node.place, f'{what} "{word}" is longer than {LONGEST_DAYS}d')
            return None
        if seconds:
            return seconds
        if word is not None:
            self.add(node.place, f'{what} "{word}" is no duration above zero; write it as 90s, 15m, 8h or 1d')
        return None
