"""What everybody may do without a rule of their own, and what nobody may: the baseline, the whole way."""

import pytest

from pgguard.lab.lab import Lab

from .conftest import run_psql


@pytest.mark.parametrize(
    "command",
    [r"\d", r"\d+", r"\d sales.orders", r"\d+ sales.revenue_by_city", r"\dt *.*", r"\di", r"\dv", r"\df", r"\dn+", r"\du",
     r"\l", r"\dp", r"\dT", r"\dx", r"\dd", r"\ds", r"\db", r"\do", r"\dC", r"\ddp", r"\sf pg_catalog.lower(text)"],
)  # fmt: skip
def test_psql_describes_with_the_baseline_alone(lab: Lab, command: str):
    done = run_psql(lab, "carol", command)
    assert "42501" not in done.stderr
    assert "could not be" not in done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "table pg_statistic",
        "table pg_stats",
        "table pg_authid",
        "table pg_shadow",
        "table pg_largeobject",
        "select pg_read_file('/etc/passwd')",
        "select pg_ls_dir('/')",
        "select query_to_xml('select 1', true, true, '')",
        "select table_to_xml('sales.orders', true, true, '')",
        "select ts_stat('select 1')",
        "select set_config('role', 'postgres', false)",
        "set role postgres",
        "set session authorization postgres",
        "set standard_conforming_strings = off",
        "set backslash_quote = on",
        "select lo_get(1)",
        "select pg_terminate_backend(1)",
        "select pg_cancel_backend(1)",
        "select query from pg_stat_activity",
        "select rolconfig from pg_roles",
        "select useconfig from pg_user",
        "do $$ begin null; end $$",
        "copy (select 1) to program 'true'",
        "alter system set work_mem = '1GB'",
    ],
)
def test_what_leaks_or_reaches_further_is_refused(lab: Lab, statement: str):
    done = run_psql(lab, "alice", statement)
    assert "42501" in done.stderr
    assert done.stdout == ""
