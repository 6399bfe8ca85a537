"""Calls of functions, operators and casts: which ones the database picks, and the access that each is.

Which overload it is depends on types: overloads.py tells them apart as PostgreSQL does. Where a type is not known,
every one that the search_path can reach is an access: more than the database will use, never less (design, section 4).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pglast import ast

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.sqlstate import SqlState
from pgguard.sql import types
from pgguard.sql.catalog import Catalog, Function, Operator
from pgguard.sql.environment import Environment, Unresolved
from pgguard.sql.overloads import Candidate, choose
from pgguard.sql.special_functions import BESIDES, SPECIAL_FUNCTIONS, Special
from pgguard.sql.types import ANYTHING, UNKNOWN

_BUILT_IN = "pg_catalog"
ANY_OBJECT = "*"


class Call(NamedTuple):
    """A call as written: its arguments, their types, and whether the last is marked VARIADIC."""

    parts: Sequence[str]
    arguments: Sequence[Any] = ()
    types: Sequence[int] = ()
    variadic: bool = False
    procedure: bool = False
    location: int | None = None


def names_of(nodes: Iterable[Any] | None) -> list[str]:
    """The strings of a list of String nodes."""
    return [node.sval for node in nodes or ()]


def _ranks(env: Environment, parts: Sequence[str]) -> Mapping[str, int]:
    """The schemas in which a name may be found, and the place of each in the search_path."""
    if len(parts) > 1:
        return {env.schema(parts[-2]): 0}
    env.needs_settings = True
    return _ranks_in(env.settings.search_path)


@lru_cache(maxsize=128)
def _ranks_in(search_path: tuple[str, ...]) -> Mapping[str, int]:
    return {schema: rank for rank, schema in enumerate(search_path) if not schema.startswith("pg_temp")}


def candidates(env: Environment, call: Call) -> list[Candidate]:
    """All functions that take this number of arguments, with these names."""
    ranks = _ranks(env, call.parts)
    found = []
    for function in env.catalog.functions(call.parts[-1]):
        rank = ranks.get(function.schema)
        if rank is None:
            continue
        taken = _taken(function, call)
        if taken is not None:
            spread = (function.variadic and not call.variadic) or len(taken) < len(function.arguments)
            found.append(Candidate(function, taken, rank, spread))
    return found


def _taken(function: Function, call: Call) -> tuple[int, ...] | None:
    """The types that the function takes the call's arguments as; None where it takes no such call."""
    count = len(call.arguments)
    own = function.argument_types or (ANYTHING,) * len(function.arguments)
    if call.procedure and count > len(own):  # a procedure's OUT arguments are written in the call too
        return own + (ANYTHING,) * (count - len(own))
    positions = _positions(function, call.arguments)
    if positions is None:
        return None
    if function.variadic and not call.variadic and count >= len(own) and positions == list(range(count)):
        fixed = own[:-1]
        return fixed + (function.variadic_type,) * (count - len(fixed))
    if not function.variadic or call.variadic or count < len(own):
        given = set(positions)
        if all(0 <= p < len(own) for p in given) and all(p in given for p in range(function.required)):
            return tuple(own[p] for p in positions)
    return None


def _positions(function: Function, arguments: Sequence[Any]) -> list[int] | None:
    """Which parameter each argument is for; None where the function has none of that name."""
    positions = []
    for index, argument in enumerate(arguments):
        if not isinstance(argument, ast.NamedArgExpr):
            positions.append(index)
        elif argument.name in function.names:
            positions.append(function.names.index(argument.name))
        else:
            return None
    return positions if len(set(positions)) == len(positions) else None


