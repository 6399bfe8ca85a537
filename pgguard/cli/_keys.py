"""Single keys from a terminal, in an event loop."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click

_ESCAPE, _BACKSPACE = "\x1b", "\x7f"


class Keys:
    """While it is entered, keys come one by one, and are not echoed."""

    def __init__(self) -> None:
        if not sys.stdin.isatty():
            raise click.ClickException("watch needs a terminal; use --json elsewhere")
        self._terminal = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._terminal)
        self._pressed: asyncio.Queue[str] = asyncio.Queue()

    def __enter__(self) -> Self:
        tty.setcbreak(self._terminal)
        asyncio.get_running_loop().add_reader(self._terminal, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal)
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        for character in os.read(self._terminal, 1024).decode(errors="ignore"):
            self._pressed.put_nowait(character)

    async def next(self, news: asyncio.Event, seconds: float) -> str:
        """The next key; empty after so many seconds, or when there are news."""
        waits = [asyncio.ensure_future(self._pressed.get()), asyncio.ensure_future(news.wait())]
        done, waiting = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one
        return str(waits[0].result()) if waits[0] in done else ""

    async def line(self, show: Callable[[str], None]) -> str | None:
        """A line, shown as it is typed; None after Escape."""
        typed = ""
        while True:
            show(typed)
            match await self._pressed.get():
                case "\r" | "\n":
                    return typed.strip()
                case key if key == _ESCAPE:
                    return None
                case key if key == _BACKSPACE:
                    typed = typed[:-1]
                case key if key.isprintable():
                    typed += key
