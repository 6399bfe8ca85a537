"""Reading audits: their records, filtered, without trust in what other versions wrote."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pgguard.audit.files import AuditUnreadable, reading
from pgguard.audit.records import DecisionMade, Record, read_record


class Wanted(msgspec.Struct, frozen=True):
    """What to look for; what is empty asks nothing. `table` is `schema.name`, times are ISO 8601 prefixes or times."""

    user: str = ""
    table: str = ""
    rule: str = ""
    effect: str = ""
    session: str = ""
    text: str = ""
    since: str = ""
    until: str = ""

    def has(self, record: Record) -> bool:
        """Whether the record is among what is looked for. Records that are no decisions have no table, rule, effect."""
        if (self.since and record.at < self.since) or (self.until and record.at >= self.until):
            return False
        if self.session and getattr(record, "session", "") != self.session:
            return False
        if self.user and self.user not in _names(record):
            return False
        if isinstance(record, DecisionMade):
            return self._has_decision(record)
        return not (self.table or self.rule or self.effect or self.text)

    def _has_decision(self, record: DecisionMade) -> bool:
        if self.effect and record.effect != self.effect:
            return False
        if self.rule and not (record.decision is not None and self.rule in record.decision.rules):
            return False
        if self.table and self.table not in tables(record):
            return False
        return self.text.lower() in record.text.lower()


def _names(record: Record) -> tuple[str, str]:
    """The database user and the principal that a record is about."""
    who = record.context if isinstance(record, DecisionMade) else record
    return getattr(who, "user", ""), getattr(who, "principal", "")


def tables(record: DecisionMade) -> set[str]:
    """The relations a statement touches."""
    return {str(a.object) for facts in record.facts for a in facts.accesses if a.kind == "table"}


def records(files: Iterable[Path]) -> Iterator[Record]:
    """All records of the files, in order. Raises AuditUnreadable."""
    for file in files:
        with reading(file) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield read_record(line)
                except msgspec.DecodeError as error:
                    raise AuditUnreadable(f"{file}:{number}: no record of this version: {error}") from error
