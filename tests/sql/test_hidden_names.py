"""Names that stand in several schemas of the search_path: what they cost, and how many are too many."""

import msgspec

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.sqlstate import SqlState
from pgguard.sql.analyze import Refused, Script, analyze
from pgguard.sql.catalog import Catalog, Function, Relation
from pgguard.sql.environment import Settings, in_order

_PATH = ("pg_catalog", "one", "two", "three")


def _tables(catalog: Catalog, count: int, schemas: tuple[str, ...] = _PATH[1:]) -> Catalog:
    """Tables t0, t1, … in each of these schemas, with a column that is the schema's own."""
    return catalog.overlaid(Relation(s, f"t{n}", "r", ("id", s)) for s in schemas for n in range(count))


def _touched(text: str, catalog: Catalog, path: tuple[str, ...] = _PATH) -> set[str]:
    found = analyze(text, catalog, Settings(path))
    assert isinstance(found, Script), found
    return {f"{a.object.schema}.{a.object.name} {','.join(a.columns or ())}" for a in found.statements[0].accesses}


def test_each_of_three_is_reached(catalog: Catalog) -> None:
    three = _tables(catalog, 2)
    assert _touched("select id from t0", three) == {"one.t0 id", "two.t0 id", "three.t0 id"}
    # where the second has the column and the first has not, and the other way round
    assert _touched("select a.one, b.one from t0 a, t1 b", three) == {"one.t0 one", "one.t1 one"}
    assert "three.t0 id" in _touched("with w as (select id from t1) select t0.id from t0, w", three)


def test_a_combination_comes_to_light_though_its_parts_are_errors(catalog: Catalog) -> None:
    """`deep` is a column of three.t0 alone, and only while the query before it can be read."""
    tables = [
        Relation("one", "t0", "r", ("id", "seen")), Relation("two", "t0", "r", ("id",)),
        Relation("three", "t0", "r", ("id", "seen", "deep")),
        Relation("one", "t1", "r", ("id", "deep")), Relation("two", "t1", "r", ("id",)),
    ]  # fmt: skip
    text = "with w as (select seen from t0) select deep from t1 join t0 using (id)"
    found = _touched(text, catalog.overlaid(tables))
    assert "three.t0 deep,id" in found


def test_what_is_only_behind_temporary_and_built_in_names_is_not_reached(catalog: Catalog) -> None:
    own = catalog.overlaid([Relation("pg_temp_3", "customers", "r", ("id",), temporary=True)])
    path = ("pg_temp_3", "pg_catalog", "app", "public")
    assert _touched("select id from customers", own, path) == {"pg_temp_3.customers id"}
    shadowed = catalog.overlaid([Relation("public", "pg_class", "r", ("relname",))])
    assert _touched("select relname from pg_class", shadowed, path) == {"pg_catalog.pg_class relname"}
    behind = ("public", "app", "pg_catalog")
    both = {"public.pg_class relname", "pg_catalog.pg_class relname"}
    assert _touched("select relname from pg_class", shadowed, behind) == both


def test_ten_names_in_two_schemas_are_judged_and_more_are_refused_clearly(catalog: Catalog) -> None:
    many = _tables(catalog, 40, ("one", "two"))

    def joined(count: int) -> str:
        return f"select count(*) from {', '.join(f't{n}' for n in range(count))}"

    assert len(_touched(joined(10), many)) == 20 + 1  # and the call of count
    refused = analyze(joined(40), many, Settings(_PATH))
    assert isinstance(refused, Refused)
    assert refused.sqlstate is SqlState.STATEMENT_TOO_COMPLEX
    assert refused.message == (
        '"t0", "t1", "t10", "t11" and 36 more names may each mean several things, in too many combinations to be judged:'
        " write relations with their schema, and columns with their table"
    )
    qualified = joined(40).replace(" t", " one.t")
    assert len(_touched(qualified, many)) == 40 + 1


def test_facts_are_shared_by_no_other_text_where_something_behind_reads_a_constant(catalog: Catalog) -> None:
    """With the facts of `set_config('a.b', …)` remembered by its skeleton, another text could set any setting."""
    integer, text = 23, 25
    tables = [Relation(s, "t0", "r", ("c",), types=(type_,)) for s, type_ in (("one", integer), ("two", text))]
    mine = Function(
        "one", "set_config", ("text", "integer", "boolean"), "f", 3, oid=99_999, argument_types=(text, integer, 16)
    )
    functions = _with_function(catalog, mine).overlaid(tables)
    found = analyze("select set_config('a.b', c, true) from t0", functions, Settings(("one", "two", "pg_catalog")))
    assert isinstance(found, Script)
    assert {a.object.name for a in found.statements[0].accesses} == {"t0", "set_config", "a.b"}
    assert not found.shareable
    assert found.statements[0].unsettles


def _with_function(catalog: Catalog, function: Function) -> Catalog:
    return Catalog(msgspec.structs.replace(catalog.snapshot, functions=(*catalog.snapshot.functions, function)))


def test_accesses_that_differ_in_their_candidates_alone_stand_in_one_order_in_every_process() -> None:
    """Such are those of a count(*) with and without a column that somebody may drop: they stood as a set gave them."""
    whole = Access(Privilege.SELECT, Kind.TABLE, ObjectName("orders", "app"), (), candidates=("id", "total"))
    without = Access(Privilege.SELECT, Kind.TABLE, ObjectName("orders", "app"), (), candidates=("id",))
    assert in_order([whole, without]) == in_order([without, whole])
