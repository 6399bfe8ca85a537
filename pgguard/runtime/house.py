"""What all sessions of one process share."""

import time
from dataclasses import dataclass, field
from functools import lru_cache

from pgguard.audit.log import AuditLog
from pgguard.directory.directory import Directory
from pgguard.holds.desk import Desk
from pgguard.probes.board import Board
from pgguard.runtime.backend import Databases
from pgguard.runtime.catalogs import Catalogs
from pgguard.runtime.config import Config
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.isolation import Isolation
from pgguard.runtime.known_people import KnownPeople
from pgguard.runtime.metrics import Metrics
from pgguard.runtime.precedent import Cases
from pgguard.runtime.recent import Decisions
from pgguard.runtime.rulebook import Rulebook
from pgguard.sql.analyze import Analysis


@dataclass(frozen=True)
class House:
    config: Config
    rulebook: Rulebook
    directory: Directory
    probes: Board
    audit: AuditLog
    people: KnownPeople
    desk: Desk
    databases: Databases
    catalogs: Catalogs
    cache: FactsCache[Analysis]
    isolation: Isolation
    metrics: Metrics
    decisions: Decisions = field(default_factory=Decisions)
    cases: Cases = field(default_factory=Cases)

    def observes(self, database: str) -> bool:
        """Decisions are made and recorded for this database, and block nothing."""
        rules = self.config.rules
        return rules.mode == "observe" or database in rules.observe_databases


def timestamp(at: float | None = None) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    seconds = time.time() if at is None else at
    return f"{_whole(int(seconds))}.{int(seconds % 1 * 1e6):06d}Z"


@lru_cache(maxsize=4)
def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
