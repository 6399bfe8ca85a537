# ruff: noqa: INP001  # a script, not part of a package
"""For mkdocs: README.md becomes the site's first page, and what lies outside docs/ is named without a link."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")


def on_files(files: Files, config: Any) -> Files:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_LINK.sub(_from_root, text)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    return _LINK.sub(lambda link: link[1] if link[2].startswith("../") else link[0], markdown)


def _from_root(link: re.Match[str]) -> str:
    inside = link[2].removeprefix("docs/")
    return f"[{link[1]}]({inside})" if inside != link[2] else link[1]
