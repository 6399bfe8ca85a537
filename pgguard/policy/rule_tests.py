"""Tests of rules as `*.test.yaml` files hold them (rule-language, section 4): who asks what, and what is to come of it.

Read with the same care as rules: every error at once, each with its place.
"""

import msgspec

from pgguard.model.decision import Effect
from pgguard.policy.circumstances import As, CircumstancesInvalid, read_as
from pgguard.policy.problems import Place, Problems, RulesInvalid, suggest
from pgguard.policy.reading import Reader
from pgguard.policy.tree import Items, Node, plain, read_tree

_TEST_KEYS = ("name", "as", "sql", "expect", "rules")


class RuleTest(msgspec.Struct, frozen=True):
    """`rules`: the exact set of deciding rules, less the baseline's; None where a test does not say."""

    name: str
    place: Place
    who: As
    statements: tuple[str, ...]
    expect: Effect
    rules: frozenset[str] | None


class TestFile(msgspec.Struct, frozen=True):
    """`catalog` is a path, relative to the file's folder; None where the file names none."""

    __test__ = False  # for pytest: it is no test

    path: str
    catalog: str | None
    tests: tuple[RuleTest, ...]


def read_test_file(path: str, content: bytes) -> TestFile:
    """Raises RulesInvalid with all that is wrong."""
    problems = Problems()
    tree = read_tree(path, content, problems)
    found = None
    if tree is None and not problems.found:
        problems.add(Place(path), 'holds no tests; write them under "tests:"')
    elif tree is not None:
        found = _file(Reader(problems), path, tree)
    if problems.found or found is None:
        raise RulesInvalid(problems.found)
    return found


def _file(reader: Reader, path: str, tree: Node) -> TestFile | None:
    top = reader.mapping(tree, "a file of rule tests")
    if top is None:
        return None
    reader.known_keys(top, ("catalog", "tests"), "a file of rule tests")
    catalog = top.get("catalog")
    listed = top.get("tests")
    if not isinstance(listed, Items):
        reader.add(top.place_of("tests"), '"tests" must be a list of tests')
        return None
    tests = [_test(reader, node) for node in listed.items]
    where = None if catalog is None else reader.word(catalog, "catalog")
    return TestFile(path, where, tuple(test for test in tests if test is not None))


def _test(reader: Reader, node: Node) -> RuleTest | None:
    test = reader.mapping(node, "a test")
    if test is None:
        return None
    reader.known_keys(test, _TEST_KEYS, "a test")
    parts = {key: test.get(key) for key in _TEST_KEYS}
    for key in ("name", "as", "sql", "expect"):
        if parts[key] is None:
            reader.add(test.place, f'a test has no "{key}"')
    name, who, sql, expect = (parts[key] for key in ("name", "as", "sql", "expect"))
    if name is None or who is None or sql is None or expect is None:
        return None
    read = (reader.word(name, "name"), _who(reader, who), _effect(reader, expect))
    statements = _texts(reader, sql, "sql")
    rules = parts["rules"]
    names = None if rules is None else frozenset(_texts(reader, rules, "rules", may_be_empty=True))
    if read[0] is None or read[1] is None or read[2] is None or not statements:
        return None
    return RuleTest(read[0], test.place, read[1], statements, read[2], names)


def _who(reader: Reader, node: Node) -> As | None:
    try:
        return read_as(plain(node))
    except CircumstancesInvalid as invalid:
        reader.add(node.place, f'"as": {invalid}')
        return None


def _effect(reader: Reader, node: Node) -> Effect | None:
    word = reader.word(node, "expect")
    if word is None:
        return None
    try:
        return Effect(word)
    except ValueError:
        known = ", ".join(Effect)
        reader.add(node.place, f'unknown decision "{word}"; one of {known}{suggest(word, Effect)}')
        return None


def _texts(reader: Reader, node: Node, what: str, *, may_be_empty: bool = False) -> tuple[str, ...]:
    """One text or a list of them."""
    nodes = node.items if isinstance(node, Items) else (node,)
    if not nodes and not may_be_empty:
        reader.add(node.place, f"{what} is empty; write it out or leave it out")
    words = (reader.word(one, what) for one in nodes)
    return tuple(word for word in words if word is not None)
