"""Types of expressions: what is known of them, which converts to which, and which they have in common.

A type is its OID. ANYTHING stands for one that the analysis does not know (a parameter, a record from a function): it
converts to and from everything, so that a choice that depends on it is left open, never guessed. UNKNOWN is
PostgreSQL's own pseudo-type of a bare string or NULL. Source: PostgreSQL docs, chapter 10; PostgreSQL source,
parse_coerce.c.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pglast import ast

from pgguard.sql.catalog import Catalog, Relation, Type
from pgguard.sql.environment import Environment

ANYTHING = 0
BOOLEAN, BIGINT, INTEGER, TEXT, XML, DATE, NUMERIC, BIT, UNKNOWN = 16, 20, 23, 25, 142, 1082, 1700, 1560, 705
JSON_INPUTS = (25, 114, 3802, 17)  # text, json, jsonb, bytea: what JSON is read from, and given as
NAME, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ = 19, 1083, 1266, 1114, 1184
RECORD, RECORD_ARRAY, ANY, JSONB, REAL, DOUBLE, VOID = 2249, 2287, 2276, 3802, 700, 701, 2278

_ELEMENTS = frozenset({2283, 2776, 3500})  # anyelement, anynonarray, anyenum
_ANYARRAY, _ANYNONARRAY, _ANYENUM, _ANYRANGE, _ANYMULTIRANGE = 2277, 2776, 3500, 3831, 4537
_COMPATIBLE = frozenset({5077, 5078, 5079, 5080, 4538})  # anycompatible and its array, nonarray, range, multirange
_ARRAYS = frozenset({2277, 5078})
_RANGES = frozenset({3831, 5080})
_MULTIRANGES = frozenset({4537, 4538})
POLYMORPHIC = _ELEMENTS | _COMPATIBLE | _ARRAYS | _RANGES | _MULTIRANGES

_ALIASES = {"serial": "int4", "bigserial": "int8", "smallserial": "int2"}


def base(catalog: Catalog, oid: int) -> int:
    """A domain's base type; any other type itself."""
    found = catalog.type_by_oid(oid)
    while found is not None and found.kind == "d" and found.base:
        oid = found.base
        found = catalog.type_by_oid(oid)
    return oid


def named(env: Environment, name: ast.TypeName | None) -> int:
    """The type that a type name means; ANYTHING where it is not in the catalog."""
    if name is None or name.pct_type or not name.names:
        return ANYTHING
    parts = [part.sval or "" for part in name.names if isinstance(part, ast.String)]
    found = _look_up(env, parts)
    if found is None:
        return ANYTHING
    return found.array if name.arrayBounds else found.oid


def _look_up(env: Environment, parts: Sequence[str]) -> Type | None:
    name = _ALIASES.get(parts[-1], parts[-1])
    if len(parts) > 1:
        return env.catalog.type(parts[-2], name)
    env.needs_settings = True
    places = [s for s in env.settings.search_path if env.catalog.has_type(s, name)]
    places = env.reachable("type", places, name)
    return env.catalog.type(places[0], name) if places else None


def named_by(env: Environment, parts: Sequence[str]) -> int | None:
    """The type of this name, where there is one."""
    found = _look_up(env, parts)
    return None if found is None else found.oid


def element(catalog: Catalog, oid: int) -> int:
    """The type of an array's elements; ANYTHING for what is no array."""
    if oid == UNKNOWN:
        return UNKNOWN
    found = catalog.type_by_oid(base(catalog, oid))
    return found.element if found is not None else ANYTHING


def row_of(catalog: Catalog, oid: int) -> Relation | None:
    """The relation whose columns are the fields of a composite type."""
    found = catalog.type_by_oid(base(catalog, oid))
    return catalog.relation_by_oid(found.relation) if found is not None and found.relation else None


def array_of(catalog: Catalog, oid: int) -> int:
    found = catalog.type_by_oid(oid)
    return found.array if found is not None else ANYTHING


def converts(catalog: Catalog, source: int, target: int) -> bool:
    """Whether a value converts by itself (an implicit cast)."""
    if source in {target, ANYTHING, UNKNOWN} or target in {ANYTHING, ANY}:
        return True
    if target in POLYMORPHIC:
        return _may_be(catalog, source, target)
    source, target = base(catalog, source), base(catalog, target)
    if source == target:
        return True
    cast = catalog.cast(source, target)
    if cast is not None:
        return cast.context == "i"
    return _by_structure(catalog, source, target)


def converts_by_users(catalog: Catalog, source: int, target: int) -> bool:
    """Whether a value converts by a cast that users have made, of itself or of an array's elements."""
    source, target = base(catalog, source), base(catalog, target)
    cast = catalog.cast(source, target)
    if cast is not None:
        return cast.by_users
    from_, to = catalog.type_by_oid(source), catalog.type_by_oid(target)
    if from_ is None or to is None or not (from_.is_array and to.is_array):
        return False
    return converts_by_users(catalog, from_.element, to.element)


