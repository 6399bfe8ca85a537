"""The analysis of one text: at once where that is sure to be quick, otherwise in a process of its own.

Whoever analyses texts of others (the proxy, `pgguard analyze`) does it here: a large or deep text may take seconds, or
overflow the stack of the process that parses it (field notes, section 3).
"""

from pgguard.model.sqlstate import SqlState
from pgguard.runtime.isolation import Isolation
from pgguard.sql.analyze import Analysis, Refused, Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings

SHORT = 8 * 1024
"""Characters of statement up to which analysis is tried on the event loop."""

_EFFORT = 3_000
"""Nodes that analysis may walk there (some 100 ms at worst): what asks for more, or nests deeper, is isolated."""


def analyze_at_once(
    text: str, catalog: Catalog, settings: Settings, voids: frozenset[int] = frozenset()
) -> Analysis | None:
    """None where it is not sure to be quick: `analyze_apart` is for that. `voids`: as for `analyze`."""
    if len(text) > SHORT:
        return None
    found = analyze(text, catalog, settings, _EFFORT, voids)
    too_complex = isinstance(found, Refused) and found.sqlstate is SqlState.STATEMENT_TOO_COMPLEX
    return None if too_complex else found


async def analyze_apart(
    isolation: Isolation, text: str, catalog: Catalog, settings: Settings, voids: frozenset[int] = frozenset()
) -> Analysis:
    """Raises IsolatedWorkFailed."""
    found: Analysis = await isolation.run(lambda: analyze(text, catalog, settings, voids=voids), Script | Refused)
    return found
