"""The relations that only one session sees: its temporary tables, and what its open transaction has made.

Asked through the session's own connection (design, section 4): rows of pg_class and pg_attribute that the session's
open transaction wrote (its savepoints have later transaction ids than itself), and its temporary schema.
"""

import json

from pgguard.runtime.settings_question import CannotTell
from pgguard.session.judgement import Answer, Question, Rows
from pgguard.sql.catalog import Relation

_OWN_TRANSACTION = b"pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid::pg_catalog.text::pg_catalog.int8"

OWN_RELATIONS_QUESTION = Question(
    b"select n.nspname, c.relname, c.relkind,"
    b" coalesce((select pg_catalog.json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a"
    b"  where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped),"
    b" '[]'),"
    b" c.relnamespace operator(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
    b" from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace"
    b" where c.relkind operator(pg_catalog.=) any (array['r','p','v','m','f','S']::pg_catalog.\"char\"[])"
    b" and (c.relnamespace operator(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
    b"  or c.xmin::pg_catalog.text::pg_catalog.int8 operator(pg_catalog.>=) " + _OWN_TRANSACTION + b"  or exists ("
    b"select 1 from pg_catalog.pg_attribute a where a.attrelid operator(pg_catalog.=) c.oid"
    b" and a.xmin::pg_catalog.text::pg_catalog.int8 operator(pg_catalog.>=) " + _OWN_TRANSACTION + b"))"
)


def read_own_relations(answer: Answer) -> tuple[Relation, ...]:
    """The relations of the answer. Raises CannotTell where there is none."""
    if not isinstance(answer, Rows):
        raise CannotTell(answer.message)
    return tuple(
        Relation(schema or "", name or "", kind or "r", tuple(json.loads(columns or "[]")), temporary=temporary == "t")
        for schema, name, kind, columns, temporary in answer.rows
    )
