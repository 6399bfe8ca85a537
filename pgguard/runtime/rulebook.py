"""The rules in force: read from their folder, replaced whole or not at all.

A reload that fails leaves the rules in force as they are, and says why in the log. Whoever decides takes `current`
once for a statement; `generation` tells that it has been replaced. Thousands of rules take seconds to load: a reload
works in a thread, while statements are judged by the rules in force.
"""

import asyncio
import gc
import importlib.resources
import logging
import os
from pathlib import Path

from pgguard.policy.load import RuleFile, load
from pgguard.policy.problems import Place, Problem, RulesInvalid
from pgguard.policy.rule import Rule
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.tree import MAX_FILE
from pgguard.sql.shape import shape_of_text

_log = logging.getLogger(__name__)

_AT_A_TIME = 50
_ENDINGS = (".yaml", ".yml")
_TESTS = (".test.yaml", ".test.yml")


def read_folder(folder: Path) -> list[RuleFile]:
    """The rule files below a folder (rule-language, section 6). Raises RulesInvalid.

    Hidden files and rule tests are left out; a link that leads out of the folder is an error, as is a folder without
    any rule file.
    """
    root = folder.resolve()
    files, problems = [], []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        linked_folder = path.is_symlink() and path.is_dir()
        if hidden or not (linked_folder or path.name.endswith(_ENDINGS)) or path.name.endswith(_TESTS):
            continue
        if not path.resolve().is_relative_to(root):
            problems.append(Problem(Place(str(path)), "the link leads out of the rules folder; copy the file instead"))
            continue
        if linked_folder:
            continue  # its files are read where they are
        try:
            files.append(_read(path))
        except (OSError, ValueError) as error:
            why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            problems.append(Problem(Place(_in_text(path)), why))
    if not files and not problems:
        problems.append(Problem(Place(str(folder)), "holds no rule file; write one that ends in .yaml"))
    if problems:
        raise RulesInvalid(problems)
    return files


def _read(path: Path) -> RuleFile:
    """Raises ValueError for what is no file of rules whatever it holds."""
    if _in_text(path) != str(path):
        raise ValueError("the name is not UTF-8; rename the file")
    if path.exists() and not path.is_file():
        raise ValueError("is no file")  # reading a pipe would wait until somebody writes to it
    with path.open("rb") as file:
        return RuleFile(str(path), file.read(MAX_FILE + 1))  # one more tells that it is too large


def _in_text(path: Path) -> str:
    """A name as it can be logged, shown and sent, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_baseline(path: Path | None) -> list[RuleFile]:
    """The baseline of the package, or the one that the configuration names in its stead."""
    if path is not None:
        return read_folder(path) if path.is_dir() else [RuleFile(str(path), path.read_bytes())]
    content = importlib.resources.files("pgguard.policy").joinpath("baseline.yaml").read_bytes()
    return [RuleFile("baseline.yaml", content)]


def load_rules(folder: Path, baseline: Path | None) -> RuleSet:
    """Read and check everything. Raises RulesInvalid."""
    return load(read_folder(folder), read_baseline(baseline), shape_of_text)


class Rulebook:
    def __init__(self, folder: Path, baseline: Path | None) -> None:
        """Raises RulesInvalid: without rules nothing starts."""
        self._folder = folder
        self._baseline = baseline
        self._loading = asyncio.Lock()
        self.current = load_rules(folder, baseline)
        self.generation = 1
        self.failures = 0
        """Reloads that failed since the start."""
        self.error: str | None = None
        """Why the last reload failed; None after one that did not."""

    @property
    def folder(self) -> Path:
        return self._folder

    async def reload(self) -> bool:
        """Replace the rules by what the folder holds now; whether they are others now. One reload at a time."""
        async with self._loading:
            try:
                fresh = await asyncio.to_thread(self._load)
            except Exception as error:  # noqa: BLE001  # whatever a file does to a load, later reloads must still be made
                known = isinstance(error, (RulesInvalid, OSError))
                self.error = str(error) if known else f"{type(error).__name__}: {error}"
                self.failures += 1
                unforeseen = None if known else error
                _log.error("rules were not reloaded, those in force stay:\n%s", self.error, exc_info=unforeseen)
                return False
            self.error = None
            if fresh.identity == self.current.identity:
                return False
            retired = list(self.current.rules)
            self.current = fresh
            self.generation += 1
            _log.info("rules reloaded: %d rules, identity %s", len(fresh.rules), fresh.identity)
            await asyncio.to_thread(_let_go, retired)
            return True

    def _load(self) -> RuleSet:
        """A load makes much and leaves no cycles: the collector would walk all of it again and again, each time with
        the interpreter's lock, and hold up every statement.
        """
        gc.disable()
        try:
            return load_rules(self._folder, self._baseline)
        finally:
            gc.freeze()  # both together make all that is new old at once, for the collector's rare rounds
            gc.unfreeze()
            gc.enable()


def _let_go(rules: list[Rule]) -> None:
    """Free retired rules a few at a time: all at once, the interpreter does nothing else for a tenth of a second."""
    while rules:
        del rules[-_AT_A_TIME:]
