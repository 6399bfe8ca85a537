r"""The baseline and PostgreSQL 13 to 18: it is what its tool derives from them, and on each of them it is enough for the
introspection of psql, psycopg, asyncpg, SQLAlchemy and pgjdbc, and for nothing that tells of data, secrets or other sessions.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo
from psycopg.types.range import RangeInfo

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.postgres import Postgres
from pgguard.runtime.rulebook import read_baseline
from tests.e2e.psql import run_psql

from .conftest import TRANSPORTS
from .test_other_languages import pgjdbc  # noqa: F401  # a fixture
from .test_versions import VERSIONS, installed  # noqa: F401  # a fixture

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools" / "baseline.py"

SCHEMA = """
create type mood as enum ('well', 'ill');
create type place as (street text, number int);
create type floats as range (subtype = float8);
create table owners (id int generated always as identity primary key, name text not null unique, likes mood[]);
create table things (
    id bigserial primary key, owner int references owners on delete cascade, at place, span floats,
    price numeric(10, 2) check (price > 0), twice numeric generated always as (price * 2) stored
);
create index on things (owner, lower(price::text));
comment on column things.price is 'in Euro';
create table parts (id int, part text) partition by list (part);
create table parts_a partition of parts for values in ('a');
create view dear as select id, price from things where price > 100;
create materialized view sums as select owner, sum(price) from things group by owner;
create function total(int) returns numeric language sql as 'select sum(price) from things where owner = $1';
create function touched() returns trigger language plpgsql as 'begin return new; end';
create trigger touch before update on things for each row execute function touched();
create statistics things_stats on owner, price from things;
alter table things enable row level security;
create policy own on things using (owner = 1);
create publication news for table things;
"""

DESCRIBING = (
    r"""
\d|\d+|\d things|\d+ things|\d owners|\d+ parts|\d+ parts_a|\d+ dear|\d+ sums|\d things_pkey|\d+ things_id_seq|\dt+ *.*|\di+|\dv+|\dm+
\ds+|\dE+|\df+|\da|\dn+|\du+|\dg+|\l+|\dp|\z|\dT+|\dD+|\dx+|\dX|\dd|\db+|\do+|\dC+|\dc+|\dO+|\ddp|\dA+|\dAc|\dAf|\dAo|\dAp
\dF+|\dFd+|\dFp+|\dFt+|\dL+|\dy+|\dRp+|\dRs|\dew+|\des+|\det+|\deu|\dP+|\dconfig|\sf total|\sf+ touched|\sv dear|\conninfo|\encoding
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


TELLING = (
    "select * from things",
    "select * from pg_stats",
    "select * from pg_stats_ext",
    "select stxdmcv from pg_statistic_ext_data",
    "select rolpassword from pg_authid",
    "select query from pg_stat_activity",
    "select * from pg_locks",
    "select * from pg_stat_get_activity(null)",
    "select pg_read_file('PG_VERSION')",
    "select pg_ls_dir('.')",
    "select query_to_xml('select 1', true, true, '')",
    "select last_value from pg_sequences",
    "select * from pg_get_backend_memory_contexts()",
    "select * from pg_shmem_allocations_numa",
    "select * from pg_aios",
    "select * from pg_get_loaded_modules()",
    "select * from pg_available_wal_summaries()",
    "select pg_stat_reset_backend_stats(1)",
    "select * from pg_stat_get_backend_io(1)",
    "select pg_restore_relation_stats('relation', 'things')",
    "select * from pg_get_sequence_data('things_id_seq')",
    "select pg_log_backend_memory_contexts(1)",
    "select * from pg_stat_io",
)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest, installed: Path, servers: Path) -> Iterator[Lab]:  # noqa: F811
    folder = servers / f"baseline-{request.param}"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "rules.yaml").write_text("rules: []\n")
    (folder / "schema.sql").write_text(SCHEMA)
    binaries = installed / "node_modules" / f"postgres-{request.param}" / "native" / "bin"
    with Lab(Plan(folder, sql=(folder / "schema.sql",), rules=folder / "rules", binaries=binaries)) as running:
        yield running


