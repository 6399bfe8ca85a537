"""The page of metrics is made for all who ask, not for each; strangers on the real server: tests/e2e/test_watching.py."""

import asyncio

from pgguard.runtime.watch_page import SharedPage


class Pages:
    """Numbered ones, and how many are being made at once."""

    def __init__(self) -> None:
        self.made = 0
        self.at_once = 0
        self.begun = asyncio.Event()

    async def make(self) -> str:
        self.made += 1
        self.begun.set()
        self.at_once += 1
        assert self.at_once == 1
        await asyncio.sleep(0)
        self.at_once -= 1
        return str(self.made)


async def test_all_who_ask_before_it_is_made_get_one_page():
    """Whoever asked in a loop had a page made each time, on the event loop that serves statements."""
    pages = Pages()
    shared = SharedPage(pages.make)
    assert await asyncio.gather(*(shared.get() for _ in range(50))) == ["1"] * 50


async def test_who_asks_once_it_is_being_made_gets_the_next():
    """What happened before one asked is on the page: tests and dashboards compare two of them."""
    pages = Pages()
    shared = SharedPage(pages.make)
    first = asyncio.create_task(shared.get())
    await pages.begun.wait()
    assert await asyncio.gather(shared.get(), shared.get(), first) == ["2", "2", "1"]


async def test_one_who_gives_up_leaves_the_page_to_the_others():
    pages = Pages()
    shared = SharedPage(pages.make)
    impatient, patient = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == "1"


async def test_a_page_that_fails_is_made_anew():
    async def fail() -> str:
        raise OSError("no worker answers")

    shared = SharedPage(fail)
    for told in await asyncio.gather(shared.get(), shared.get(), return_exceptions=True):
        assert isinstance(told, OSError)
    assert isinstance((await asyncio.gather(shared.get(), return_exceptions=True))[0], OSError)