def call(env: Environment, called: Call) -> list[Candidate]:
    """Report a call's accesses; the functions it may be. None where it is a cast written as a call.

    Raises Unresolved (42883) where there is no such function.
    """
    given = tuple(called.types) or (ANYTHING,) * len(called.arguments)
    named = tuple(a.name if isinstance(a, ast.NamedArgExpr) else "" for a in called.arguments)
    ranks = tuple(_ranks(env, called.parts).items())
    key = ("()", called.parts[-1], given, named, called.variadic, called.procedure, ranks)
    possible, found, behind = env.catalog.chosen(key, lambda: _chosen(env, called, given))
    if _is_cast(env, called, given, found):
        return []
    if not possible:
        raise _no_function(env, called, given)
    found = [*(found or possible), *behind]  # none: the database will refuse it; or the types were read wrongly here
    env.budget.spend(len(found))
    for candidate in found:
        assert isinstance(candidate.target, Function)
        report(env, candidate.target, called.arguments)
    _convert_arguments(env, found, given)
    target = _cast_behind(env, called, found)
    if target is not None:
        convert(env, given[0], target, "e")
    return found


def _behind(
    catalog: Catalog,
    possible: Sequence[Candidate],
    found: Sequence[Candidate],
    given: Sequence[int],
    pick: Callable[[Sequence[Candidate]], Sequence[Candidate]],
) -> list[Candidate]:
    """What the database would pick next where those that are found are dropped while it waits for a lock (hiding.py).

    PostgreSQL's own are dropped by nobody. What is of the same owner in the same schema is of the same hands, and left
    out.
    """
    behind: list[Candidate] = []
    left, picked = list(possible), list(found)
    hands = {_hands(c) for c in found}
    while not all(_stays(catalog, c, given) for c in picked):
        left = [c for c in left if c not in picked]
        if all(_hands(c) in hands for c in left):
            break
        picked = list(pick(left))
        behind += (c for c in picked if _hands(c) not in hands)
    return behind


def _hands(candidate: Candidate) -> tuple[str, str]:
    return candidate.target.schema, candidate.target.owner


def _stays(catalog: Catalog, candidate: Candidate, given: Sequence[int]) -> bool:
    """It is PostgreSQL's own, and so is each cast by which it takes what it is given."""
    pairs = zip(given, candidate.types, strict=True)
    return candidate.target.schema == _BUILT_IN and not any(types.converts_by_users(catalog, *pair) for pair in pairs)


def _chosen(
    env: Environment, called: Call, given: Sequence[int]
) -> tuple[list[Candidate], list[Candidate], list[Candidate]]:
    def pick(among: Sequence[Candidate]) -> list[Candidate]:
        return choose(env.catalog, among, given)

    possible = candidates(env, called)
    found = pick(possible) if possible else []
    return possible, found, _behind(env.catalog, possible, found, given, pick)


def result_of(env: Environment, found: Sequence[Candidate], given: Sequence[int]) -> int:
    """The type that a call gives, if all that it may be agree on it."""
    results = {types.result(env.catalog, c.target.result, given, c.types) for c in found}
    return results.pop() if len(results) == 1 else ANYTHING


def _is_cast(env: Environment, called: Call, given: Sequence[int], found: Sequence[Candidate]) -> bool:
    """`date(x)` is a cast where no function takes exactly this, and the cast calls none (func_get_detail).

    Its conversions are reported. A composite type is not cast to by this syntax.
    """
    if (
        len(given) != 1
        or isinstance(called.arguments[0], ast.NamedArgExpr)
        or [c.types for c in found] == [tuple(given)]
    ):
        return False
    target = types.named_by(env, called.parts)
    if target is None or types.row_of(env.catalog, target) is not None:
        return False
    (source,) = given
    convert(env, source, target, "e")
    if not found or source == UNKNOWN:
        return True
    if source == ANYTHING:
        return False
    return not _is_text_of_row(env, source, target) and types.reads_as(env.catalog, source, target)


def _is_text_of_row(env: Environment, source: int, target: int) -> bool:
    """`text(row)` is no cast: as `(row).text` it would take the place of an error that a column does not exist."""
    known = env.catalog.type_by_oid(target)
    row = source == types.RECORD or types.row_of(env.catalog, source) is not None
    return row and known is not None and known.category == "S"


