"""YAML as rule files use it: one document of the core schema (YAML 1.2, section 10.3), each value with its place.

PyYAML composes; what its 1.1 schema would read as something else (`on` as true, `08:00` as a number) is a string here.
Tags, merge keys and duplicate keys are errors; anchors are expanded, within bounds on size and depth.
"""

import re
from typing import Any

import msgspec
import yaml

from pgguard.policy.problems import Place, Problems

MAX_FILE = 1 << 20
"""Bytes of a rule file."""
MAX_DEPTH = 40
MAX_NODES = 500_000
"""Values of a file after its anchors are expanded."""

Value = str | int | float | bool | None


class Scalar(msgspec.Struct, frozen=True):
    """`text` is as written; `value` by the core schema; `quoted`: it is a string whatever it looks like."""

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

_CORE = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), [*"~nN", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    (
        "float",
        re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
        list("-+.0123456789"),
    ),
)  # fmt: skip

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _CoreLoader(_Base):  # type: ignore[misc]  # chosen above: libyaml where it was built
    """Resolves scalars by the core schema only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own interface


for _name, _pattern, _first in _CORE:
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)


def read_tree(path: str, content: bytes, problems: Problems) -> Node | None:
    """The document of one file; None where it is empty or cannot be read (then `problems` says why)."""
    start = Place(path)
    if len(content) > MAX_FILE:
        problems.add(start, f"file is larger than {MAX_FILE} bytes; split it")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.add(Place(path, line), f"file is not UTF-8: byte 0x{content[error.start]:02x}; save it as UTF-8")
        return None
    try:
        loader = _CoreLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = start if mark is None else Place(path, mark.line + 1, mark.column + 1)
        problems.add(place, f"not valid YAML: {error.problem or error.context}")
        return None
    except (yaml.YAMLError, RecursionError) as error:
        problems.add(start, f"not valid YAML: {error}")
        return None
    return None if node is None else _Reader(path, problems).read(node, 1)


class _Reader:
    def __init__(self, path: str, problems: Problems) -> None:
        self._path = path
        self._problems = problems
        self._nodes = 0

    def read(self, node: yaml.Node, depth: int) -> Node | None:
        place = Place(self._path, node.start_mark.line + 1, node.start_mark.column + 1)
        self._nodes += 1
        if depth > MAX_DEPTH:
            self._problems.add(place, f"nested more than {MAX_DEPTH} deep")
            return None
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._problems.add(place, f"more than {MAX_NODES} values after anchors are expanded")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if isinstance(node, yaml.SequenceNode):
            self._no_tag(node, place, "seq")
            items = (self.read(item, depth + 1) for item in node.value)
            return Items(place, tuple(item for item in items if item is not None))
        assert isinstance(node, yaml.MappingNode), "the three kinds of YAML nodes"
        self._no_tag(node, place, "map")
        return self._mapping(node, place, depth)

    def _no_tag(self, node: yaml.Node, place: Place, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            self._problems.add(place, f'tag "{node.tag}" is not allowed; leave it out')

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = node.value
        value: Value = text
        if kind == "null":
            value = None
        elif kind == "bool":
            value = text.lower() == "true"
        elif kind == "int":
            value = int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
        elif kind == "float":
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        elif kind != "str":
            self._problems.add(place, f'tag "{node.tag}" is not allowed; leave it out')
        return Scalar(place, value, text)

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> Mapping:
        entries: list[Entry] = []
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            at = Place(self._path, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add(at, "a key must be a plain word")
                continue
            key = key_node.value
            if key == "<<":
                self._problems.add(at, "merge keys are not allowed; write the keys out")
                continue
            if key in seen:
                self._problems.add(at, f'key "{key}" stands twice; the first is at {seen[key]}')
                continue
            seen[key] = at
            value = self.read(value_node, depth + 1)
            if value is not None:
                entries.append(Entry(key, at, value))
        return Mapping(place, tuple(entries))
