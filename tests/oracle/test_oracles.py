"""The analysis against PostgreSQL itself: its analysed tree, and its permission checks."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from pglast import ast, parse_sql
from psycopg import sql

from pgguard.lab.postgres import Postgres
from pgguard.model.access import Access, Kind
from pgguard.sql.analyze import _QUERIES, Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from pgguard.sql.utility import UTILITIES
from tests.oracle import statements_doc
from tests.oracle.compare import PATH, catalog_of, compare
from tests.oracle.generate import Maker
from tests.oracle.generate_all import AnyMaker
from tests.sql.postgres_tree import Oracle

SCHEMA = Path(__file__).parents[1] / "sql" / "schema.sql"


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    base = f"postgresql://postgres@localhost:{postgres.port}/"
    with psycopg.connect(base + "postgres", autocommit=True) as connection:
        connection.execute("create database shop")
    with psycopg.connect(base + "shop", autocommit=True) as connection:
        connection.execute(SCHEMA.read_bytes())
    return base + "shop"


@pytest.fixture(scope="module")
def catalog(dsn: str) -> Catalog:
    return asyncio.run(catalog_of(dsn))


@pytest.fixture(scope="module")
def oracle(dsn: str) -> Iterator[Oracle]:
    found = Oracle(dsn)
    yield found
    found.close()


@pytest.mark.parametrize(("maker", "count", "judged_at_least"), [(Maker, 1500, 1200), (AnyMaker, 1500, 800)])
def test_generated_statements_touch_what_postgresql_says(
    maker: type[Maker], count: int, judged_at_least: int, catalog: Catalog, oracle: Oracle
) -> None:
    """An access missed is never right; one too many hardly ever. AnyMaker makes more that PostgreSQL refuses."""
    verdicts: dict[str, list[Any]] = {}
    for number in range(count):
        statement = maker(Random(number)).statement()
        difference = compare(statement, catalog, oracle)
        verdicts.setdefault(difference.verdict, []).append((statement, difference))
    assert not verdicts.get("less")
    judged = sum(len(found) for verdict, found in verdicts.items() if verdict != "invalid")
    assert judged > judged_at_least
    assert len(verdicts["exact"]) >= 0.99 * judged, verdicts
    assert not verdicts.get("opaque")


def test_the_system_views_touch_what_postgresql_says(catalog: Catalog, oracle: Oracle) -> None:
    views = oracle.connection.execute(
        "select c.oid::regclass::text, pg_get_viewdef(c.oid) from pg_class c where c.relkind = 'v'"
        " and c.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    ).fetchall()
    assert len(views) > 100
    for name, definition in views:
        assert compare(definition.rstrip().rstrip(";"), catalog, oracle).verdict == "exact", name


def test_what_clients_ask_touches_what_postgresql_says(dsn: str, catalog: Catalog) -> None:
    """psql, pg_dump and drivers about the catalogs: what is no query, or wants settings of theirs, is left out."""
    oracle = Oracle(dsn)
    files = sorted((Path(__file__).parent / "introspection").glob("*.sql"))
    asked = [s.rstrip().rstrip(";") for file in files for s in file.read_text().split("\n--\n")]
    queries = [s for s in asked if s.lower().lstrip().startswith(("select", "with")) and ";" not in s]
    found = [(s, compare(s, catalog, oracle, ("pg_catalog", "public"))) for s in queries]
    oracle.close()
    assert [(s, d) for s, d in found if d.verdict not in {"exact", "invalid"}] == []
    assert sum(d.verdict == "exact" for _, d in found) > 250


def test_every_class_of_statement_has_a_collector_or_is_part_of_one() -> None:
    inside = {"RawStmt", "SetOperationStmt", "ReplicaIdentityStmt", "ExplainStmt"}
    classes = {
        name: class_ for name, class_ in vars(ast).items()
        if isinstance(class_, type) and issubclass(class_, ast.Node) and name.endswith("Stmt")
    }  # fmt: skip
    assert {n for n, c in classes.items() if c not in UTILITIES and c not in _QUERIES} == inside


def test_the_page_of_statements_is_true_and_whole(catalog: Catalog) -> None:
    page = statements_doc.PAGE.read_text()
    for statement, tag, accesses in statements_doc.rows(page):
        assert (tag, accesses) == statements_doc.described(statement, catalog), statement
    shown = {type(parse_sql(row[0].replace("\\|", "|"))[0].stmt) for row in statements_doc.rows(page)}
    assert set(UTILITIES) - shown == {ast.PLAssignStmt, ast.ReturnStmt}  # they stand in bodies only


def _grants(access: Access) -> list[sql.Composable]:
    """The GRANTs, without their grantee, that give one access; each by itself is needed."""
    name = access.object
    if access.kind is Kind.FUNCTION:
        assert name.schema is not None
        arguments = sql.SQL(", ".join(name.arguments or ()))
        return [sql.SQL("execute on function {}({})").format(sql.Identifier(name.schema, name.name), arguments)]
    assert name.schema is not None
    table = sql.Identifier(name.schema, name.name)
    privilege = sql.SQL(access.privilege.value)
    if access.columns is None:
        return [sql.SQL("{} on {}").format(privilege, table)]
    columns = access.columns or access.candidates[:1]
    return [sql.SQL("{} ({}) on {}").format(privilege, sql.Identifier(c), table) for c in columns]


def test_a_role_with_exactly_the_accesses_may_run_it_and_with_one_less_not(dsn: str, catalog: Catalog) -> None:
    """EXPLAIN starts the executor, which checks the privileges of relations (PostgreSQL source, ExecutorStart)."""
    ran = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create role narrow; grant usage on schema app, other to narrow")
        for number in range(60):
            statement = Maker(Random(f"second.{number}")).statement()
            found = analyze(statement, catalog, Settings(PATH, "postgres", "postgres"))
            assert isinstance(found, Script), statement
            accesses = [a for a in found.statements[0].accesses if a.kind is Kind.TABLE]
            grants = list({g.as_string(connection): g for a in accesses for g in _grants(a)}.values())
            bare = {(a.object, a.privilege) for a in accesses if a.columns == ()}
            if not _runs(connection, statement, grants, superuser=True):
                continue
            ran += 1
            assert _runs(connection, statement, grants), statement
            for left_out in grants if not bare else ():
                assert not _runs(connection, statement, [g for g in grants if g is not left_out]), (
                    statement, left_out.as_string(connection),
                )  # fmt: skip
    assert ran > 40


def _runs(
    connection: psycopg.Connection[Any], statement: str, grants: list[sql.Composable], *, superuser: bool = False
) -> bool:
    with connection.transaction(force_rollback=True):
        for grant in grants:
            connection.execute(sql.SQL("grant {} to narrow").format(grant))
        if not superuser:
            connection.execute("set local role narrow")
        try:
            connection.execute(b"explain " + statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        except psycopg.Error:
            if superuser:
                return False
            raise
    return True
