"""The store: where the holds of all sessions lie, so that a restart, or another node, can tell what waits.

Theory of operation. A hold lies in the store while its session waits, and no longer: what happened to it stands in the
audit. Whoever changes one does it by `change`, which shows the record as it is, alone, and keeps what comes back: two
who race act one after the other, and each sees what the other did. `remove` takes the record out and returns it as it
was last: who gets it has used the approval up, and nobody can use it again.

Two stores do the same: one file (sqlite_store.py), and a database that several nodes share (postgres_store.py).
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from pgguard.holds.hold import Hold, Vote

_log = logging.getLogger(__name__)


class StoreUnavailable(Exception):  # noqa: N818  # it says what happened
    """The store cannot be used now; the message says why."""


class Record(msgspec.Struct, frozen=True):
    """A hold with what people have said to it. `node`: where its session waits. `refusal`: the one no that ends it."""

    number: int
    node: str
    hold: Hold
    votes: tuple[Vote, ...] = ()
    refusal: Vote | None = None


Heard = Callable[[int | None], None]
"""Somebody else has changed the hold of this number; None: any of them may have changed."""


class Store(Protocol):
    """Each method raises StoreUnavailable, and has then changed nothing."""

    async def open(self, heard: Heard) -> None: ...

    async def add(self, node: str, hold: Hold) -> Record:
        """Number it: above every number that was ever given."""
        ...

    async def find(self, number: int) -> Record | None: ...

    async def all(self) -> tuple[Record, ...]:
        """By number; without those that only another version can read."""
        ...

    async def change(self, number: int, step: Callable[[Record], Record]) -> Record | None:
        """Replace it by what `step` makes of it; what `step` raises leaves it as it was. None: there is none."""
        ...

    async def remove(self, number: int) -> Record | None: ...

    async def close(self) -> None: ...


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encoded(record: Record) -> str:
    return _encoder.encode(record).decode()


def readable(rows: Iterable[tuple[int, str]]) -> tuple[Record, ...]:
    """All that this version can read; the others wait for a node that can."""
    records = []
    for number, text in rows:
        try:
            records.append(decoded(number, text))
        except StoreUnavailable as error:
            _log.warning("%s; it is left alone", error)
    return tuple(records)


def decoded(number: int, text: str) -> Record:
    """Raises StoreUnavailable where it is no record that this version can read."""
    try:
        record: Record = _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise StoreUnavailable(f"hold #{number} in the store cannot be read: {error}") from error
    return msgspec.structs.replace(record, number=number)
