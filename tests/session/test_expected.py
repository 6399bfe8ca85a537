"""What stands in flight about a name, against the plain way to find it out: looking through all that is in flight."""

from hypothesis import given
from hypothesis import strategies as st

from pgguard.model.control import Deallocate
from pgguard.session.expected import BARRIER, Awaits, Barrier, Entry, Expected

NAMES = ["", "a", "b"]
ENTRIES = st.builds(
    Entry,
    st.sampled_from(Awaits),
    name=st.sampled_from(NAMES),
    closes_portal=st.booleans(),
    controls=st.sampled_from([(), (None,), (None, Deallocate("a"))]),
)
STEPS = st.lists(st.one_of(ENTRIES, st.sampled_from(["done", "skip"])), max_size=40)


def parse_in_flight(entries: list[Entry], name: str) -> Entry | Barrier | None:
    barrier = False
    for entry in reversed(entries):
        if entry.changes_names:
            return BARRIER
        if entry.awaits in {Awaits.SYNC, Awaits.QUERY}:
            barrier = True
            if entry.awaits is Awaits.QUERY and not name:
                return BARRIER
        elif entry.name == name and (
            entry.awaits is Awaits.PARSE or (entry.awaits is Awaits.CLOSE and not entry.closes_portal)
        ):
            return BARRIER if barrier or entry.awaits is Awaits.CLOSE else entry
    return None


def bind_in_flight(entries: list[Entry], name: str) -> Entry | Barrier | None:
    barrier = False
    for entry in reversed(entries):
        if entry.changes_names:
            return BARRIER
        if entry.awaits in {Awaits.SYNC, Awaits.QUERY}:
            barrier = True
        elif entry.name == name and (
            entry.awaits is Awaits.BIND or (entry.awaits is Awaits.CLOSE and entry.closes_portal)
        ):
            return BARRIER if barrier or entry.awaits is Awaits.CLOSE else entry
    return BARRIER if barrier else None


@given(STEPS)
def test_what_is_known_of_names_in_flight_is_what_looking_through_all_finds(steps: list[Entry | str]):
    expected, entries = Expected(), []
    for step in steps:
        if isinstance(step, Entry):
            expected.append(step)
            entries.append(step)
        elif step == "skip":
            kept = next((at for at, entry in enumerate(entries) if entry.awaits is Awaits.SYNC), len(entries))
            assert expected.skip_to_sync() == entries[:kept]
            del entries[:kept]
        elif entries:
            expected.done()
            del entries[0]
        assert len(expected) == len(entries)
        assert expected.head is (entries[0] if entries else None)
        assert expected.only_prepare == all(
            entry.awaits in {Awaits.PARSE, Awaits.BIND, Awaits.DESCRIBE, Awaits.CLOSE} for entry in entries
        )
        for name in NAMES:
            assert expected.parse_in_flight(name) is parse_in_flight(entries, name)
            assert expected.bind_in_flight(name) is bind_in_flight(entries, name)
