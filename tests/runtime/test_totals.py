"""What several workers have counted, as one page."""

import msgspec

from pgguard.runtime.metrics import Family, Histogram, Metrics, counter, exposition, gauge, labelled
from pgguard.runtime.orders import Report
from pgguard.runtime.totals import lasting, together


def _worker(statements: int, *seconds: float, age: float, identity: str) -> Report:
    histogram = Histogram()
    for one in seconds:
        histogram.observe(one)
    return Report(
        (
            counter("statements_total", "Statements.", statements),
            Family("seconds", "histogram", "Seconds.", tuple(histogram.samples())),
            gauge("sessions", "Sessions.", 2),
            gauge("age", "Age.", age, "max"),
            gauge("up", "Up.", int(age < 5), "min"),
            Family("rules", "gauge", "Rules.", (("", labelled(identity=identity), 1),), "max"),
        ),
        ("the directory does not answer",),
    )


def test_counts_are_added_and_states_are_those_of_the_worst():
    total = together([_worker(3, 0.0001, age=1, identity="a"), _worker(4, 20.0, age=9, identity="b")])
    page = exposition(total.families)
    for line in (
        "pgguard_statements_total 7", 'pgguard_seconds_bucket{le="0.0001"} 1', 'pgguard_seconds_bucket{le="+Inf"} 2',
        "pgguard_sessions 4", "pgguard_age 9", "pgguard_up 0",
        'pgguard_rules{identity="a"} 1', 'pgguard_rules{identity="b"} 1',
    ):  # fmt: skip
        assert f"\n{line}\n" in page
    assert total.troubles == ("the directory does not answer",)


def test_what_a_dead_worker_counted_stays_and_what_it_saw_does_not():
    dead = lasting(_worker(3, 0.1, age=90, identity="a"))
    page = exposition(together([dead, _worker(4, age=1, identity="b")]).families)
    assert "\npgguard_statements_total 7\n" in page
    assert "\npgguard_seconds_count 1\n" in page
    assert "\npgguard_sessions 2\n" in page
    assert "\npgguard_age 1\n" in page
    assert 'identity="a"' not in page


def test_whatever_is_counted_can_be_told_to_the_supervisor():
    """Labels of another kind of mapping could not: such a worker had nothing to tell, and was taken for one that hangs."""
    report = Report(tuple(Metrics().families()))
    assert exposition(msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=Report).families) == exposition(
        report.families
    )


def test_a_large_counter_keeps_its_digits():
    """Six digits were printed of what was counted in floats: such a counter stood still."""
    assert "pgguard_seconds_sum 12345678.25\n" in exposition([counter("seconds_sum", "Seconds.", 12345678.25)])
