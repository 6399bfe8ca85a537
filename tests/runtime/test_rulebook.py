"""Rules that are loaded anew: whatever a file does to that, the rules in force stay, and it is told.

And a reload costs the sessions nothing, however many rules there are.
"""

import asyncio
import gc
import logging
import os
import time
from pathlib import Path

import pytest

from pgguard.runtime import rulebook
from pgguard.runtime.rulebook import Rulebook

_RULE = "rules: [{name: %s, who: everyone, allow: select, on: sales.orders}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(_RULE % "first")
    return tmp_path


def _names(book: Rulebook) -> set[str]:
    return {rule.name for rule in book.current.rules if not rule.baseline}


async def test_what_loads_replaces_the_rules_whole(folder: Path):
    book = Rulebook(folder, None)
    (folder / "rules.yaml").write_text(_RULE % "second")
    assert await book.reload() is True
    assert (_names(book), book.generation, book.failures, book.error) == ({"second"}, 2, 0, None)
    assert await book.reload() is False  # nothing has changed
    assert book.generation == 2


@pytest.mark.parametrize("error", [RecursionError("too deep"), ZeroDivisionError(), MemoryError(), KeyError("x")])
async def test_an_error_that_nobody_foresaw_leaves_the_rules_in_force_and_is_told(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """It once ended the task that watches the folder: no later change was noticed, and nobody was told."""
    book = Rulebook(folder, None)
    in_force = book.current

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(rulebook, "load_rules", fails)
        assert await book.reload() is False
    assert book.current is in_force
    assert (book.generation, book.failures) == (1, 1)
    assert (book.error or "").startswith(type(error).__name__)
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "rules were not reloaded, those in force stay" in told.getMessage()
    assert type(error).__name__ in told.getMessage()
    (folder / "rules.yaml").write_text(_RULE % "later")
    assert await book.reload() is True
    assert (_names(book), book.error) == ({"later"}, None)


async def test_a_file_whose_name_is_no_text_is_told_in_text(folder: Path):
    """The complaint itself could then not be sent to the console."""
    book = Rulebook(folder, None)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml")).write_text("rules: []\n")
    assert await book.reload() is False
    assert _names(book) == {"first"}
    assert b"/\\xff.yaml:1:1: the name is not UTF-8" in (book.error or "").encode()


async def test_what_is_no_file_is_not_read(folder: Path):
    """Reading a pipe waits until somebody writes to it: such a reload never came back, and the proxy stood still."""
    book = Rulebook(folder, None)
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    assert await book.reload() is False
    assert (book.error or "").count("is no file") == 2
    assert "pipe.yaml" in (book.error or "")


_NUMBERED = "  - {{name: r{0}, who: {{group: g{0}}}, allow: {1}, on: s.t{0}, columns: [id, total]}}\n"


def _write(path: Path, count: int, privilege: str) -> None:
    path.write_text("rules:\n" + "".join(_NUMBERED.format(number, privilege) for number in range(count)))


async def test_thousands_of_rules_load_beside_the_sessions_loop(tmp_path: Path):
    """On the loop, 10,000 rules stopped every session for nearly three seconds."""
    _write(tmp_path / "rules.yaml", 1, "select")
    book = Rulebook(tmp_path, None)
    _write(tmp_path / "rules.yaml", 3000, "select")
    pauses: list[float] = []

    async def feel() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    feeling = asyncio.create_task(feel())
    began = time.perf_counter()
    assert await book.reload()
    took = time.perf_counter() - began
    feeling.cancel()
    assert len(book.current.by_name) > 3000
    assert max(pauses) < took / 3
    assert gc.isenabled()


async def test_reloads_that_come_at_once_end_with_what_the_folder_holds(tmp_path: Path):
    _write(tmp_path / "rules.yaml", 1, "select")
    book = Rulebook(tmp_path, None)
    first = asyncio.create_task(book.reload())
    await asyncio.sleep(0)
    _write(tmp_path / "rules.yaml", 2, "insert")
    await asyncio.gather(first, book.reload(), book.reload())
    assert len(book.current.by_name) - sum(rule.baseline for rule in book.current.rules) == 2
