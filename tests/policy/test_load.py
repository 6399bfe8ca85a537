"""Loading: every error is told with its place and what to do; a rule set loads whole or not at all."""

from pathlib import Path

import pytest

from pgguard.policy.load import MAX_RULES, RuleFile, load
from pgguard.policy.problems import RulesInvalid
from pgguard.policy.tree import MAX_DEPTH, MAX_FILE, MAX_NODES
from pgguard.runtime.rulebook import Rulebook, load_rules, read_folder
from pgguard.sql.shape import shape_of_text

from .asking import access, one_of, rule, rules_of, says

_INVALID = sorted((Path(__file__).parent / "invalid").glob("*.yaml"))
_GOOD = "rules: [{name: r, who: everyone, allow: select, on: sales.orders}]"


def errors_of(*files: bytes, baseline: bytes = b"") -> list[str]:
    own = [RuleFile(f"{number}.yaml", content) for number, content in enumerate(files)]
    with pytest.raises(RulesInvalid) as invalid:
        load(own, [RuleFile("baseline.yaml", baseline)], shape_of_text)
    return str(invalid.value).splitlines()


@pytest.mark.parametrize("path", _INVALID, ids=[path.stem for path in _INVALID])
def test_a_wrong_file_is_refused_with_these_words(path: Path):
    """What is expected stands in the file itself, as comments behind the rules."""
    content = path.read_bytes()
    expected = [line[2:] for line in content.decode().splitlines() if line.startswith(f"# {path.name}:")]
    assert expected
    with pytest.raises(RulesInvalid) as invalid:
        load([RuleFile(path.name, content)], [], shape_of_text)
    assert str(invalid.value).splitlines() == expected


def test_all_errors_of_all_files_are_told_at_once_in_order():
    bad = _GOOD.replace("select", "selct").encode()
    assert errors_of(bad, _GOOD.encode(), b"foo: 1") == [
        '0.yaml:1:41: unknown privilege "selct"; did you mean "select"?',
        '1.yaml:1:16: rule "r" is defined twice; the first is at 0.yaml:1:16',
        '2.yaml:1:1: unknown key "foo" in file',
    ]


def test_the_same_wrong_condition_is_told_of_at_each_of_its_places():
    """Rules that say the same share a condition: a mistake that is made twice is two to mend all the same."""
    wrong = rule("allow: select", "sales.orders", "when: {hours: '25:00-26:00'}")
    told = errors_of(f"rules:\n  - {wrong}\n  - {wrong.replace('name: r', 'name: s')}".encode())
    assert [problem.partition(": ")[0].rpartition(":")[0] for problem in told] == ["0.yaml:2", "0.yaml:3"]


def test_definitions_are_unique_over_all_files():
    one = b"conditions: {a: {days: mon}}"
    assert errors_of(one, one) == ['1.yaml:1:14: conditions: "a" is defined twice; the first is at 0.yaml:1:14']


def test_a_file_that_is_not_utf8_is_refused_at_the_byte():
    assert errors_of("# ä\nrules: [] # ".encode() + b"\xff") == [
        "0.yaml:2:13: file is not UTF-8: byte 0xff; save it as UTF-8"
    ]


@pytest.mark.parametrize("name", ["a.yaml", "linked.yaml"])
def test_no_more_of_a_file_is_read_than_a_rule_file_may_have(tmp_path: Path, name: str):
    """A log that was named .yaml by mistake was read whole into memory first."""
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    (tmp_path / "linked.yaml").symlink_to("a.yaml")
    files = {Path(file.path).name: file.content for file in read_folder(tmp_path)}
    assert len(files[name]) == MAX_FILE + 1


def test_sizes_are_bounded():
    assert errors_of(b"#" * (MAX_FILE + 1)) == [f"0.yaml:1:1: file is larger than {MAX_FILE} bytes; split it"]
    assert rules_of("#" * MAX_FILE).rules == ()
    deep = b"rules: " + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert errors_of(deep) == [f"0.yaml:1:{7 + MAX_DEPTH}: nested more than {MAX_DEPTH} deep"]
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 10)) for c in range(ord("b"), ord("h"))
    )
    assert errors_of(bomb)[-1].endswith(f"more than {MAX_NODES} values after anchors are expanded")


def test_ten_thousand_rules_load_and_one_more_does_not():
    def many(count: int) -> str:
        return "rules:\n" + "".join(f"- {rule('allow: select', name=f'r{n}')}\n" for n in range(count))

    assert errors_of(many(MAX_RULES + 1).encode()) == [
        f"0.yaml:{MAX_RULES + 2}:3: more than {MAX_RULES} rules; gather some by lists or patterns"
    ]


def test_a_baseline_has_allow_rules_of_its_own_names_only():
    assert errors_of(baseline=b"rules: [{name: baseline/x, who: everyone, deny: select, on: s.t}]") == [
        "baseline.yaml:1:43: a baseline has allow rules only"
    ]
    assert errors_of(baseline=b"rules: [{name: x, who: everyone, allow: select, on: s.t}]") == [
        'baseline.yaml:1:16: name "x" must begin with "baseline/" here'
    ]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "rules: []", "{rules: [], labels: {pii: s.t.c}}"])
