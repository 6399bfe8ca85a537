"""What an error's DETAIL shows; that PostgreSQL's own errors are read so is shown end to end (tests/e2e)."""

import pytest

from pgguard.sql.catalog import Catalog, Relation, Snapshot
from pgguard.sql.disclosure import shown_by

PEOPLE = Relation("hr", "people", "r", ("id", "tenant", "ssn"), referenced_by=(("hr", "badges"),))
BADGES = Relation("hr", "badges", "r", ("code", "person"))
ODD = Relation("hr", "odd", "r", ("a", "b", "a, b"))
ALL = ("id", "ssn", "tenant")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog(Snapshot("shop", 15, ("hr",), (PEOPLE, BADGES, ODD), ()))


def shown(catalog: Catalog, sqlstate: str, table: str, detail: str) -> dict[str, tuple[str, ...] | None] | None:
    found = shown_by({"C": sqlstate, "s": "hr", "t": table, "D": detail}, catalog)
    return None if found is None else {access.object.name: access.columns for access in found}


@pytest.mark.parametrize(
    ("sqlstate", "table", "detail", "expected"),
    [
        ("23502", "people", "Failing row contains (1, null, 123).", {"people": ALL}),
        ("23514", "people", "Failing row contains (id)=(2, 1, 123).", {"people": ALL}),
        ("23505", "people", "Key (tenant, ssn)=(1, 123) already exists.", {"people": ("ssn", "tenant")}),
        ("23505", "people", "Schlüssel »(tenant)=(1)« existiert bereits.", {"people": ("tenant",)}),
        ("23505", "people", "Key (lower(ssn))=(x) already exists.", {"people": ALL}),
        ("23P01", "people", "Key (id)=(1) conflicts with existing key (id)=(2).", {"people": ("id",)}),
        ("23505", "odd", "Key (a, b)=(1) already exists.", {"odd": ("a", "a, b", "b")}),
        ("23503", "badges", 'Key (person)=(5) is not present in table "people".', {"badges": ("person",)}),
        ("23503", "badges", 'Key (id)=(5) is still referenced from table "badges".', {"people": ("id",)}),
        ("23503", "badges", "Schlüssel (id)=(5) ist noch da.", {"badges": ("code", "person"), "people": ("id",)}),
        (
            "23503",
            "badges",
            'Key (person)=(is still referenced from table) is not present in table "people".',
            {"badges": ("person",), "people": ALL},
        ),
        ("23503", "people", 'Key (id)=(5) is still referenced from table "people".', None),
        ("23502", "gone", "Failing row contains (1).", None),
    ],
)
def test_what_a_detail_shows(catalog: Catalog, sqlstate: str, table: str, detail: str, expected: object):
    assert shown(catalog, sqlstate, table, detail) == expected
