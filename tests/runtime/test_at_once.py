"""What is judged at once, or by precedent, is judged as it would be anew, whatever has changed since: the same verdict,
the same record.
"""

import dataclasses
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.known import make_house
from pgguard.audit.chain import Chain
from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import Record, read_record
from pgguard.directory.membership import Membership
from pgguard.model.context import Principal, Replication, Ticket, Transport
from pgguard.policy.load import RuleFile, load
from pgguard.probes.board import Posted
from pgguard.runtime import approval as approval_module
from pgguard.runtime import standing, surroundings
from pgguard.runtime.approval import Approval
from pgguard.runtime.house import House
from pgguard.runtime.login import Login
from pgguard.runtime.precedent import Case
from pgguard.runtime.recent import Decisions
from pgguard.runtime.rulebook import read_baseline
from pgguard.runtime.settings_question import SETTINGS_QUESTION
from pgguard.runtime.understanding import Understanding
from pgguard.session.judgement import (
    Allow,
    Ask,
    Failed,
    Meaning,
    Moment,
    Portal,
    Prepared,
    Refuse,
    Repeated,
    Request,
    Rows,
    TransactionStatus,
)
from pgguard.session.names import NameMap
from pgguard.sql.shape import shape_of_text

BEGIN = 1_772_445_600.0  # Monday, 2026-03-02, 10:00 UTC
TEXT = b"select name from sales.customers where id = 7"
ALLOW = "{name: some, who: {group: analysts}, allow: select, on: sales.customers%s}"
RULES = [
    ALLOW % "",
    ALLOW % ", columns: [id]",
    ALLOW % ', when: {hours: "08:00-18:00"}',
    ALLOW % ", when: {application: psql}",
    ALLOW % ", when: {state: {freeze: false}}",
    ALLOW % ", when: {transaction: {block: false}}",
    ALLOW % ", when: {transaction: {read_only: true}}",
    ALLOW % ', when: {reason: "INC-*"}',
    ALLOW % ', when: {estimated_rows: "< 10"}',
    ALLOW % ", when: {ticket: {min_left: 2h}}",
    ALLOW % ', until: "2026-03-02"',
    ALLOW % ", max_rows: 5",
    "{name: all, who: everyone, allow: select, on: sales.*}",
    (
        "{name: all, who: everyone, allow: select, on: sales.*}\n"
        "  - {name: none, who: {group: interns}, deny: select, on: sales.customers}"
    ),
]
PROBES = "probes:\n  freeze: {file: /none, every: 10s}\n"

CHANGES = st.one_of(
    st.tuples(st.just("clock"), st.sampled_from([0.3, 1.0, 9 * 3600.0, 15 * 3600.0])),
    st.tuples(st.just("directory silent"), st.sampled_from([0.3, 25.0, 3600.0])),
    st.tuples(st.just("rules"), st.sampled_from(RULES)),
    st.tuples(st.just("groups"), st.sampled_from([None, (), ("analysts",), ("analysts", "interns")])),
    st.tuples(st.just("disabled"), st.booleans()),
    st.tuples(st.just("freeze"), st.booleans()),
    st.tuples(st.just("application"), st.sampled_from(["psql", "pgbench"])),
    st.tuples(st.just("status"), st.sampled_from(TransactionStatus)),
    st.tuples(st.just("quiet"), st.booleans()),
    st.tuples(st.just("read_only"), st.sampled_from(["on", "off"])),
    st.tuples(st.just("reason"), st.sampled_from(["", "INC-1"])),
    st.tuples(st.just("begin"), st.sampled_from(["on", "off"])),
)


def _read(line: bytes) -> Record:
    """A record that was encoded for the log."""
    return read_record(Chain(None).link(line))


