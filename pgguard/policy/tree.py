"""YAML as rule files use it: one document of the core schema (YAML 1.2, section 10.3), each value with its place.

PyYAML only parses, into events; the tree is built here. So nothing recurses before the depth is known, a tag is seen as
written, and what PyYAML's own 1.1 schema would read as something else (`on` as true, `08:00` as a number) is a string.
Tags, merge keys and duplicate keys are errors; anchors are expanded, within bounds on size and depth.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from pgguard.policy.problems import Place, Problems

MAX_FILE = 1 << 20
"""Bytes of a rule file."""
MAX_DEPTH = 40
MAX_NODES = 200_000
"""Values of a file after its anchors are expanded."""

Value = str | int | float | bool | None


class Scalar(msgspec.Struct, frozen=True):
    """`text` is as written; `value` by the core schema, a string where it is quoted."""

    place: Place
    value: Value
    text: str


class Items(msgspec.Struct, frozen=True):
    place: Place
    items: tuple["Node", ...]


class Entry(msgspec.Struct, frozen=True):
    key: str
    place: Place
    value: "Node"


class Mapping(msgspec.Struct, frozen=True):
    place: Place
    entries: tuple[Entry, ...]

    def get(self, key: str) -> "Node | None":
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def place_of(self, key: str) -> Place:
        return next((entry.place for entry in self.entries if entry.key == key), self.place)


Node = Scalar | Items | Mapping


def plain(node: Node) -> Any:
    """The value without its places, as JSON would hold it."""
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Mapping():
            return {entry.key: plain(entry.value) for entry in node.entries}


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built


class _Stop(Exception):  # noqa: N818  # no error of the code
    """The file cannot be read further; the problem is reported."""


def read_tree(path: str, content: bytes, problems: Problems) -> Node | None:
    """The document of one file; None where it is empty or cannot be read (then `problems` says why)."""
    if len(content) > MAX_FILE:
        problems.add(Place(path), f"file is larger than {MAX_FILE} bytes; split it")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        place = Place(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
        problems.add(place, f"file is not UTF-8: byte 0x{content[error.start]:02x}; save it as UTF-8")
        return None
    try:
        return _Builder(path, yaml.parse(text, Loader=_Loader), problems).document()
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path) if mark is None else Place(path, mark.line + 1, mark.column + 1)
        line = text.splitlines()[place.line - 1 : place.line]
        tab = bool(line) and line[0][place.column - 1 : place.column] == "\t"
        why = "a tab; indent by spaces" if tab else error.problem or error.context
        problems.add(place, f"not valid YAML: {why}")
        return None
    except yaml.YAMLError as error:
        problems.add(Place(path), f"not valid YAML: {' '.join(str(error).split())}")
        return None


class _Builder:
    """Builds the tree of one document. `_sizes`: how many values an anchored node has, expanded."""

    def __init__(self, path: str, events: Iterator[Any], problems: Problems) -> None:
        self._path = path
        self._events = events
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._count = 0

    def document(self) -> Node | None:
        next(self._events)  # the stream's start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            return None
        if start.tags or start.version not in {None, (1, 2)}:
            self._add(start, "directives are not allowed; leave them out")
        root, _ = self._node(next(self._events), 1)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._add(after, "a second document begins; a rule file is one document")
        return root

    def _place(self, event: Any) -> Place:
        return Place(self._path, event.start_mark.line + 1, event.start_mark.column + 1)

    def _add(self, event: Any, message: str) -> None:
        self._problems.add(self._place(event), message)

    def _stop(self, event: Any, message: str) -> _Stop:
        self._add(event, message)
        return _Stop()

    def _grow(self, event: Any, size: int) -> None:
        self._count += size
        if self._count > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES} values after anchors are expanded")

    def _node(self, event: Any, depth: int) -> tuple[Node, int]:
        """The node that begins with this event, and how deep it goes below itself."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if depth > MAX_DEPTH:
            raise self._stop(event, f"nested more than {MAX_DEPTH} deep")
        if event.tag is not None:
            self._add(event, f'tag "{event.tag}" is not allowed; leave it out')
        before = self._count
        self._grow(event, 1)
        node: Node
        height = 0
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(self._place(event), _value(event), event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            node, height = self._items(event, depth)
        else:
            node, height = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before, height)
        return node, height

    def _alias(self, event: Any, depth: int) -> tuple[Node, int]:
        known = self._anchors.get(event.anchor)
        if known is None:
            raise self._stop(event, f'anchor "{event.anchor}" is not defined before its use in this file')
        node, size, height = known
        self._grow(event, size)
        if depth + height > MAX_DEPTH:
            raise self._stop(event, f"nested more than {MAX_DEPTH} deep")
        return node, height

    def _items(self, start: Any, depth: int) -> tuple[Items, int]:
        items, height = [], 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node, below = self._node(event, depth + 1)
            items.append(node)
            height = max(height, below + 1)
        return Items(self._place(start), tuple(items)), height

    def _mapping(self, start: Any, depth: int) -> tuple[Mapping, int]:
        entries: list[Entry] = []
        seen: dict[str, Place] = {}
        height = 0
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, _ = self._node(event, depth + 1)
            value, below = self._node(next(self._events), depth + 1)
            height = max(height, below + 1)
            word = self._key(event, key)
            if word is None:
                continue
            place = self._place(event)
            if word in seen:
                self._add(event, f'key "{word}" stands twice; the first is at {seen[word]}')
                continue
            seen[word] = place
            entries.append(Entry(word, place, value))
        return Mapping(self._place(start), tuple(entries)), height

    def _key(self, event: Any, key: Node) -> str | None:
        if not isinstance(key, Scalar):
            self._add(event, "a key must be a plain word")
            return None
        if key.value == "<<":
            self._add(event, "merge keys are not allowed; write the keys out")
            return None
        if not isinstance(key.value, str):
            what = "empty" if key.value is None else f'read as a {kind_of(key)}; quote it: "{key.text}"'
            self._add(event, f'key "{key.text}" is {what}')
        elif not key.value or not key.value.isprintable():
            self._add(event, f"key {key.value!r} is empty or holds what cannot be printed; write it plainly")
        return key.text


def kind_of(scalar: Scalar) -> str:
    """What a value that is no string was read as, for errors."""
    return "boolean" if isinstance(scalar.value, bool) else "number"


def _value(event: Any) -> Value:  # the core schema, and nothing else
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
