"""Holds as the console shows them."""

import time
from collections.abc import Sequence

from pgguard.holds.hold import shown, wanted
from pgguard.holds.store import Record

HOLDS = ("hold", "waits_s", "user", "rule", "needs", "statement")
HOLD = ("what", "is")


def holds_rows(records: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    """One row a hold."""
    return tuple(
        (
            str(record.number),
            f"{time.time() - record.hold.since:.0f}",
            record.hold.requester.user,
            ", ".join(one.rule for one in record.hold.requirements),
            "; ".join(wanted(one) for one in record.hold.requirements),
            shown(record.hold.text),
        )
        for record in records
    )


def hold_rows(record: Record, locks: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """All that an approver should know of one hold, a row each. `locks`: what of the database its session keeps."""
    hold = record.hold
    return (
        ("user", hold.requester.user),
        ("principal", hold.requester.principal),
        ("database", hold.database),
        ("from", hold.address or "a socket"),
        ("node", record.node),
        ("waits", f"{time.time() - hold.since:.0f} s of {hold.seconds:.0f} s"),
        ("reason", shown(hold.reason)),
        ("in transaction", "yes" if hold.in_transaction else "no"),
        *locks,
        *(("rule", f"{one.rule}: needs {wanted(one)}") for one in hold.requirements),
        *(("approved by", f"{vote.person.principal} {shown(vote.why)}".strip()) for vote in record.votes),
        *(("does", shown(one)) for one in hold.accesses),
        *(("search_path", shown(", ".join(path))) for path in (hold.search_path,) if path is not None),
        *(("role", shown(role)) for role in (hold.role,) if role is not None),
        ("rows estimated", hold.rows or "unknown"),
        *((f"value ${n}", "null" if v is None else shown(v)) for n, v in enumerate(hold.values, 1)),
        *((name, shown(text)) for name, text in hold.named),
        ("statement", shown(hold.text)),
    )
