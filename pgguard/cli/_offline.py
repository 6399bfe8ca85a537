"""What the offline commands share: the decision over a text by rules and a saved catalog, without any server."""

import time
from pathlib import Path

import click
import msgspec

from pgguard.model.context import Context
from pgguard.model.decision import Decision
from pgguard.model.facts import Facts
from pgguard.policy.circumstances import As, context_of
from pgguard.policy.decide import decide
from pgguard.policy.rule_set import RuleSet
from pgguard.sql.analyze import Analysis, Refused, Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from pgguard.sql.skeleton import skeleton

_REMEMBERED = 10_000
_SHARED = 8 * 1024
"""Characters of a text up to which its analysis is looked for under those of other constants."""

baseline_option = click.option(
    "--baseline", type=click.Path(exists=True, path_type=Path), help="A baseline in place of the package's own."
)


class Judged(msgspec.Struct, frozen=True):
    """`refused`: PostgreSQL itself would refuse the text; then there is no decision."""

    context: Context
    statements: tuple[Facts, ...] = ()
    decision: Decision | None = None
    refused: Refused | None = None


class Offline:
    """Judges texts by rules and a catalog. Analyses are remembered, as they are in the proxy."""

    def __init__(self, rules: RuleSet, catalog: Catalog) -> None:
        self.rules = rules
        self._catalog = catalog
        self._analyses: dict[tuple[object, ...], Analysis] = {}

    def judge(self, who: As, text: str) -> Judged:
        """Raises CircumstancesInvalid."""
        context = context_of(who, self._catalog.snapshot.database, time.time())
        analysis = self._analyse(text, context.user)
        if isinstance(analysis, Refused):
            return Judged(context, refused=analysis)
        return Judged(context, analysis.statements, decide(self.rules, analysis.statements, context))

    def _analyse(self, text: str, user: str) -> Analysis:
        # the default search_path: "$user", public (PostgreSQL docs, section 20.11)
        path = ("pg_catalog", *(schema for schema in (user, "public") if schema in self._catalog.schemas))
        whose = (path, user)
        found = self._analyses.get((whose, text, None))
        bones = skeleton(text) if found is None and len(text) <= _SHARED else None
        if found is None and bones is not None:
            found = self._analyses.get((whose, None, bones))  # no text is taken for a skeleton
        if found is None:
            found = analyze(text, self._catalog, Settings(path, user, user))
            if len(self._analyses) >= _REMEMBERED:
                self._analyses.clear()
            shared = bones is not None and isinstance(found, Script) and found.shareable
            self._analyses[(whose, None, bones) if shared else (whose, text, None)] = found
        return found


def own(rules: tuple[str, ...]) -> list[str]:
    """The rules less the baseline's."""
    return [rule for rule in rules if not rule.startswith("baseline/")]
