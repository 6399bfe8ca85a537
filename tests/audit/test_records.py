"""What a line of the log says of itself, and what the documentation says of it."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from pgguard.audit.chain import Chain
from pgguard.audit.encoding import Encoder
from pgguard.audit.records import SCHEMA, Changed, Record, read_record

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
_ROW = re.compile(r"^\| (`[^|]*`) \|[^|]*\|([^|]*)\|$", re.MULTILINE)


def test_a_line_tells_its_schema_and_another_one_is_not_guessed_at():
    line = Chain(None).link(Encoder().encode(Changed("then", "start")))
    assert msgspec.json.decode(line)["schema"] == SCHEMA
    assert read_record(line) == Changed("then", "start")
    with pytest.raises(msgspec.DecodeError, match="schema"):
        read_record(line.replace(b'"schema":1,', b'"schema":2,'))


def test_the_documentation_lists_each_record_and_each_field():
    listed: dict[str, set[str]] = {}
    for types, fields in _ROW.findall(PAGE.read_text(encoding="utf-8")):
        names = [set(part.split()) for part in re.findall("`([^`]*)`", fields)]
        for kind in re.findall("`([^`]*)`", types) if names else ():
            listed[kind] = names[0] if kind != "session-end" else names[1]
    infos = [msgspec.inspect.type_info(kind) for kind in get_args(Record)]
    assert listed == {info.tag: {field.encode_name for field in info.fields} for info in infos}
