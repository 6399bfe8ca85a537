"""docs/statements.md: each row's statement analysed over tests/sql/schema.sql. Run to write the accesses anew:

`python -m tests.oracle.statements_doc DSN`
"""

import asyncio
import re
import sys
from pathlib import Path

from pgguard.sql.analyze import Refused, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings

PAGE = Path(__file__).parents[2] / "docs" / "statements.md"
_ROW = re.compile(r"^\| `(.+?)` \| (.*?) \| (.*?) \|$")
SETTINGS = Settings(("pg_catalog", "app", "public"), "alice", "alice")


def rows(page: str) -> list[tuple[str, str, str]]:
    return [match.groups() for line in page.splitlines() if (match := _ROW.match(line))]  # type: ignore[misc]


def described(statement: str, catalog: Catalog) -> tuple[str, str]:
    """The tag and the accesses as the page spells them."""
    found = analyze(statement.replace("\\|", "|"), catalog, SETTINGS)
    if isinstance(found, Refused):
        return "", f"refused: {found.message}"
    facts = found.statements[0]
    return facts.kind, "; ".join(
        f"{a.privilege.value} {a.kind.value} {a.object}{'' if a.columns is None else ' (' + ', '.join(a.columns) + ')'}"
        for a in facts.accesses
    ).replace("|", "\\|") or "none"


def written(page: str, catalog: Catalog) -> str:
    lines = []
    for line in page.splitlines():
        match = _ROW.match(line)
        lines.append(line if match is None else "| `{}` | {} | {} |".format(match[1], *described(match[1], catalog)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from tests.oracle.compare import catalog_of

    PAGE.write_text(written(PAGE.read_text(), asyncio.run(catalog_of(sys.argv[1]))))
