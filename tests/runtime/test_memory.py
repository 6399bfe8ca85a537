"""What is remembered of statements is bounded by what it takes, not by the length of their texts."""

import tracemalloc
from pathlib import Path

import msgspec
import pytest

from bench.known import ANSWER, make_house, prepared, run
from pgguard.audit.encoding import Encoder
from pgguard.audit.records import DecisionMade
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context, Unknown
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.model.facts import Facts
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.recent import Circumstances, Held, RecentDecisions, Stamp
from pgguard.runtime.running import Running, RunningStatements
from pgguard.sql.analyze import Script
from pgguard.wire import frontend

_CALLS = tuple(
    Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName(f"f{n}", "pg_catalog", ("integer", "text")))
    for n in range(1000)
)
_LARGE = msgspec.msgpack.encode(Script((Facts("SELECT", _CALLS, shape="(call f)" * 10_000),)))


def _from_a_process_of_its_own() -> Script:
    """Nothing in it is shared."""
    return msgspec.msgpack.decode(_LARGE, type=Script)


def test_large_facts_fill_the_cache_with_fewer_entries():
    """They were counted as two kilobytes and their text: with 64 MB for it the cache grew to more than a gigabyte."""
    cache: FactsCache[Script] = FactsCache(1 << 22)
    tracemalloc.start()
    for n in range(100):
        found = _from_a_process_of_its_own()
        cache.put(f"select {n}", (), 1, found, sum(facts.cost for facts in found.statements))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 2 << 22
    assert cache.get("select 99", (), 1) is not None
    assert cache.get("select 0", (), 1) is None
    cache.put("select 99", (), 2, _from_a_process_of_its_own(), 0)
    assert cache.get("select 99", (), 2) is not None


def test_what_a_session_remembers_of_its_statements_is_little():
    """A thousand statements of a megabyte were remembered with all that they touch, whether they still ran or not."""
    running = RunningStatements()
    tracemalloc.start()
    for n in range(200):
        facts = _from_a_process_of_its_own().statements
        running.begin(n, Running(f"s-{n}", 0.0, facts, Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 16 << 20
    assert running.of(199) is not None
    assert running.of(0) is None


def test_what_was_decided_in_a_second_is_little():
    """A hundred decisions about large statements stayed for as long as the sessions that shared them."""
    recent, stamp = RecentDecisions(), Stamp(1, 1, 1, 1)
    circumstances = Circumstances(stamp, True, "", False, None, Unknown.NOT_ASKED, ())
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)
    tracemalloc.start()
    for _ in range(100):
        facts = _from_a_process_of_its_own().statements
        accesses = tuple(AccessDecision(access, Effect.ALLOW, ("r",)) for access in facts[0].accesses)
        recent.add(Held(facts, context, Decision(Effect.ALLOW, accesses=accesses), circumstances))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 16 << 20
    assert recent.find(facts, circumstances) is not None


@pytest.mark.parametrize(("take", "most"), [(Encoder.encode, 48 << 20), (Encoder.form, 96 << 20)])
def test_what_the_audit_has_encoded_is_little(take, most):
    """256 decisions of whatever size were remembered, with their encoding; and as many forms, with theirs."""
    encoder, context = Encoder(), Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)
    tracemalloc.start()
    for n in range(200):
        facts = _from_a_process_of_its_own().statements
        accesses = tuple(AccessDecision(access, Effect.ALLOW, ("r",)) for access in facts[0].accesses)
        decision = Decision(Effect.ALLOW, accesses=accesses)
        take(encoder, DecisionMade("", f"s-{n}", "s", "query", "", Effect.ALLOW, context, facts, decision))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < most


async def test_an_idle_session_keeps_no_values(tmp_path: Path):
    """The latest statement that was allowed at once stayed with all that it had bound, to be a precedent perhaps."""
    connection, _ = await prepared(make_house(tmp_path))
    run(connection)
    tracemalloc.start()
    run(connection, frontend.bind(b"", b"p", (bytes(8 << 20),)) + frontend.execute(b"") + frontend.sync())
    for side in (connection._client, connection._database.endpoint):
        side._transport.pieces.clear()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1 << 20


async def test_an_idle_session_keeps_no_cases(tmp_path: Path):
    """Sixteen of whatever size stayed with each session, though they are good for a second."""
    house = make_house(tmp_path)
    connection, client = await prepared(house)
    run(connection)
    run(connection)
    (kept,) = next(iter(connection.session._rotes._known.values())).precedents
    case = kept()
    assert case is not None
    statements = _from_a_process_of_its_own().statements
    large = msgspec.structs.replace(case, judged=msgspec.structs.replace(case.judged, statements=statements))
    del case
    for _ in range(100):
        house.cases.keep(large)
    assert kept() is None
    run(connection)
    assert client.pieces[-1] == ANSWER
