"""Rules as text, and what they say to one access: the shortest way to ask in a test."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import fastjsonschema
import msgspec

from pgguard.model.access import COLUMN_PRIVILEGES, Access, Kind, ObjectName, Privilege, Where
from pgguard.model.context import Context
from pgguard.model.decision import Decision
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.load import RuleFile, load
from pgguard.policy.problems import Problems
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.schema import schema
from pgguard.policy.tree import plain, read_tree
from pgguard.sql.shape import shape_of_text

ALICE = Context(user="alice", principal="alice@EXAMPLE.COM", database="shop", at=0.0, groups=("analysts",))


def rules_of(*files: str, baseline: str = "") -> RuleSet:
    """The rule set of these texts, each a file."""
    own = [RuleFile(f"{number}.yaml", text.encode()) for number, text in enumerate(files)]
    loaded = load(own, [RuleFile("baseline.yaml", baseline.encode())], shape_of_text)
    assert all(fits_schema(file.content) is not False for file in own), "the schema refuses what loads"
    return loaded


@cache
def _validator() -> Callable[[Any], Any]:
    return fastjsonschema.compile(schema())


def fits_schema(content: bytes) -> bool | None:
    """Whether a rule file fits the schema for editors; None where it is no document of YAML as rules use it."""
    problems = Problems()
    tree = read_tree("file", content, problems)
    if tree is None or problems.found:
        return None
    try:
        _validator()(plain(tree))
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def rule(effect: str, on: str = "sales.orders", *more: str, name: str = "r", who: str = "everyone") -> str:
    """One rule in flow style: `rule("allow: select", "sales.*", "columns: [id]")`."""
    return "{" + ", ".join([f"name: {name}", f"who: {who}", effect, f"on: {on}", *more]) + "}"


def one_of(*rules: str, top: str = "") -> RuleSet:
    return rules_of(f"{top}\nrules:" + ("".join(f"\n  - {text}" for text in rules) or " []"))


def access(  # an access has so many parts
    privilege: str = "select",
    name: str = "sales.orders",
    columns: tuple[str, ...] | None = ("id",),
    *,
    kind: str = "table",
    candidates: tuple[str, ...] = (),
    ancestors: tuple[str, ...] = (),
    where: Where | None = None,
    temporary: bool = False,
    arguments: tuple[str, ...] | None = None,
) -> Access:
    has_columns = kind == "table" and privilege in COLUMN_PRIVILEGES
    return Access(
        Privilege(privilege),
        Kind(kind),
        _name(name, arguments),
        columns if has_columns else None,
        candidates=candidates,
        ancestors=tuple(_name(parent, None) for parent in ancestors),
        where=where,
        temporary=temporary,
    )


def _name(written: str, arguments: tuple[str, ...] | None) -> ObjectName:
    schema, dot, name = written.partition(".")
    return ObjectName(name, schema, arguments) if dot and "/" not in written else ObjectName(written, None, arguments)


def decision(rules: RuleSet, *accesses: Access, facts: Facts | None = None, **context: object) -> Decision:
    base = facts or Facts("SELECT")
    whole = msgspec.structs.replace(base, accesses=accesses or base.accesses)
    return decide(rules, [whole], msgspec.structs.replace(ALICE, **context))


def says(rules: RuleSet, *accesses: Access, facts: Facts | None = None, **context: object) -> str:
    return decision(rules, *accesses, facts=facts, **context).effect.value


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
