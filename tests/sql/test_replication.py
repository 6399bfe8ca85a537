"""Which text a replication connection's server takes as a command of the replication grammar."""

import pytest

from pgguard.model.control import CopyIn
from pgguard.sql.replication import REPLICATE, replication_command


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM"),
        (b" \n\tIDENTIFY_SYSTEM;", "IDENTIFY_SYSTEM"),
        (b"BASE_BACKUP(LABEL 'x')", "BASE_BACKUP"),
        (b"SHOW wal_segment_size; drop table t", "SHOW"),
    ],
)
def test_the_first_word_makes_it_a_command(text: bytes, kind: str):
    facts = replication_command(text)
    assert facts is not None
    assert (facts.kind, facts.accesses) == (kind, (REPLICATE,))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"identify_system", b"select 1", b"show work_mem", b"SHOWING", b"SHOW$", b"BASE_BACKUP\xc3\xa4",
        b"/* */ IDENTIFY_SYSTEM", b'"BASE_BACKUP"', b"(SHOW)", b"-- SHOW\nselect 1", b"\xa0SHOW x",
    ],
)  # fmt: skip
def test_everything_else_is_sql(text: bytes):
    assert replication_command(text) is None


@pytest.mark.parametrize("text", [b"START_REPLICATION 0/0", b"UPLOAD_MANIFEST"])
def test_what_the_client_sends_data_behind_says_so(text: bytes):
    facts = replication_command(text)
    assert facts is not None
    assert facts.control == CopyIn()
