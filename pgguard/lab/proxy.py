"""The lab's proxy: its configuration file and its process."""

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgguard.lab.errors import LabError
from pgguard.lab.ports import accepts
from pgguard.lab.process import Process
from pgguard.lab.server import Server

Sections = dict[str, dict[str, Any]]
"""A configuration as TOML sees it: sections of keys."""


def override(sections: Sections, settings: Sequence[str]) -> None:
    """Apply `KEY=VALUE` settings with dotted keys: `audit.sync=always`, `limits.sessions=10`.

    A value is read as TOML where it is TOML, and as plain text otherwise.
    """
    for setting in settings:
        key, separator, value = setting.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (separator and dot and section and name):
            raise LabError(f'cannot read setting "{setting}"; write it as section.key=value, like audit.sync=always')
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        sections.setdefault(section, {})[name] = parsed


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of strings, numbers, booleans and lists: JSON's writing of these is TOML's too."""
    blocks = []
    for section, settings in sections.items():
        lines = [f"{key} = {_value(value)}" for key, value in settings.items()]
        blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one character that JSON leaves bare and TOML does not


class Proxy(Server):
    """`pgguard serve` on a configuration file."""

    title = "pgguard"
    host = "localhost"

    def __init__(self, config: Path, port: int, environment: Mapping[str, str], *, tied: bool) -> None:
        self.config = config
        self.port = port
        self.log = config.with_name("pgguard.log")
        self._environment = environment
        self._tied = tied

    def _launch(self) -> Process:
        return Process(
            self.title,
            [sys.executable, "-P", "-m", "pgguard", "serve", "--allow-root", "--config", self.config],
            log=self.log,
            environment=self._environment,
            tied=self._tied,
        )

    def _serves(self) -> bool:
        return accepts(self.host, self.port)
