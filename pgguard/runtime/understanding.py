"""What a session's statements mean: their text to Facts, by the settings and names that are in force in the session.

Theory of operation. Facts come from the cache or from `sql.analyze`. Where they depend on the session's settings, these
must be settled: the database is asked (settings_question.py) when anything that was relayed since the last answer may
have changed them. An answer that was given inside a transaction is provisional: the end of the transaction may take it
back, so it unsettles again. A name that the catalog lacks is looked up anew: first in a refreshed catalog, then in the
session's own connection, which alone sees its temporary tables and its uncommitted DDL. What stays unknown is refused
with the error that PostgreSQL would give.

Bookkeeping of one kind only: `relayed` is told each statement that goes on to the database.
"""

from collections.abc import Generator
from typing import Any, assert_never

import msgspec

from pgguard.model.control import (
    DeclareCursor,
    ExecutePrepared,
    FetchCursor,
    Prepare,
    Transaction,
    TransactionVerb,
)
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.catalogs import CatalogKeeper
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.isolation import Isolation, IsolatedWorkFailed
from pgguard.runtime.judging import Wait
from pgguard.runtime.settings_question import SETTINGS_QUESTION, CannotTell, SessionState, read_state
from pgguard.session.judgement import Ask, Moment, Names, Request

Steps = Generator[Ask | Wait, Any, Any]

_IN_LINE = 8 * 1024
"""Bytes of statement up to which analysis on the event loop costs the other sessions little (some 20 ms at worst)."""


class Unfit(Exception):  # noqa: N818  # a statement's fault, not the program's
    """The statement cannot be judged, and is refused for it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
