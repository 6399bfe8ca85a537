"""`pgguard test`: run the tests of rules that stand beside them, offline, and tell which rules no test decides by."""

import time
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import msgspec

from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules
from pgguard.cli._offline import Judged, Offline, baseline_option, own
from pgguard.model.decision import Effect
from pgguard.policy.circumstances import CircumstancesInvalid
from pgguard.policy.problems import Problem, RulesInvalid
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.rule_tests import RuleTest, TestFile, read_test_file

_ENDINGS = (".test.yaml", ".test.yml")


class _Result(msgspec.Struct, frozen=True):
    """`complaints`: what came out otherwise, a line each; none where the test passed."""

    test: RuleTest
    complaints: tuple[str, ...]
    seconds: float


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--catalog", type=EXISTING_FILE, help="A saved catalog, for test files that name none.")
@baseline_option
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there as JUnit XML.")
def test(folder: Path, catalog: Path | None, baseline: Path | None, junit: Path | None) -> None:
    """Run the tests (*.test.yaml) of the rules in FOLDER. Exits with 1 where one fails."""
    rules = read_rules(folder, baseline)
    runner = _Runner(rules, catalog)
    results = [result for file in _test_files(folder) for result in runner.run(file)]
    failed = [result for result in results if result.complaints]
    for result in failed:
        click.secho(f"FAILED {result.test.place}: {result.test.name}", fg="red", bold=True)
        for complaint in result.complaints:
            click.echo(f"  {complaint}")
    _tell_coverage(rules, runner.decided)
    click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    if junit is not None:
        _write_junit(junit, results)
    if failed:
        raise SystemExit(1)


def _test_files(folder: Path) -> list[TestFile]:
    """All test files below the folder; what is wrong with any of them ends the command with every error told."""
    paths = [path for path in sorted(folder.rglob("*")) if path.name.endswith(_ENDINGS)]
    if not paths:
        raise click.ClickException(f'no tests below "{folder}"; write one that ends in .test.yaml')
    files: list[TestFile] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            files.append(read_test_file(str(path), path.read_bytes()))
        except RulesInvalid as invalid:
            problems += invalid.problems
        except OSError as error:
            raise click.ClickException(f'"{path}" cannot be read: {error.strerror}') from error
    if problems:
        raise click.ClickException("the tests do not load:\n" + "\n".join(map(str, problems)))
    return files


class _Runner:
    """Runs test files, each with its catalog. `decided`: the rules by which any statement was decided."""

    def __init__(self, rules: RuleSet, catalog: Path | None) -> None:
        self._rules = rules
        self._catalog = catalog
        self._judges: dict[Path, Offline] = {}
        self.decided: set[str] = set()

    def run(self, file: TestFile) -> list[_Result]:
        judge = self._judge_for(file)
        return [self._run_test(judge, test) for test in file.tests]

    def _judge_for(self, file: TestFile) -> Offline:
        path = self._catalog if file.catalog is None else Path(file.path).parent / file.catalog
        if path is None:
            raise click.ClickException(
                f'{file.path} names no catalog; write "catalog: FILE" into it, saved by pgguard catalog dump,'
                " or give --catalog"
            )
        if not path.is_file():
            raise click.ClickException(f'{file.path}: there is no catalog "{path}"; save one by pgguard catalog dump')
        judge = self._judges.get(path)
        if judge is None:
            judge = self._judges[path] = Offline(self._rules, read_catalog(path))
        return judge

    def _run_test(self, judge: Offline, test: RuleTest) -> _Result:
        began = time.perf_counter()
        complaints: list[str] = []
        for statement in test.statements:
            try:
                complaints += self._complaints(test, statement, judge.judge(test.who, statement))
            except CircumstancesInvalid as invalid:
                complaints.append(f'"as": {invalid}')
        return _Result(test, tuple(complaints), time.perf_counter() - began)

    def _complaints(self, test: RuleTest, statement: str, judged: Judged) -> list[str]:
        decision = judged.decision
        if decision is None:
            assert judged.refused is not None, "either refused or decided"
            return [f"{statement}: PostgreSQL would refuse it: {judged.refused.message}"]
        rules = own(decision.rules)
        self.decided.update(rules)
        found = []
        by = f" by {', '.join(rules)}" if rules else " by no rule" if decision.effect is Effect.DENY else ""
        if decision.effect is not test.expect:
            found.append(f"{statement}: {decision.effect}{by}, expected {test.expect}")
            found += [f"  near: {near.rule}: {near.why}" for access in decision.accesses for near in access.near]
        if test.rules is not None and test.rules != frozenset(rules):
            found.append(f"{statement}: decided{by}, expected by {', '.join(sorted(test.rules)) or 'no rule'}")
        return found


def _tell_coverage(rules: RuleSet, decided: set[str]) -> None:
    names = [rule.name for rule in rules.rules if not rule.baseline]
    missing = sorted(set(names) - decided)
    click.echo(f"{len(names) - len(missing)} of {len(names)} rules decide in a test")
    for name in missing:
        click.echo(f"  no test: {name}")


def _write_junit(path: Path, results: list[_Result]) -> None:
    failures = sum(bool(result.complaints) for result in results)
    suite = ET.Element("testsuite", name="pgguard rules", tests=str(len(results)), failures=str(failures))
    for result in results:
        case = ET.SubElement(
            suite, "testcase", name=result.test.name, classname=result.test.place.path, time=f"{result.seconds:.6f}"
        )
        if result.complaints:
            ET.SubElement(case, "failure", message=result.complaints[0]).text = "\n".join(result.complaints)
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise click.ClickException(f'"{path}" cannot be written: {error.strerror}') from error
