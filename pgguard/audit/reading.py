"""Reading audits: their records, filtered, without trust in what other versions wrote."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pgguard.audit.files import AuditUnreadable, reading
from pgguard.audit.records import DecisionMade, Record, check_schema, read_record


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

    def pieces(self) -> list[bytes]:
        """What stands in the line of each record that is looked for: a quick look spares decoding all others."""
        whole = (self.user, self.rule, self.effect, self.session)
        name = self.table.rpartition(".")[2]  # of a name with dots in it the end, which is in the line as well
        ends = [msgspec.json.encode(name)[1:]] if self.table else []
        return [msgspec.json.encode(value) for value in whole if value] + ends

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
    return found(files, Wanted())


def found(files: Iterable[Path], wanted: Wanted) -> Iterator[Record]:
    """The records that are looked for, in order. Raises AuditUnreadable."""
    pieces = wanted.pieces()
    for file in files:
        with reading(file) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    if not all([piece in line for piece in pieces]):  # noqa: C419  # it is short, and half the time so
                        check_schema(line)
                        continue
                    record = read_record(line)
                except msgspec.DecodeError as error:
                    raise AuditUnreadable(f"{file}:{number}: no record of this version: {error}") from error
                if wanted.has(record):
                    yield record