def may_be_other(env: Environment, called: Call, found: Sequence[Candidate]) -> bool:
    """Whether a call that was taken for one of a function may as well be a cast to another type, or a column."""
    if list(called.types) == [ANYTHING] and types.named_by(env, called.parts) is not None:
        return True
    if len(called.types) != 1 or all(c.target.schema == _BUILT_IN for c in found):
        return False
    row = types.row_of(env.catalog, called.types[0])
    return _cast_behind(env, called, found) is not None or (row is not None and called.parts[-1] in row.columns)


def _cast_behind(env: Environment, called: Call, found: Sequence[Candidate]) -> int | None:
    """The type to which a call is a cast once the users' functions that it may be are dropped."""
    if len(called.arguments) != 1 or all(c.target.schema == _BUILT_IN for c in found):
        return None
    target = types.named_by(env, called.parts)
    return None if target is None or types.row_of(env.catalog, target) is not None else target


def _no_function(env: Environment, called: Call, given: Sequence[int]) -> Unresolved:
    name = ".".join(called.parts)
    written = ", ".join(_type_name(env, oid) for oid in given)
    kind = "procedure" if called.procedure else "function"
    return Unresolved(
        SqlState.UNDEFINED_FUNCTION,
        f"{kind} {name}({written}) does not exist",
        called.location,
        f"No {kind} matches the given name and argument types. You might need to add explicit type casts.",
    )


def _type_name(env: Environment, oid: int) -> str:
    found = env.catalog.type_by_oid(oid)
    return "unknown" if found is None else found.formatted or found.name


def handler(env: Environment, parts: Sequence[str], location: int | None) -> None:
    """A function that the server calls with `internal` alone: the one of a TABLESAMPLE."""
    ranks = _ranks(env, parts)
    found = [f for f in env.catalog.functions(parts[-1]) if f.schema in ranks and f.arguments == ("internal",)]
    if not found:
        raise Unresolved(SqlState.UNDEFINED_OBJECT, f'tablesample method "{".".join(parts)}" does not exist', location)
    for function in sorted(found, key=lambda f: ranks[f.schema]):
        execute(env, (function.schema, function.name, function.arguments))
        if function.schema == _BUILT_IN:  # which nobody drops; another may go while the statement waits (hiding.py)
            break


def may_call(env: Environment, name: str, location: int | None) -> None:
    """Every function of this name that the search_path can reach, or the cast to the type of this name.

    Raises Unresolved (42883) where there is neither.
    """
    ranks = _ranks(env, [name])
    found = [function for function in env.catalog.functions(name) if function.schema in ranks]
    for function in found:
        report(env, function, ())
    target = types.named_by(env, [name])
    if target is not None:
        convert(env, ANYTHING, target, "e")
    elif not found:
        raise Unresolved(SqlState.UNDEFINED_FUNCTION, f"function {name} does not exist", location)


def row_functions(env: Environment, name: str) -> list[Function]:
    """The functions outside pg_catalog that `x.name` may call with the row x (PostgreSQL docs, section 8.16.5)."""
    taken = [c.target for c in candidates(env, Call([name], (None,)))]
    return [f for f in taken if isinstance(f, Function) and f.schema != _BUILT_IN]


def report(env: Environment, function: Function, arguments: Sequence[Any]) -> None:
    """The access that a call of this function is."""
    special = SPECIAL_FUNCTIONS.get(function.name) if function.schema == _BUILT_IN else None
    if special is None:
        execute(env, (function.schema, function.name, function.arguments))
        env.unsettles = env.unsettles or function.may_set
        return
    _report_special(env, special, function, arguments)
    besides = BESIDES.get(function.name)
    if besides is not None:
        _report_special(env, besides, function, arguments)


def _report_special(env: Environment, special: Special, function: Function, arguments: Sequence[Any]) -> None:
    env.unsettles = env.unsettles or special.unsettles
    constant = None
    positions = _positions(function, arguments) or []
    if special.argument in positions:
        constant = constant_text(arguments[positions.index(special.argument)])
        env.reads_constants = True
    env.add(Access(special.privilege, special.kind, _special_object(env, special.kind, constant)))


