"""What psql's \\d family and drivers ask of the catalogs is allowed by the baseline alone.

The files beside this hold what the clients sent to PostgreSQL 15: psql 15 with each command of its family, plain and with
`+`; psycopg 3.3, asyncpg 0.31, SQLAlchemy 2.1 (every method of its Inspector) and pgjdbc 42.7 (DatabaseMetaData,
ResultSetMetaData and the settings of a connection). pg_dump.sql holds what pg_dump 15 asks, each shape of query once;
it also locks and reads every table, which no baseline allows. npgsql.sql reads what npgsql's type loading reads, in words of ours.
"""

from pathlib import Path

import pytest

from pgguard.cli._offline import Offline
from pgguard.model.decision import Effect
from pgguard.policy.circumstances import As
from pgguard.policy.load import load
from pgguard.runtime.rulebook import read_baseline
from pgguard.sql.catalog import restore
from pgguard.sql.shape import shape_of_text

HERE = Path(__file__).parent
ANYBODY = As(user="anybody")


@pytest.fixture(scope="module")
def baseline() -> Offline:
    catalog = HERE.parents[1] / "rules" / "shop.catalog.json"
    return Offline(load([], read_baseline(None), shape_of_text), restore(catalog.read_bytes()))


def _refused(baseline: Offline, statement: str) -> list[str]:
    """What the baseline does not allow of it, and why PostgreSQL would not run it."""
    judged = baseline.judge(ANYBODY, statement)
    if judged.decision is None:
        assert judged.refused is not None
        return [judged.refused.message]
    denied = (d.access for d in judged.decision.accesses if d.effect is not Effect.ALLOW)
    return [f"{a.privilege} on {a.kind} {a.object} {a.columns}" for a in denied]


EXCEPTED = {
    "psql": {
        "pg_catalog.pg_db_role_setting": r"\drds shows the settings of others",
        "'umoptions'": r"\deu+ shows passwords of user mappings",
        "'subconninfo'": r"\dRs+ shows passwords of subscriptions",
    },
}
"""What of each client is refused, and why."""


@pytest.mark.parametrize("client", ["psql", "psycopg", "asyncpg", "sqlalchemy", "pgjdbc", "npgsql"])
def test_a_client_finds_its_way_with_the_baseline_alone(baseline: Offline, client: str):
    statements = (HERE / "introspection" / f"{client}.sql").read_text().split("\n--\n")
    assert len(statements) > 9
    refused = [found for statement in statements for found in _refused(baseline, statement)]
    excepted = EXCEPTED.get(client, {})
    assert [found for found in refused if not any(part in found for part in excepted)] == []
    assert [part for part in excepted if not any(part in found for found in refused)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "select umoptions from pg_user_mappings",
        "select subconninfo from pg_subscription",
        "table pg_subscription",
        "table pg_db_role_setting",
        "table pg_largeobject",
        "select most_common_vals from pg_stats",
        "select rolpassword from pg_authid",
        "select data from pg_largeobject",
        "select lo_get(1)",
        "select query from pg_stat_activity",
    ],
)
def test_what_would_tell_of_data_or_secrets_is_refused(baseline: Offline, statement: str):
    assert _refused(baseline, statement)