def test_near_misses_that_load(text: str):
    assert rules_of(text).rules == ()


def test_anchors_stay_within_their_file_and_are_expanded():
    text = "rules:\n  - {name: a, who: &who {group: x}, allow: select, on: s.t}\n"
    more = "  - {name: b, who: *who, deny: select, on: s.t}\n"
    loaded = rules_of(text + more)
    assert loaded.by_name["a"].who == loaded.by_name["b"].who
    assert errors_of(text.encode(), b"rules:\n" + more.encode()) == [
        '1.yaml:2:20: anchor "who" is not defined before its use in this file'
    ]


def test_words_that_older_yaml_reads_otherwise_are_words():
    """`on` as a key was true in YAML 1.1, and 08:00 a number: then no rule could be written plainly."""
    loaded = one_of(rule("allow: select", "sales.no", "database: [yes, on, y]", "when: {hours: 08:00-18:00}"))
    assert [m.source for m in loaded.rules[0].databases or ()] == ["yes", "on", "y"]


# identity


def test_the_identity_is_of_what_the_rules_say_not_of_how_they_are_written():
    a, b = rule("allow: select", name="a"), rule("deny: insert", name="b")
    one = rules_of(f"rules: [{a}, {b}]")
    block = "# said otherwise\nrules:\n- on: sales.orders\n  deny: 'insert'\n  who: everyone\n  name: b\n"
    assert rules_of(block, f"rules: [{a}]").identity == one.identity
    assert rules_of(f"rules: [{a}]").identity != one.identity
    assert rules_of(f"rules: [{a}, {b}]\nlabels: {{pii: a.b.c}}").identity != one.identity


# folders


def test_a_folder_is_read_without_tests_and_hidden_files(tmp_path: Path):
    for name in ("a.yaml", "deep/b.yml", "a.test.yaml", ".hidden.yaml", ".git/c.yaml", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("rules: []")
    assert [Path(file.path).name for file in read_folder(tmp_path)] == ["a.yaml", "b.yml"]


def test_a_folder_without_rule_files_is_an_error(tmp_path: Path):
    with pytest.raises(RulesInvalid, match="holds no rule file"):
        read_folder(tmp_path)


def test_a_link_may_not_lead_out_of_the_folder(tmp_path: Path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "outside.yaml").write_text(_GOOD)
    (tmp_path / "rules" / "inside.yaml").write_text("rules: []")
    (tmp_path / "rules" / "same.yaml").symlink_to(tmp_path / "rules" / "inside.yaml")
    assert len(read_folder(tmp_path / "rules")) == 2
    (tmp_path / "rules" / "out.yaml").symlink_to(tmp_path / "outside.yaml")
    with pytest.raises(RulesInvalid, match=r"out\.yaml:1:1: the link leads out of the rules folder"):
        read_folder(tmp_path / "rules")


def test_a_linked_folder_outside_is_an_error_too(tmp_path: Path):
    """It was passed over in silence: the denies in it were not in force, and nobody was told."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "inside.yaml").write_text("rules: []")
    (tmp_path / "rules" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RulesInvalid, match=r"more:1:1: the link leads out of the rules folder"):
        read_folder(tmp_path / "rules")


async def test_a_reload_that_fails_keeps_the_rules_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "rules.yaml"
    path.write_text(_GOOD)
    book = Rulebook(tmp_path, None)
    before = book.current
    path.write_text(_GOOD.replace("allow", "alow"))
    assert not await book.reload()
    assert book.current is before
    assert 'rules.yaml:1:34: unknown key "alow" in rule; did you mean "allow"?' in caplog.text
    assert book.error is not None
    path.write_text(_GOOD.replace("allow", "deny"))
    assert await book.reload()
    assert (book.error, book.generation) == (None, 2)
    assert book.current.identity != before.identity
    path.write_text(_GOOD.replace("allow", "deny") + "  # the same")
    assert not await book.reload()


def test_the_packages_baseline_loads_with_the_rules_of_the_demo():
    loaded = load_rules(Path(__file__).parents[2] / "rules", None)
    assert "salaries-are-private" in loaded.by_name
    assert all(r.name.startswith("baseline/") is r.baseline for r in loaded.rules)


@pytest.mark.parametrize(
    "name",
    [
        "pg_catalog.pg_authid",
        "pg_catalog.pg_largeobject",
        "pg_catalog.pg_sequences",
        "pg_catalog.pg_stat_activity",
        "pg_catalog.pg_stats",
        "pg_catalog.pg_user_mappings",
        "information_schema.user_mapping_options",
        "information_schema._pg_user_mappings",
    ],
)
def test_the_packages_baseline_tells_nobody_what_is_others(name):
    """Passwords of user mappings and the values of sequences once came by a wildcard and by oversight."""
    rules = load_rules(Path(__file__).parents[2] / "rules", None)
    assert says(rules, access("select", name, columns=("a",))) == "deny"
    assert says(rules, access("select", "information_schema.tables", columns=("a",))) == "allow"
