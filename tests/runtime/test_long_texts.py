"""What a long text costs is paid in a process of its own."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from bench.known import make_house, prepared
from pgguard.audit import redact
from pgguard.audit.redact import Redactor
from pgguard.audit.settings import AuditSettings
from pgguard.wire import frontend


async def test_secrets_of_a_long_text_are_looked_for_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A statement of a megabyte with the word password in it took over a second, in which nobody was served."""
    house = make_house(tmp_path)
    connection, _ = await prepared(house)
    here, look = os.getpid(), redact.masked

    def masked(text: str) -> str:
        assert len(text) <= redact.LONG or os.getpid() != here, "nobody is served meanwhile"
        return look(text)

    monkeypatch.setattr(redact, "masked", masked)
    text = "select 'password=geheim'" + ", 1 as one_of_many_columns" * 1000
    for _ in range(2):
        connection.from_client(frontend.query(text.encode()))
        async with asyncio.timeout(20):
            while connection.session.waiting is not None:  # noqa: ASYNC110  # a session tells no event of it
                await asyncio.sleep(0.01)
        record = json.loads(house.audit.path.read_text().splitlines()[-1])
        assert record["text"] == text.replace("'password=geheim'", "'***'")
        connection.from_database(b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I")


def test_little_is_remembered_of_long_texts(tmp_path: Path):
    redactor = Redactor(AuditSettings(path=tmp_path), None)
    texts = [f"select {n} " + "x" * 1_000_000 for n in range(20)]
    for text in texts:
        redactor.learn(text, "keep", "told")
        redactor.learn(text, "keep", "told again")
    told = [redactor.text(text, "keep") == "told" for text in texts]
    assert told[-1]
    assert sum(told) <= 8


def test_people_are_shown_no_long_text_that_was_not_looked_through(tmp_path: Path):
    """What an EXECUTE names was looked through as its hold was made: nested comments of a megabyte take a quarter of an
    hour."""
    redactor = Redactor(AuditSettings(path=tmp_path), None)
    text = "select 'token' " + "/*" * 500_000 + "*/" * 500_000
    assert redactor.for_people(text) == "'***'"
    redactor.learn(text, "keep", "select 'token'")
    assert redactor.for_people(text) == "select 'token'"
    assert redactor.for_people("select 1 " + "x" * 1_000_000).startswith("select 1 x")