class World:
    """A session whose approval has seen all that was asked, among circumstances that change."""

    def __init__(self, house: House) -> None:
        self.now = BEGIN
        self.status, self.quiet = TransactionStatus.IDLE, True
        self.house = house
        self.house.directory._clock = self.house.probes._clock = lambda: self.now
        self.house.directory._watched["alice"] = 1
        self.house.directory._known.clear()
        self.records = []
        self.house.audit.append = self.records.append
        self.house.audit.append_filled = lambda lines: self.records.extend(map(_read, lines))
        self.session_settings = {"read_only": "off", "reason": ""}
        self.membership = Membership("alice", ("analysts",))
        self.change("rules", RULES[0])
        self.change("freeze", posted=False)
        self.login = Login(
            "s1", "alice", Principal("alice", "EXAMPLE.COM"), Ticket(BEGIN + 20 * 3600), "shop", "10.0.0.1",
            Transport.PLAIN,
        )  # fmt: skip
        self.database = SimpleNamespace(parameters={"application_name": "psql"}, host="", key=None)
        self.understanding = Understanding(
            self.house.catalogs.keeper("shop"), self.house.cache, self.house.isolation, 1 << 20, Replication.NONE
        )
        self.veteran = self.joining(self.house)
        self.neighbour = self.joining(self.house)
        self.prepared = Prepared(TEXT, meaning=Meaning(), origin=1)
        self.portal = Portal(self.prepared)
        self.number = 1
        self.learn()

    def joining(self, house: House) -> Approval:
        return Approval(house, self.login, self.understanding, self.database, lambda _: None)

    def newcomer(self) -> Approval:
        """One that shares nothing with those that have decided before."""
        return self.joining(dataclasses.replace(self.house, decisions=Decisions()))

    def learn(self) -> None:
        self.house.directory._learn(msgspec.structs.replace(self.membership, as_of=self.now))

    def change(self, what: str, to: object = None, *, posted: object = None) -> None:
        match what:
            case "clock" | "directory silent":
                self.now += to
                if what == "clock":
                    self.learn()
            case "rules":
                files = [RuleFile("rules.yaml", f"{PROBES}rules:\n  - {to}\n".encode())]
                self.house.rulebook.current = load(files, read_baseline(None), shape_of_text)
                self.house.rulebook.generation += 1
            case "groups" | "disabled":
                self.membership = msgspec.structs.replace(self.membership, **{what: to})
                self.learn()
            case "freeze":
                probe = self.house.rulebook.current.probes["freeze"]
                self.house.probes._tasks = {probe: None}
                self.house.probes._post(probe, Posted(bool(to if posted is None else posted), self.now))
            case "status" | "quiet":
                setattr(self, what, to)
            case "application":
                self.database.parameters["application_name"] = to
            case "begin":  # it may bring a `read only` of its own
                self.session_settings["read_only"] = to
                self.judge(self.veteran, self.request(Moment.QUERY, b"begin"))
            case _:
                self.session_settings[what] = to
                self.judge(self.veteran, self.request(Moment.QUERY, b"set work_mem = '1MB'"))

    def request(self, moment: Moment, text: bytes = TEXT) -> Request:
        self.number += 1
        extended, executes = moment is not Moment.QUERY, moment in {Moment.BIND, Moment.EXECUTE}
        return Request(
            self.number,
            moment,
            self.prepared.text if extended else text,
            self.status,
            self.quiet,
            segment=False,
            steady=self.quiet,
            parameters=self.portal.parameters if executes else (),
            formats=self.portal.formats if executes else (),
            meaning=self.prepared.meaning if extended else None,
            portal=self.portal if executes else None,
            origin=1 if executes else 0,
        )

    def judge(self, approval: Approval, request: Request) -> Allow | Refuse:
        at_once = approval.at_once(request)
        return self.anew(approval, request) if at_once is None else at_once

    def anew(self, approval: Approval, request: Request) -> Allow | Refuse:
        flow, answers = approval.approve(request, NameMap()), None
        while True:
            try:
                step = flow.send(answers)
            except StopIteration as end:
                return end.value
            assert isinstance(step, Ask), step
            answers = tuple(
                Rows((self.state_row(),)) if question is SETTINGS_QUESTION else Failed("XX000", "not now")
                for question in step.questions
            )

    def state_row(self) -> tuple[str | None, ...]:
        settings = self.session_settings
        schemas = '["pg_catalog","public"]'
        return (schemas, "alice", "alice", "on", "UTF8", settings["reason"], settings["read_only"], "0", "public")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return make_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def clocks():
    """The clock of the statements' way, which the world turns."""
    clock = SimpleNamespace(now=BEGIN)
    fake = SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now, perf_counter=lambda: clock.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approval_module, "time", fake)
        patch.setattr(standing, "time", fake)
        patch.setattr(surroundings, "time", fake)
        yield clock


def as_recorded(record):
    """All of it but the moment, which is at most a second apart."""
    return msgspec.structs.replace(record, at="", context=msgspec.structs.replace(record.context, at=0.0))


@settings(max_examples=40)
@given(
    rules=st.sampled_from(RULES),
    moment=st.sampled_from([Moment.QUERY, Moment.PARSE, Moment.BIND, Moment.EXECUTE]),
    changes=st.lists(CHANGES, min_size=2, max_size=8),
    neighbour_first=st.booleans(),
)
def test_what_is_judged_at_once_is_judged_as_anew(house, clocks, *, rules, moment, changes, neighbour_first):
    clocks.now = BEGIN
    world = World(house)
    for change in (("rules", rules), *changes):
        world.change(*change)
        clocks.now = world.now
        for one in (Moment.BIND, moment) if moment is Moment.EXECUTE else (moment,):
            if neighbour_first:
                world.judge(world.neighbour, world.request(one))
            request = world.request(one)
            world.records.clear()
            verdict = world.judge(world.veteran, request)
            recorded = [as_recorded(record) for record in world.records]
            world.records.clear()
            assert world.anew(world.newcomer(), request) == verdict
            if one is not Moment.EXECUTE or recorded:  # of one that was recorded at its Bind there is no second record
                assert recorded == [as_recorded(record) for record in world.records]


def test_a_repeated_statement_is_judged_at_once(house, clocks):
    """What the test above compares does happen."""
    clocks.now = BEGIN
    world = World(house)
    for moment in (Moment.QUERY, Moment.BIND):
        first = world.judge(world.veteran, world.request(moment))
        assert isinstance(first, Allow)
        assert world.veteran.at_once(world.request(moment)) == first
        assert world.neighbour.at_once(world.request(moment)) == first


