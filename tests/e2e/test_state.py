"""Live state decides: a maintenance flag that is raised stops the next statement of an open session."""

import shutil
from collections.abc import Callable
from pathlib import Path

from pgguard.lab.lab import Lab
from pgguard.lab.terminal import PSQL, Terminal

_RULES = """
probes:
  maintenance: {{file: {flag}, every: 50ms}}
  orders: {{sql: "select count(*) from sales.orders", database: shop, every: 1s}}
rules:
  - name: quiet-during-maintenance
    who: everyone
    deny: select
    on: sales.*
    when: {{state: {{maintenance: true}}}}
    message: the shop is closed for maintenance
  - name: few-orders-only
    who: everyone
    deny: select
    on: hr.*
    when: {{state: {{orders: "> 5"}}}}
"""


def test_a_raised_flag_stops_the_next_statement_and_a_lowered_one_lets_it_through(
    own_lab: Callable[..., Lab], tmp_path: Path
):
    rules, flag = tmp_path / "rules", tmp_path / "maintenance"
    shutil.copytree("rules", rules)
    (rules / "state.yaml").write_text(_RULES.format(flag=flag))
    lab = own_lab(rules=rules)
    read = "select count(*) from sales.orders;"
    with Terminal(PSQL, lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "6" in terminal.enter(read)
        flag.touch()
        while "permission denied" not in (shown := terminal.enter(read)):
            assert "6" in shown
        assert "the shop is closed for maintenance" in shown
        flag.unlink()
        while "permission denied" in (shown := terminal.enter(read)):
            pass
        assert "6" in shown
    with Terminal(PSQL, lab.environment("carol")) as terminal:
        terminal.until_prompt()
        assert "few-orders-only" in terminal.enter("select count(*) from hr.salaries;")
