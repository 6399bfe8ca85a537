"""The guided tour: real psql sessions through a real lab, each outcome checked as it is shown.

Nothing here knows what pgguard will answer: a scene types at a terminal, shows what appears, and compares it with what
was told before. One difference makes the whole tour fail.
"""

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.process import run
from pgguard.lab.terminal import PSQL, Terminal

_REFRESH_SECONDS = 1.0
_READING_SECONDS = 1.5


class Tour:
    """Shows scenes on the console, and counts what came out otherwise than told."""

    def __init__(self, console: Console, lab: Lab) -> None:
        self.console = console
        self.lab = lab
        self.surprises: list[str] = []

    def headline(self, text: str) -> None:
        self._pause()
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left", characters="─")

    def tell(self, text: str) -> None:
        self._pause()
        self.console.print()
        self.console.print(Text(text, style="italic cyan"))

    def show(self, text: str) -> None:
        """What a terminal showed, as it was."""
        self.console.print(Text(text.removesuffix("\n")), soft_wrap=True)

    def expect(self, shown: str, *wanted: str) -> None:
        """Each of the patterns must be in what was shown."""
        for pattern in wanted:
            if re.search(pattern, shown) is None:
                self.surprises.append(f'expected "{pattern}" in:\n{shown.strip()}')
                self.console.print(Text(f'✗ this should have shown "{pattern}"', style="bold red"))

    def refuse(self, shown: str, *unwanted: str) -> None:
        """None of the patterns may be in what was shown."""
        for pattern in unwanted:
            if re.search(pattern, shown) is not None:
                self.surprises.append(f'did not expect "{pattern}" in:\n{shown.strip()}')
                self.console.print(Text(f'✗ this should not have shown "{pattern}"', style="bold red"))

    def _pause(self) -> None:
        if self.console.is_terminal:
            time.sleep(_READING_SECONDS)


class Psql:
    """A user's psql on the tour. The prompt is printed with the statement that follows it, as on a screen."""

    def __init__(self, tour: Tour, user: str, database: str = "") -> None:
        self._tour = tour
        self.terminal = Terminal([*PSQL, *([database] if database else [])], tour.lab.environment(user))
        tour.show(f"{user}$ psql {database}".rstrip())
        self.banner, self._prompt = _split_prompt(self.terminal.until_prompt())
        tour.show(self.banner)

    def enter(self, statement: str, *wanted: str, never: tuple[str, ...] = ()) -> str:
        shown, prompt = _split_prompt(self.terminal.enter(statement))
        self._tour.show(f"{self._prompt}{shown}")
        self._prompt = prompt
        self._tour.expect(shown, *wanted)
        self._tour.refuse(shown, *never)
        return shown

    def begin(self, statement: str, wanted: str) -> None:
        """Enter what does not come back, but says this."""
        self.terminal.write_line(statement)
        self._tour.show(f"{self._prompt}{self.terminal.until(wanted)}")

    def come_back(self, *wanted: str) -> None:
        shown, self._prompt = _split_prompt(self.terminal.until_prompt())
        self._tour.show(shown)
        self._tour.expect(shown, *wanted)

    def expect_prompt(self, prompt: str) -> None:
        self._tour.expect(self._prompt, re.escape(prompt))


def _split_prompt(shown: str) -> tuple[str, str]:
    head, newline, prompt = shown.rpartition("\n")
    return head + newline, prompt