VALUES = st.lists(st.one_of(st.none(), st.binary(max_size=6)), max_size=3).map(tuple)


@settings(max_examples=40)
@given(
    rules=st.sampled_from(RULES),
    moments=st.sampled_from([(Moment.QUERY,), (Moment.BIND,), (Moment.PARSE, Moment.BIND)]),
    formats=st.sampled_from([(), (0,), (1,)]),
    steps=st.lists(st.one_of(st.none(), CHANGES), min_size=2, max_size=8),
    values=VALUES,
)
def test_what_a_precedent_allows_is_judged_as_anew(house, clocks, *, rules, moments, formats, steps, values):
    clocks.now = BEGIN
    world = World(house)
    world.change("rules", rules)
    found = []
    for change in steps:
        if change is not None:
            world.change(*change)
        clocks.now = world.now
        for cases in found if world.quiet else ():
            world.portal = Portal(world.prepared, values[::-1] if cases[-1].binds else (), formats)
            requests = [world.request(moment) for moment in moments]
            repeated = Repeated(requests[0].number, world.status, world.portal.parameters, 1)
            world.records.clear()
            if world.veteran.follows(cases, repeated):
                recorded = [as_recorded(record) for record in world.records]
                world.records.clear()
                newcomer = world.newcomer()
                for case, request in zip(cases, requests, strict=True):
                    assert world.anew(newcomer, request) == Allow(case.controls)
                assert recorded == [as_recorded(record) for record in world.records]
            else:
                assert world.records == [], "nothing was said of it"
        world.portal = Portal(world.prepared, values if Moment.BIND in moments else (), formats)
        for _ in range(2):
            requests = [world.request(moment) for moment in moments]
            for request in requests:
                world.judge(world.veteran, request)
            cases = tuple(world.veteran.precedent(request.number) for request in requests)
            found += [] if None in cases else [cases]


def follows(world: World, number: int, *cases: Case) -> bool:
    return world.veteran.follows(cases, Repeated(number, world.status))


def test_a_repeated_statement_goes_by_its_precedent(house, clocks):
    """What the test above compares does happen, and its Execute goes by it too."""
    clocks.now = BEGIN
    world = World(house)
    world.judge(world.veteran, world.request(Moment.QUERY))
    assert world.veteran.precedent(world.number) is None, "it was decided just now"
    for moment in (Moment.QUERY, Moment.BIND):
        world.judge(world.veteran, world.request(moment))
        case = world.veteran.precedent(world.number)
        assert world.veteran.precedent(world.number - 2) is None, "those of a piece are known, and no others"
        assert follows(world, 100, case)
        assert world.veteran.running.of(100) is not None
        assert (world.veteran.running.of(101) is not None) == (moment is Moment.BIND)


def test_no_precedent_is_followed_where_the_session_may_tell_other_than_it_told(house, clocks):
    """A BEGIN may bring a `read only` of its own: with rules that look at that, the database is asked again."""
    clocks.now = BEGIN
    world = World(house)
    world.change("rules", ALLOW % ", when: {transaction: {read_only: true}}")
    world.change("read_only", "on")
    for _ in range(2):
        world.judge(world.veteran, world.request(Moment.QUERY))
    case = world.veteran.precedent(world.number)
    assert follows(world, 100, case)
    world.change("begin", "off")
    assert not follows(world, 101, case)
    assert isinstance(world.judge(world.veteran, world.request(Moment.QUERY)), Refuse)


def test_a_ticket_that_ends_within_the_second_ends_the_precedent(house, clocks):
    clocks.now = BEGIN
    world = World(house)
    for _ in range(2):
        world.judge(world.veteran, world.request(Moment.QUERY))
    case = world.veteran.precedent(world.number)
    world.veteran._login = msgspec.structs.replace(world.login, ticket=Ticket(BEGIN + 0.5))
    assert follows(world, 100, case)
    clocks.now = BEGIN + 0.5
    assert not follows(world, 101, case)


@pytest.mark.parametrize("text", [b"declare c cursor for select id from sales.customers", b"begin"])
def test_what_changes_names_or_streams_makes_no_precedent(house, clocks, text):
    """The last one does: it has no name."""
    clocks.now = BEGIN
    world = World(house)
    world.change("rules", "{name: all, who: everyone, allow: select, on: sales.*}")
    for _ in range(3):
        world.judge(world.veteran, world.request(Moment.QUERY, text))
    assert (world.veteran.precedent(world.number) is not None) == (text == b"begin")


def test_what_could_not_be_recorded_goes_by_no_precedent(house, clocks, monkeypatch):
    """It is judged as any other then, whose refusal is recorded as soon as there is room."""
    clocks.now = BEGIN
    world = World(house)
    for _ in range(2):
        world.judge(world.veteran, world.request(Moment.QUERY))
    case = world.veteran.precedent(world.number)

    def fail(lines: object) -> None:
        raise AuditUnavailable("no space left on device")

    monkeypatch.setattr(house.audit, "append_filled", fail)
    assert not follows(world, 100, case)
    assert world.veteran.running.of(100) is None