def reads_as(catalog: Catalog, source: int, target: int) -> bool:
    """Whether an explicit cast between them calls no function: binary coercible, or by output and input.

    Source: PostgreSQL source, find_coercion_pathway.
    """
    source, target = base(catalog, source), base(catalog, target)
    if source == target:
        return True
    cast = catalog.cast(source, target)
    if cast is not None:
        return cast.method != "f"
    from_, to = catalog.type_by_oid(source), catalog.type_by_oid(target)
    if from_ is None or to is None or (from_.is_array and to.is_array):
        return False
    return "S" in (from_.category, to.category)


def _by_structure(catalog: Catalog, source: int, target: int) -> bool:
    """Arrays by their elements; rows to and from `record`, to the row of a parent, and to a typed table's type."""
    from_, to = catalog.type_by_oid(source), catalog.type_by_oid(target)
    if from_ is None or to is None:
        return True
    if to.oid == RECORD:
        return from_.kind == "c"
    if from_.oid == RECORD:
        return to.kind == "c"
    if from_.is_array and to.is_array:
        return converts(catalog, from_.element, to.element)
    if from_.is_array and to.oid == RECORD_ARRAY:
        return True
    if from_.kind == to.kind == "c":
        child, parent = catalog.relation_by_oid(from_.relation), catalog.relation_by_oid(to.relation)
        if child is None or parent is None:
            return False
        return child.of_type == target or (parent.schema, parent.name) in child.ancestors
    return False


def _may_be(catalog: Catalog, source: int, target: int) -> bool:
    found = catalog.type_by_oid(base(catalog, source))
    if found is None:
        return True
    if target in _ARRAYS:
        return found.is_array
    if target in _RANGES:
        return found.kind == "r"
    if target in _MULTIRANGES:
        return found.kind == "m"
    if target == _ANYENUM:
        return found.kind == "e"
    return not (target in {_ANYNONARRAY, 5079} and found.is_array)


def consistent(catalog: Catalog, sources: Sequence[int], targets: Sequence[int]) -> bool:
    """Whether the polymorphic arguments agree with each other (docs, section 38.2.5)."""
    elements = {
        of
        for source, target in zip(sources, targets, strict=False)
        if target in POLYMORPHIC - _COMPATIBLE
        and (of := _element_behind(catalog, source, target)) not in {ANYTHING, UNKNOWN}
    }
    return len(elements) <= 1


def _element_behind(catalog: Catalog, source: int, target: int) -> int:
    """What a polymorphic argument says of the element type."""
    if source in {ANYTHING, UNKNOWN}:
        return source
    if target in _ARRAYS:
        return element(catalog, source)
    if target in _RANGES | _MULTIRANGES:
        found = catalog.type_by_oid(base(catalog, source))
        return found.range if found is not None else ANYTHING
    return source


def result(catalog: Catalog, declared: int, sources: Sequence[int], targets: Sequence[int]) -> int:
    """The type that a function or operator gives, polymorphic ones worked out."""
    if declared not in POLYMORPHIC:
        return declared
    pairs = [(s, t) for s, t in zip(sources, targets, strict=False) if t in POLYMORPHIC]
    if declared in _RANGES | _MULTIRANGES:
        same = {base(catalog, s) for s, t in pairs if t == declared}
        return same.pop() if len(same) == 1 else ANYTHING
    found = common(catalog, [_element_behind(catalog, s, t) for s, t in pairs])
    if found in {ANYTHING, UNKNOWN}:
        return ANYTHING
    return array_of(catalog, found) if declared in _ARRAYS else found


def common(catalog: Catalog, types: Iterable[int]) -> int:
    """The type of a CASE, UNION, ARRAY[…] and their like (docs, section 10.5)."""
    given = list(types)
    if ANYTHING in given or not given:
        return ANYTHING
    if len(set(given)) == 1:
        return TEXT if given[0] == UNKNOWN else given[0]
    known = [base(catalog, oid) for oid in given if oid != UNKNOWN]
    best = catalog.type_by_oid(known[0])
    for oid in known[1:]:
        other = catalog.type_by_oid(oid)
        if best is None or other is None or best.category != other.category:
            return ANYTHING
        if other.oid != best.oid and not best.preferred and converts(catalog, best.oid, oid):
            if converts(catalog, oid, best.oid):
                continue
            best = other
    return ANYTHING if best is None else best.oid


def of_constant(node: ast.A_Const) -> int:
    value: Any = node.val
    if node.isnull or isinstance(value, ast.String):
        return UNKNOWN
    if isinstance(value, ast.Integer):
        return INTEGER
    if isinstance(value, ast.Boolean):
        return BOOLEAN
    if isinstance(value, ast.BitString):
        return BIT
    if isinstance(value, ast.Float):
        text = value.fval or ""
        return BIGINT if text.isdigit() and int(text) < 2**63 else NUMERIC
    return ANYTHING
