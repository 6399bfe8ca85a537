"""What a line of the log says of itself, and what the documentation says of it."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from pgguard.audit.chain import Chain
from pgguard.audit.encoding import Encoder
from pgguard.audit.records import SCHEMA, Changed, Record, read_record
from pgguard.model.access import Access, ColumnNote, ObjectName, Where
from pgguard.model.context import Context, Ticket
from pgguard.model.decision import AccessDecision, Approvers, Decision, HoldRequirement, NearMiss
from pgguard.model.facts import Facts

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \|[^|]*\| `([^|`]*)` \|$", re.MULTILINE)


def test_a_line_tells_its_schema_and_another_one_is_not_guessed_at():
    line = Chain(None).link(Encoder().encode(Changed("then", "start")))
    assert msgspec.json.decode(line)["schema"] == SCHEMA
    assert read_record(line) == Changed("then", "start")
    with pytest.raises(msgspec.DecodeError, match="schema"):
        read_record(line.replace(b'"schema":1,', b'"schema":2,'))


def test_the_documentation_lists_each_record_with_its_fields():
    listed = {kind: set(fields.split()) for kind, fields in _ROW.findall(_section("Records"))}
    infos = [msgspec.inspect.type_info(kind) for kind in get_args(Record)]
    assert listed == {info.tag: {field.encode_name for field in info.fields} for info in infos}


@pytest.mark.parametrize(
    ("section", "structs"),
    [
        ("Fields of records", get_args(Record)),
        ("Fields of `context`", (Context, Ticket)),
        ("Fields of `facts`", (Facts, Access, ObjectName, Where, ColumnNote)),
        ("Fields of `decision`", (Decision, AccessDecision, NearMiss, HoldRequirement, Approvers)),
    ],
)
def test_the_documentation_tells_what_each_field_means(section, structs):
    """And of no field that is none: `sessions`, say, or one that was renamed."""
    rows = re.findall(r"^\| (`.*?) \| (\S.*) \|$", _section(section), re.MULTILINE)
    paths = [path for fields, _ in rows for path in re.findall(r"`([^`]*)`", fields)]
    named = {name for path in paths for name in path.replace("[]", "").strip(".").split(".")}
    inside = {name for _, meaning in rows for name in re.findall(r"`([a-z_]+)`", meaning)}
    wanted = {field.encode_name for struct in structs for field in msgspec.inspect.type_info(struct).fields}
    assert wanted - named - inside == set()
    assert named - wanted - {"type"} == set()


def _section(title: str) -> str:
    """What stands below a heading."""
    return re.split(r"^##+ ", PAGE.read_text(encoding="utf-8").split(f"# {title}\n", 1)[1], flags=re.MULTILINE)[0]
