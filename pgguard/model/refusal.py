"""Refusals: what the user is told instead of a result."""

import msgspec


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of the ErrorResponse that stands in the place of a refused statement.

    `sqlstate`: pgguard's own are SqlState's; the database's errors have any. `position`: 1-based, in characters of the
    statement, as PostgreSQL counts (docs, section 55.8).
    """

    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None
