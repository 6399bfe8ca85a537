"""psql at a terminal, against a database without pgguard: prompts tell the transaction's state."""

import pytest

from pgguard.lab.errors import LabError
from pgguard.lab.postgres import Postgres
from pgguard.lab.terminal import PSQL, Terminal


def test_prompts_follow_the_transaction(postgres: Postgres):
    with Terminal([*PSQL, postgres.dsn()], {}) as terminal:
        assert terminal.until_prompt().endswith("postgres=# ")
        assert terminal.enter("begin;").endswith("postgres=*# ")
        shown = terminal.enter("select 1/0;")
        assert "division by zero" in shown
        assert shown.endswith("postgres=!# ")
        assert terminal.enter("rollback;").endswith("postgres=# ")
        assert "(1 row)" in terminal.enter("select 42;")


def test_a_program_that_ends_is_seen_to_its_end(postgres: Postgres):
    with Terminal(
        [*PSQL, "--host=localhost", f"--port={postgres.port}", "--username=postgres", "nowhere"], {}
    ) as terminal:
        assert 'database "nowhere" does not exist' in terminal.until_prompt()
        assert terminal.ended_with == 2


def test_what_a_waiting_program_says_is_seen_before_its_prompt(postgres: Postgres):
    with Terminal([*PSQL, postgres.dsn()], {}) as terminal:
        terminal.until_prompt()
        terminal.write_line("do $$ begin raise notice 'it waits'; perform pg_sleep(0.3); end $$;")
        said = terminal.until("NOTICE: +it waits")
        assert said.endswith("it waits\n")
        assert terminal.until_prompt().startswith("DO\n")


def test_a_program_that_hangs_is_an_error(postgres: Postgres):
    with Terminal([*PSQL, postgres.dsn()], {}, patience=0.5) as terminal:
        terminal.until_prompt()
        with pytest.raises(LabError, match="no prompt"):
            terminal.enter("select pg_sleep(2);")