def _special_object(env: Environment, kind: Kind, constant: str | None) -> ObjectName:
    if constant is None:
        return ObjectName(ANY_OBJECT, ANY_OBJECT) if kind is Kind.SEQUENCE else ObjectName(ANY_OBJECT)
    if kind is Kind.SETTING:
        return ObjectName(constant.lower())
    if kind is not Kind.SEQUENCE:
        return ObjectName(constant)
    if constant.isdecimal():  # an OID, also as a string (PostgreSQL source, regclassin): never a sequence's name
        return ObjectName(ANY_OBJECT, ANY_OBJECT)
    parts = split_identifiers(constant)
    found = env.look_up(parts[-2] if len(parts) > 1 else None, parts[-1])
    if found is None:
        raise Unresolved(SqlState.UNDEFINED_TABLE, f'relation "{constant}" does not exist')
    return ObjectName(found.name, found.schema)


def execute(env: Environment, function: tuple[str, str, tuple[str, ...]]) -> None:
    schema, name, arguments = function
    env.add(Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName(name, schema, arguments)))


def operator(env: Environment, parts: Sequence[str], *given: int) -> int:
    """An operator over operands of these types: an access where it may be one of the users'; the type it gives."""
    picked = _operators(env, parts, given)
    env.budget.spend(len(picked.users))
    _convert_arguments(env, picked.candidates, given)
    for function in picked.users:
        execute(env, function)
    return picked.type


def left_as(env: Environment, parts: Sequence[str], left: int, right: int) -> int:
    """The type that an operator takes its left operand as: NULLIF's own (PostgreSQL source, transformAExprNullIf)."""
    taken = {c.types[0] for c in _operators(env, parts, (left, right)).candidates}
    if len(taken) != 1:
        return ANYTHING
    (type_,) = taken
    if type_ not in types.POLYMORPHIC:
        return type_
    return ANYTHING if left == UNKNOWN else left


def _operators(env: Environment, parts: Sequence[str], given: tuple[int, ...]) -> "_Picked":
    ranks = _ranks(env, parts)
    key = (parts[-1], given, tuple(ranks.items()))
    return env.catalog.chosen(key, lambda: _picked(env, parts[-1], ranks, given))


def _convert_arguments(env: Environment, candidates: Sequence[Candidate], given: Sequence[int]) -> None:
    if env.catalog.user_casts:
        pairs = {pair for c in candidates for pair in zip(given, c.types, strict=True)}
        env.budget.spend(len(pairs))
        for source, target in pairs:
            convert(env, source, target, "i")


class _Picked(NamedTuple):
    """The candidates that an operator may be, the users' functions behind them, and the type it gives."""

    candidates: tuple[Candidate, ...]
    users: tuple[tuple[str, str, tuple[str, ...]], ...]
    type: int


def _picked(env: Environment, name: str, ranks: Mapping[str, int], given: Sequence[int]) -> _Picked:
    possible = [
        Candidate(o, (o.left, o.right) if len(given) > 1 else (o.right,), ranks[o.schema])
        for o in env.catalog.operators(name)
        if o.schema in ranks and (o.left != 0) == (len(given) > 1)
    ]

    def pick(among: Sequence[Candidate]) -> list[Candidate]:
        return _exact_by_other(env, among, given) or choose(env.catalog, among, given)

    found = pick(possible) or possible
    reached = (*found, *_behind(env.catalog, possible, found, given, pick))
    users = {c.target.function for c in reached if isinstance(c.target, Operator) and c.target.function[0] != _BUILT_IN}
    return _Picked(reached, tuple(users), result_of(env, reached, given))


