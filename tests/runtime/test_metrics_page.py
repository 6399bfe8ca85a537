"""The page that Prometheus reads: what it costs beside the statements."""

import sys
from collections import Counter

from pgguard.model.decision import Decision, Effect
from pgguard.runtime.metrics import Metrics, exposition

_RULES = 2000


def test_a_second_page_writes_no_label_again():
    """With 10,000 rules each page took tens of milliseconds of the statements' time, most of it for labels."""
    metrics = Metrics()
    for number in range(_RULES):
        metrics.decided(Effect.ALLOW, Decision(Effect.ALLOW, (f'the "rule" {number}',)))
    first, calls = exposition(metrics.families()), Counter[str]()

    def count(frame, event: str, _: object) -> None:
        calls[frame.f_code.co_name] += event == "call"

    sys.setprofile(count)
    second = exposition(metrics.families())
    sys.setprofile(None)
    assert second == first
    assert 'pgguard_rule_decisions_total{rule="the \\"rule\\" 7",effect="allow"} 1\n' in second
    assert calls["_escaped"] < _RULES / 10
