"""PostgreSQL as the oracle: the accesses of each statement are those that it checks itself, no fewer and no more."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from postgres_tree import Oracle, Touched

from pgguard.model.access import Kind, Privilege
from pgguard.model.facts import Facts
from pgguard.sql.special_functions import SPECIAL_FUNCTIONS

STATEMENTS = Path(__file__).with_name("statements.sql").read_text().splitlines()


def _together(touched: Iterable[Touched]) -> dict[tuple[str, str, str], frozenset[str] | None]:
    """The columns by relation and privilege: the database keeps one set for each mention of a relation."""
    found: dict[tuple[str, str, str], frozenset[str] | None] = {}
    for schema, relation, privilege, columns in touched:
        key = schema, relation, privilege
        found[key] = None if columns is None else (found.get(key) or frozenset()) | frozenset(columns)
    return found


@pytest.mark.parametrize("statement", STATEMENTS)
def test_as_postgresql(statement: str, oracle: Oracle, facts_of: Callable[[str], tuple[Facts, ...]]) -> None:
    relations, functions = oracle.ask(statement)
    (facts,) = facts_of(statement)
    assert facts.opaque is None
    ours = [
        (a.object.schema or "", a.object.name, str(a.privilege), a.columns)
        for a in facts.accesses
        if a.kind is Kind.TABLE or (a.kind is Kind.SEQUENCE and a.privilege is Privilege.SELECT)
    ]
    assert _together(ours) == _together(relations)
    called = {(a.object.schema, a.object.name, a.object.arguments) for a in facts.accesses if a.kind is Kind.FUNCTION}
    assert called == {f for f in functions if f[0] != "pg_catalog" or f[1] not in SPECIAL_FUNCTIONS}