@pytest.fixture
def as_alice(version: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**version.environment("alice"), **TRANSPORTS["plain"]}.items():
        monkeypatch.setenv(name, value)


def test_it_is_what_its_tool_derives_from_all_of_them(installed: Path, servers: Path):  # noqa: F811
    """Its head said so when it had been derived from 15 alone: no function of 16 to 18 was in it."""
    with ExitStack() as running:
        dsns = []
        for number in VERSIONS:
            binaries = installed / "node_modules" / f"postgres-{number}" / "native" / "bin"
            dsns.append(running.enter_context(Postgres(servers / f"derived-{number}", binaries)).dsn())
        done = subprocess.run([sys.executable, TOOL, *dsns], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == read_baseline(None)[0].content.decode()


def test_psql_describes_everything(version: Lab):
    done = run_psql(version, "alice", *DESCRIBING)
    assert "42501" not in done.stderr
    assert "permission denied" not in done.stderr
    assert "things" in done.stdout


@pytest.mark.usefixtures("as_alice")
def test_psycopg_learns_types(version: Lab):
    with psycopg.connect("", autocommit=True) as connection:
        assert list(EnumInfo.fetch(connection, "mood").labels) == ["well", "ill"]
        assert list(CompositeInfo.fetch(connection, "place").field_names) == ["street", "number"]
        assert RangeInfo.fetch(connection, "floats").subtype_oid == 701


@pytest.mark.usefixtures("as_alice")
def test_asyncpg_learns_types_and_resets(version: Lab):
    async def ask() -> None:
        place = {"host": version.proxy.host, "port": version.proxy.port, "user": "alice", "database": "shop"}
        connection = await asyncpg.connect(**place, gsslib="gssapi")
        row = await connection.fetchrow(
            "select '{well,ill}'::mood[] as a, row('s', 1)::place as b, '[1,2)'::floats as c, $1::mood as d", "ill"
        )
        assert (row["a"], tuple(row["b"]), row["d"]) == (["well", "ill"], ("s", 1), "ill")
        await connection.reset()
        await connection.reload_schema_state()
        await connection.close()

    asyncio.run(ask())


@pytest.mark.filterwarnings("ignore:Did not recognize type")  # SQLAlchemy knows no composites and no ranges of others
@pytest.mark.usefixtures("as_alice")
def test_sqlalchemy_inspects_everything(version: Lab):
    engine = sa.create_engine("postgresql+psycopg://")
    inspector = sa.inspect(engine)
    assert inspector.get_schema_names()
    for name in ("columns", "pk_constraint", "foreign_keys", "indexes", "unique_constraints", "check_constraints"):
        assert getattr(inspector, f"get_multi_{name}")(kind=sa.engine.reflection.ObjectKind.ANY)
    inspector.get_multi_table_comment()
    assert {"dear"} <= set(inspector.get_view_names())
    assert "sums" in inspector.get_materialized_view_names()
    assert "price" in inspector.get_view_definition("dear")
    assert "things_id_seq" in inspector.get_sequence_names()
    assert [enum["name"] for enum in inspector.get_enums()] == ["mood"]
    reflected = sa.MetaData()
    reflected.reflect(engine, views=True)
    assert reflected.tables["things"].c.price.comment == "in Euro"
    engine.dispose()


def test_pgjdbc_tells_all_metadata(version: Lab, pgjdbc: list[str]):  # noqa: F811
    environment = {**os.environ, **version.environment("alice"), **TRANSPORTS["plain"]}
    command = [*pgjdbc, "all metadata"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "4 passed, 0 failed\n", done.stdout + done.stderr


@pytest.mark.usefixtures("as_alice")
def test_nothing_of_others_is_told(version: Lab):
    """What a version does not know is refused for that, and not by pgguard."""
    told = []
    with psycopg.connect("", autocommit=True) as connection:
        for statement in TELLING:
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege as refused:
                if "Audit id" not in (refused.diag.message_detail or ""):
                    told.append(f"{statement}: refused by the database alone")
            except (
                psycopg.errors.UndefinedTable,
                psycopg.errors.UndefinedFunction,
                psycopg.errors.UndefinedColumn,
            ):
                pass
            else:
                told.append(statement)
    assert told == []