def alice(tour: Tour) -> None:
    tour.headline("alice, an analyst")
    tour.tell("She has a Kerberos ticket, and no password for the database:")
    environment = tour.lab.environment("alice")
    tour.show("alice$ klist")
    tickets = run(["klist"], environment=environment)
    tour.show(tickets)
    tour.expect(tickets, "alice@PGGUARD.TEST")
    tour.tell("psql as it comes; what it says to be connected to is pgguard, the encryption is Kerberos' own:")
    psql = Psql(tour, "alice")
    with psql.terminal:
        tour.expect(psql.banner, "GSSAPI-encrypted connection")
        tour.tell("What the rules give to analysts, she may read:")
        psql.enter("select id, name, city from sales.customers order by id;", "Ada Lindgren", r"\(4 rows\)")
        tour.tell("One column is forbidden, and she is told by which rule:")
        psql.enter(
            "select name, card_number from sales.customers;",
            "ERROR: +permission denied", "card_number", "card-numbers-stay-here", "Audit id", never=("4111",),
        )  # fmt: skip
        tour.tell("However she words it:")
        psql.enter(
            "with c as (select * from sales.customers) select count(*) from c where card_number like '4111%';",
            "ERROR: +permission denied", never=(r"\(1 row\)",),
        )  # fmt: skip
        tour.tell("A table of another department:")
        psql.enter(
            "select amount from hr.salaries;", "ERROR: +permission denied", "salaries-are-private", never=("41000",)
        )
        tour.tell("A refusal is an error like any other: it fails the transaction it is in. Watch the prompt.")
        psql.enter("begin;", "BEGIN")
        psql.expect_prompt("shop=*>")
        psql.enter("select count(*) from sales.orders;", r"\(1 row\)")
        psql.enter("select email from sales.customers;", "ERROR: +permission denied", never=("example.com",))
        psql.expect_prompt("shop=!>")
        psql.enter("select count(*) from sales.orders;", "current transaction is aborted")
        psql.enter("rollback;", "ROLLBACK")
        psql.expect_prompt("shop=>")
        _revoke(tour, psql)


def _revoke(tour: Tour, psql: Psql) -> None:
    tour.tell("Now, in another window, an administrator takes her out of the group. Her session stays open:")
    folder = tour.lab.folder
    tour.show(f"admin$ pgguard lab directory --dir {folder} remove-from-group alice analysts")
    tour.lab.slapd.remove_from_group("alice", "analysts")
    tour.show(f"       … pgguard looks at the directory every {_REFRESH_SECONDS:g} s here (directory.refresh) …")
    time.sleep(2 * _REFRESH_SECONDS)
    tour.tell("The very statement that passed before, in the very same session:")
    psql.enter(
        "select id, name, city from sales.customers order by id;",
        "ERROR: +permission denied", never=("Ada Lindgren",),
    )  # fmt: skip


def bob(tour: Tour) -> None:
    tour.headline("bob, a writer")
    tour.tell("He moves orders on, but does not change what they cost:")
    psql = Psql(tour, "bob")
    with psql.terminal:
        psql.enter("update sales.orders set status = 'shipped' where id = 2;", "UPDATE 1")
        psql.enter(
            "update sales.orders set total = 0.01 where id = 2;",
            "ERROR: +permission denied",
            "total",
            never=("UPDATE",),
        )
        tour.tell("And nobody changes a whole table because a WHERE was forgotten:")
        psql.enter("update sales.orders set status = 'new';", "no-blind-writes|WHERE clause", never=("UPDATE 6",))
        psql.enter("select id, total, status from sales.orders where id = 2;", "48.00", "shipped")


_HOLD_RULE = """\
rules:
  - name: deletes-need-a-dba
    who: {group: writers}
    hold: delete
    on: sales.*
    unless: {statement: {where: {equals: [id]}}}
    approvers: {group: dba}
    timeout: 5m
"""


def held(tour: Tour) -> None:
    tour.headline("bob asks, dora decides")
    tour.tell("A rule can hold a statement until somebody has looked at it. An administrator adds this one:")
    tour.show(_HOLD_RULE)
    (tour.lab.rules / "holds.yaml").write_text(_HOLD_RULE)
    tour.tell("dora, a DBA, opens the console: a database by the name of pgguard, behind the same login:")
    dora, bob = Psql(tour, "dora", "pgguard"), Psql(tour, "bob")
    with dora.terminal, bob.terminal:
        dora.enter("reload;", "rules in force")
        tour.tell("bob says why he asks, and asks. His prompt does not come back:")
        bob.enter("set pgguard.reason = 'INC-7: test orders were left behind';", "SET")
        bob.begin(
            "delete from sales.orders where status = 'test';", "held as #1 by rule deletes-need-a-dba: needs 1 of "
        )
        tour.tell("dora sees what waits, and what it would do:")
        dora.enter("show holds;", "deletes-need-a-dba", r"\(1 row\)")
        dora.enter("show hold 1;", "bob@PGGUARD.TEST", "INC-7", "delete on table sales.orders", "rows estimated")
        dora.enter("approve 1 'seen';", "hold #1 is approved, and goes on")
        tour.tell("And bob's statement goes on, in the very same session:")
        bob.come_back("DELETE 0")
        tour.tell("The next one she refuses. He reads why:")
        bob.begin("delete from sales.orders where total < 100;", "held as #2 ")
        dora.enter("refuse 2 'not before the month is closed';", "hold #2 is refused")
        bob.come_back("ERROR: +dora refused hold #2: not before the month is closed")
        bob.enter("select count(*) from sales.orders;", r"\(1 row\)")


