"""A query level as the collectors pass it along: its environment, its scope, and the CTEs it can see."""

from collections.abc import Callable, Mapping
from typing import Any

from pgguard.sql.environment import Environment
from pgguard.sql.scope import Scope

Columns = list[str] | None
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

    def inner(self, around: Scope | None) -> "Level":
        """A level inside this one, which sees the same CTEs and, as its surroundings, `around`."""
        return Level(self.env, self.query, Scope(around), self.ctes)
