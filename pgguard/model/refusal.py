"""Refusals: what the user is told instead of a result."""

import msgspec

from pgguard.model.sqlstate import SqlState


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of the ErrorResponse that stands in the place of a refused statement.

    `position`: 1-based, in characters of the statement, as PostgreSQL counts (docs, section 55.8).
    """

    sqlstate: SqlState
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None
