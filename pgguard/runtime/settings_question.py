"""The question that settles what a session's names and text mean, and its answer as a value.

search_path, role and the like change under SET, set_config, ROLLBACK, DISCARD and functions: pgguard does not imitate
that, it asks the database in a quiet moment (design, section 4). Every name is qualified with pg_catalog, so that
nothing on the client's search_path can answer in the place of the database. The reason stands in each record of the
audit, and is cut to a length at which that makes no difference.
"""

import json

import msgspec

from pgguard.database.own_catalog import CannotTell
from pgguard.session.judgement import Answer, Question, Rows

SETTINGS_QUESTION = Question(
    b"select pg_catalog.array_to_json(pg_catalog.current_schemas(true)), current_user, session_user,"
    b" pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('client_encoding'),"
    b" pg_catalog.left(pg_catalog.current_setting('pgguard.reason', true), 1000),"
    b" pg_catalog.current_setting('transaction_read_only'),"
    b" pg_catalog.pg_my_temp_schema(), pg_catalog.current_schema()"
)


class SessionState(msgspec.Struct, frozen=True):
    """What the database said of the session.

    `search_path`: the effective one, implicit schemas included. `plain_lexer`: strings read as pglast reads them
    (standard_conforming_strings on, client_encoding UTF8). `temporary`: the session has a schema of its own for
    temporary objects. `creates_in`: where CREATE without a schema puts things.
    """

    search_path: tuple[str, ...]
    current_user: str
    session_user: str
    plain_lexer: bool
    reason: str
    read_only: bool
    temporary: bool
    creates_in: str


def read_state(answer: Answer) -> SessionState:
    """The state that an answer to SETTINGS_QUESTION tells. Raises CannotTell where it tells none."""
    if not isinstance(answer, Rows):
        raise CannotTell(answer.message)
    schemas, current, session, strings, encoding, reason, read_only, temp, creates_in = answer.rows[0]
    return SessionState(
        search_path=tuple(json.loads(schemas or "[]")),
        current_user=current or "",
        session_user=session or "",
        plain_lexer=strings == "on" and encoding == "UTF8",
        reason=reason or "",
        read_only=read_only == "on",
        temporary=temp != "0",
        creates_in=creates_in or "",
    )
