"""The documentation holds together: links lead somewhere, every page is reached, every dependency has its reason."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def _links(page: Path) -> list[Path]:
    return [(page.parent / target).resolve() for target in _LINK.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path):
    assert [str(target) for target in _links(page) if not target.exists()] == []


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += _links(page)
    assert [page.name for page in PAGES if page not in reached] == []


def test_every_dependency_is_named_with_its_reason():
    described = (ROOT / "docs" / "architecture.md").read_text()
    assert [name for name in _asked_for() if f"`{name}`" not in described] == []


def test_every_dependency_is_pinned_by_hash():
    locked = re.findall(
        r"^([\w.-]+)==\S+ \\\n    --hash=sha256:", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert [name for name in _asked_for() if name.lower() not in locked] == []


def _asked_for() -> list[str]:
    """What is needed to run, to develop and to build, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = (
        project["project"]["dependencies"],
        project["dependency-groups"]["dev"],
        project["build-system"]["requires"],
    )
    return [re.split(r"[\[<>=!~ ]", requirement)[0] for group in groups for requirement in group]
