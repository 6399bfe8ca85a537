"""Sessions that come and go, each statement with a mark of its own, and what became of each mark.

A mark stands in the statement's text, so it is found again in PostgreSQL's own log and in the audit.
"""

import asyncio
import random
import re
from collections.abc import Iterable

import asyncpg

from pgguard.audit.files import all_files
from pgguard.audit.reading import records
from pgguard.audit.records import DecisionMade
from pgguard.lab.lab import Lab
from pgguard.model.decision import Effect
from tests.e2e.conftest import connected

MARK = re.compile(r"/\*([a-z]\d+)\*/")

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What clients see of a fault; they come again."""


class Load:
    """`promised`: marks of rows whose insertion the database has confirmed."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self._lab = lab
        self._chance = chance
        self._ending = False
        self._asked = 0
        self.sessions = 0
        self.cut_off = 0
        self.answered = 0
        self.promised: set[str] = set()
        self.won: set[str] = set()
        """Marks of forbidden statements that were answered."""

    def end(self) -> None:
        self._ending = True

    async def run(self) -> None:
        """One client after the other, until `end`."""
        while not self._ending:
            try:
                async with asyncio.timeout(20), connected(self._lab, "alice") as connection:
                    self.sessions += 1
                    for _ in range(self._chance.randint(1, 12)):
                        await self._ask(connection)
                        self.answered += 1
                    if self._chance.random() < 0.3:
                        connection.terminate()  # without a goodbye
            except LOST:
                self.cut_off += 1
                await asyncio.sleep(0)

    def _mark(self, kind: str) -> str:
        self._asked += 1
        return f"{kind}{self._asked}"

    async def _ask(self, connection: asyncpg.Connection) -> None:
        match self._chance.randrange(6):
            case 0:
                await connection.fetch(f"select id from sales.orders where id > $1 /*{self._mark('q')}*/", 2)
            case 1:
                await connection.execute(f"select count(*) from sales.orders /*{self._mark('q')}*/")
            case 2:
                await self._insert(connection)
            case 3:
                async with connection.transaction():
                    await self._insert(connection, kept=False)
                    await connection.execute(f"select 1 /*{self._mark('q')}*/")
            case 4:
                await connection.copy_from_query(
                    f"select id, name from sales.customers /*{self._mark('q')}*/", output=_drop
                )
            case _:
                await self._try_what_is_forbidden(connection)

    async def _insert(self, connection: asyncpg.Connection, *, kept: bool = True) -> None:
        mark = self._mark("i")
        await connection.execute(f"insert into sales.soak values ('{mark}') /*{mark}*/")
        if kept:
            self.promised.add(mark)

    async def _try_what_is_forbidden(self, connection: asyncpg.Connection) -> None:
        mark = self._mark("f")
        try:
            await connection.fetch(f"select card_number from sales.customers where id > $1 /*{mark}*/", 0)
        except asyncpg.InsufficientPrivilegeError:
            return
        self.won.add(mark)


async def _drop(data: bytes) -> None:
    del data


def allowed(lab: Lab) -> set[str]:
    """The marks that the audit has as allowed."""
    made = (r for r in records(all_files(lab.audit)) if isinstance(r, DecisionMade) and r.effect is Effect.ALLOW)
    return {mark for record in made for mark in MARK.findall(record.text)}


def reached(lines: Iterable[str]) -> set[str]:
    """The marks that PostgreSQL's log says it has got to run."""
    ran = (line for line in lines if re.search(r"LOG:  (statement|execute [^:]*): ", line))
    return {mark for line in ran for mark in MARK.findall(line)}