def _exact_by_other(env: Environment, possible: Sequence[Candidate], given: Sequence[int]) -> list[Candidate]:
    """A literal beside a value is first taken to be of its type (docs, section 10.2, step 2a)."""
    known = [oid for oid in given if oid != UNKNOWN]
    if len(given) != 2 or len(known) != 1 or known[0] == ANYTHING:
        return []
    for oid in (known[0], types.base(env.catalog, known[0])):
        exact = [c for c in possible if c.types == (oid, oid)]
        if exact:
            return [min(exact, key=lambda c: c.rank)]
    return []


_ALLOWED = {"e": "e", "a": "ea", "i": "eai"}
"""Where a cast of each context (pg_cast.castcontext) may be used."""


def convert(env: Environment, source: int, target: int, context: str) -> None:
    """A conversion, explicit, in an assignment or implicit ("e", "a", "i"): an access where a users' function does it.

    A literal is read by its type's input function: no cast is involved.
    """
    if source in {target, UNKNOWN} or target in types.POLYMORPHIC or not env.catalog.user_casts:
        return
    sources, targets = _with_elements(env, source), _with_elements(env, target)
    if source in {ANYTHING, types.RECORD}:  # a row without a type of its own converts field by field
        sources |= {one for field in env.row_fields for one in _with_elements(env, field)}
        targets |= _fields(env, targets)
    for cast in env.catalog.user_casts:
        if context not in _ALLOWED[cast.context] or cast.function is None:
            continue
        if (cast.source_type in sources or ANYTHING in sources) and (cast.target_type in targets or not target):
            execute(env, cast.function)


def _fields(env: Environment, oids: Iterable[int]) -> set[int]:
    """The types of all that lies in rows of these types."""
    found: set[int] = set()
    waiting = list(oids)
    while waiting:
        relation = types.row_of(env.catalog, waiting.pop())
        for field in relation.types if relation is not None else ():
            new = _with_elements(env, field) - found
            found |= new
            waiting += new
    return found


def together(env: Environment, given: Sequence[int]) -> int:
    """The type that values of these types become where they stand together: CASE, UNION, ARRAY[…], VALUES."""
    env.mixes_void = env.mixes_void or (types.VOID in given and set(given) != {types.VOID})
    common = types.common(env.catalog, given)
    for source in set(given) - {common}:
        convert(env, source, common, "i")
    return common


def _with_elements(env: Environment, oid: int) -> set[int]:
    """A type with what is behind it: a domain's base, an array's elements, a row's fields."""
    found: set[int] = set()
    waiting = [oid]
    while waiting:
        one = types.base(env.catalog, waiting.pop())
        if one in found:
            continue
        found.add(one)
        known = env.catalog.type_by_oid(one)
        if known is not None and known.is_array:
            waiting.append(known.element)
    return found


_KEEPING_TEXT = frozenset({"text", "varchar", "regclass", "int4", "int8", "oid"})
"""Types that a constant can be cast to without another text coming of it."""


def constant_text(node: Any) -> str | None:
    """The text of a string or number written as a constant, a cast around it or not; None for anything else."""
    if isinstance(node, ast.TypeCast):
        plain = node.typeName is not None and not node.typeName.typmods and not node.typeName.arrayBounds
        kept = plain and names_of(node.typeName.names)[-1] in _KEEPING_TEXT  # type: ignore[union-attr]
        return constant_text(node.arg) if kept else None
    if isinstance(node, ast.NamedArgExpr):
        return constant_text(node.arg)
    if not isinstance(node, ast.A_Const) or node.isnull:
        return None
    value: Any = node.val
    for attribute in ("sval", "ival", "fval"):
        found = getattr(value, attribute, None)
        if found is not None:
            return str(found)
    return None


def split_identifiers(text: str) -> list[str]:
    """A qualified name in a string, as nextval takes it: unquoted parts folded to lower case."""
    parts, part, quoted, at = [], "", False, 0
    while at < len(text):
        char = text[at]
        if char == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                part += char
                at += 1
            else:
                quoted = not quoted
        elif char == "." and not quoted:
            parts.append(part)
            part = ""
        else:
            part += char if quoted else char.lower()
        at += 1
    return [*parts, part.strip()]