def strangers(tour: Tour) -> None:
    tour.headline("whoever cannot prove who they are")
    tour.tell("Without a ticket nobody gets in:")
    nobody = {**tour.lab.environment("alice"), "KRB5CCNAME": "FILE:/nonexistent"}
    _turned_away(tour, 'psql "user=alice"', nobody, "alice")
    tour.tell("Nor does one's own ticket open a session under another name:")
    _turned_away(tour, 'psql "user=dora"', tour.lab.environment("bob"), "dora")


def _turned_away(tour: Tour, typed: str, environment: dict[str, str], user: str) -> None:
    tour.show(f"$ {typed}")
    with Terminal([*PSQL, f"user={user}"], environment) as terminal:
        shown = terminal.until_prompt()
        tour.show(shown)
        tour.expect(shown, "failed|FATAL|rejects", "error|FATAL")
        if terminal.ended_with is None:
            tour.surprises.append(f"{typed} was let in")


def audit(tour: Tour) -> None:
    tour.headline("what remains: the audit")
    tour.tell("Each decision was on record before its statement reached the database:")
    records = [msgspec.json.decode(line) for line in tour.lab.audit.read_bytes().splitlines()]
    table = Table(box=None, pad_edge=False)
    for heading in ("time", "who", "", "statement", "by rule"):
        table.add_column(heading, overflow="fold")
    users: dict[str, str] = {}
    for record in records:
        match record["type"]:
            case "session-start":
                users[record["session"]] = record["user"]
            case "decision":
                table.add_row(*_decision_row(record, users))
            case "hold":
                what = Text(f"hold #{record['hold']}: {record['event']} {record.get('why', '')}".rstrip(), "yellow")
                table.add_row(record["at"][11:19], record.get("by", ""), "", what, "")
            case "login-refused":
                who = record.get("principal") or record.get("user") or "?"
                table.add_row(record["at"][11:19], who, Text("refused", "red"), Text(f"login: {record['reason']}"), "")
    tour.console.print(table)
    effects = [record["effect"] for record in records if record["type"] == "decision"]
    tour.expect(" ".join(effects), "allow", "deny")
    tour.expect(" ".join(record["type"] for record in records), "login-refused")
    tour.tell("And PostgreSQL's own log shows what stood in the place of a refused statement:")
    log = tour.lab.postgres.log.read_text(errors="replace")
    marks = [line for line in log.splitlines() if "pgguard refused statement" in line]
    tour.show("\n".join(marks[:2]))
    tour.expect("\n".join(marks), "pgguard refused statement")
    tour.refuse(log, "4111", "select name, card_number")


def _decision_row(record: dict[str, object], users: dict[str, str]) -> tuple[str | Text, ...]:
    effect = str(record["effect"])
    decision = record.get("decision")
    rules = decision.get("rules", []) if isinstance(decision, dict) else []
    named = [rule for rule in rules if not rule.startswith("baseline/")]
    return (
        str(record["at"])[11:19],
        users.get(str(record["session"]), "?"),
        Text(effect, "green" if effect == "allow" else "red"),
        Text(" ".join(str(record["text"]).split())),
        Text(", ".join(named)),
    )


SCENES: tuple[Callable[[Tour], None], ...] = (alice, bob, held, strangers, audit)


def give_tour(console: Console) -> list[str]:
    """Show everything; returns what came out otherwise than told."""
    console.print(Text("starting a realm, a directory, a database and pgguard on loopback …", style="italic cyan"))
    with tempfile.TemporaryDirectory(prefix="pgguard-demo-") as name:
        settings = (f"directory.refresh={_REFRESH_SECONDS}", 'console.admin_groups=["dba"]')
        plan = Plan(Path(name), settings=settings)
        with Lab(plan) as lab:
            tour = Tour(console, lab)
            servers = f"realm {lab.realm.name}, {lab.slapd.uri}, PostgreSQL {lab.postgres.version}"
            tour.show(f"{servers}, pgguard on port {lab.proxy.port}")
            for scene in SCENES:
                scene(tour)
    return tour.surprises
