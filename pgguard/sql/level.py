"""A query level as the collectors pass it along: its environment, its scope, and the CTEs it can see."""

from collections.abc import Callable, Mapping
from typing import Any

from pgguard.sql.environment import Environment
from pgguard.sql.scope import Column, Scope
from pgguard.sql.types import TEXT, UNKNOWN

Columns = list[Column] | None
"""The output columns of a query; None where they are not known."""


class Level:
    """`ctes`: name to output columns. `query` walks a nested query: set once, at the top, by queries.py."""

    def __init__(
        self,
        env: Environment,
        query: "Callable[[Any, Level], Columns]",
        scope: Scope | None = None,
        ctes: Mapping[str, Columns] | None = None,
    ) -> None:
        self.env = env
        self.query = query
        self.scope = scope or Scope()
        self.ctes = dict(ctes or {})
        self.procedure = False
        """The call is that of a CALL statement."""

    def inner(self, around: Scope | None) -> "Level":
        """A level inside this one, which sees the same CTEs and, as its surroundings, `around`."""
        return Level(self.env, self.query, Scope(around), self.ctes)


def renamed(columns: Columns, names: list[str]) -> Columns:
    """The columns under an alias's column names, which may be fewer."""
    if columns is None:
        return None
    return [*(Column(n, c.type) for n, c in zip(names, columns, strict=False)), *columns[len(names) :]]


def settled(columns: Columns) -> Columns:
    """The columns as a query around sees them: bare literals have become text (PostgreSQL docs, section 10.6)."""
    if columns is None:
        return None
    return [Column(c.name, TEXT) if c.type == UNKNOWN else c for c in columns]
