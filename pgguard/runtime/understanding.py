"""What a session's statements mean: their text to Facts, by the settings and names that are in force in the session.

Theory of operation. Facts come from the cache or from `sql.analyze`. Where they depend on the session's settings, these
must be settled: the database is asked (settings_question.py) when anything that was relayed since the last answer may
have changed them. An answer that was given inside a transaction is provisional: the end of the transaction may take it
back, so it unsettles again. A name that the catalog lacks is looked up anew: first in a refreshed catalog, then in the
session's own connection, which alone sees its temporary tables and its uncommitted DDL. What stays unknown is refused
with the error that PostgreSQL would give.
"""

import asyncio
import operator
from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import Any, TypeGuard

import msgspec

from pgguard.database.own_catalog import OWN_QUESTIONS, TEMPORARY_QUESTIONS, CannotTell, seen_by_session
from pgguard.model.access import Access, Kind
from pgguard.model.context import Replication
from pgguard.model.control import DeclareCursor, ExecutePrepared, FetchCursor, Prepare, Transaction
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.analysis import SHORT, analyze_apart, analyze_at_once
from pgguard.runtime.catalogs import CatalogKeeper
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.isolation import IsolatedWorkFailed, Isolation
from pgguard.runtime.judging import Wait
from pgguard.runtime.settings_question import SETTINGS_QUESTION, SessionState, read_state
from pgguard.session.judgement import Answer, Ask, Failed, Meaning, Moment, Names, Prepared, Request, TransactionStatus
from pgguard.session.plain_text import reads_the_same
from pgguard.sql.analyze import Analysis, Refused, Script, facts_of_call, moves_names
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from pgguard.sql.replication import replication_command
from pgguard.sql.skeleton import skeleton
from pgguard.sql.types import VOID

Facts_ = tuple[Facts, ...]
Steps = Generator[Ask | Wait, Any, Facts_]

_NAMING = (Prepare, DeclareCursor, ExecutePrepared, FetchCursor)

_BRINGS_TEXT = frozenset({Moment.QUERY, Moment.PARSE})

# constants of their own: see session.expected.Awaits
_FUNCTION_CALL, _AT_PARSE = Moment.FUNCTION_CALL, Moment.PARSE
_IDLE = TransactionStatus.IDLE

_skeleton = lru_cache(maxsize=8)(skeleton)
"""A statement that is not known is asked for more than once on its way."""


class Unfit(Exception):  # noqa: N818  # a statement's fault, not the program's
    """The statement cannot be judged, and is refused for it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def unfit(sqlstate: SqlState, message: str, hint: str | None = None, position: int = 0) -> Unfit:
    return Unfit(Refusal(sqlstate, message, hint=hint, position=position or None))


class Understood(msgspec.Struct, frozen=True):
    """By what a known statement was understood. `meaning`: of the prepared statement that it runs, with what that has
    meant so far.
    """

    generation: int
    scope: object
    """Another with each answer that the database gives."""
    meaning: Meaning | None
    accesses: tuple[Access, ...]


class Understanding:
    """One session's. `limit`: the largest statement in bytes. `replication`: what the connection is for."""

    def __init__(
        self,
        keeper: CatalogKeeper,
        cache: FactsCache[Analysis],
        isolation: Isolation,
        limit: int,
        replication: Replication,
    ) -> None:
        self._replication = replication
        self._replicates = replication is not Replication.NONE
        self._keeper = keeper
        self._cache = cache
        self._isolation = isolation
        self._limit = limit
        self._state: SessionState | None = None
        self._scope = (keeper.database, Settings(()))
        """What a text's facts depend on beside the catalog."""
        self._settled = False
        self._asked_inside = False
        """The last answer was given inside a transaction or an open segment: it is provisional."""
        self._asked_in = 0
        """The round of the last answer."""
        self._moved = False
        """A transaction may have begun or ended since the last answer: it brings its own read only."""
        self._dirty = False
        """Something since the last answer outside a transaction may have changed the settings."""
        self._own_ddl = False
        """The session has changed the catalog, and no refresh has begun since."""
        self._own: Catalog | None = None
        """The catalog with what only this session sees; None where that is not known, or nothing."""
        self._looked = False
        self._generation = -1
        self._uses: list[tuple[Meaning, tuple[Access, ...]]] = []
        """What the prepared statements that the request uses mean now."""

    @property
    def state(self) -> SessionState | None:
        return self._state

    @property
    def told(self) -> bool:
        """Whether `state` is what the database would tell now. A physical replication connection tells nothing."""
        return (self._settled and not self._moved) or self._replication is Replication.PHYSICAL

    def settle(self, request: Request) -> Generator[Ask | Wait, Any, None]:
        """Have the database tell the state of now. Raises Unfit where it cannot be asked."""
        if not self.told:
            yield from self._settle(request, always=True)

    # from a request to facts

    def known(self, request: Request) -> Facts_ | None:
        """The facts of what a request runs, where they are here already; None where more is to be done to tell.

        # INVARIANT: what this returns, `statements` would return, without asking anybody for anything.
        """
        text = request.text
        if request.moment is _FUNCTION_CALL or self._replicates or len(text) > self._limit:
            return None
        if VOID in request.parameter_types:
            return None
        self._notice(request)
        if self._own is not None or self._sees_own() or (request.moment in _BRINGS_TEXT and not reads_the_same(text)):
            return None
        try:
            analysis = self._remembered(text.decode(), self._scope)
        except UnicodeDecodeError:
            return None
        if not isinstance(analysis, Script) or (not self._settled and (self._own_ddl or analysis.needs_settings)):
            return None
        if _names_nothing(analysis) and self._asks_before(request, text.decode()):
            return None
        for facts in analysis.statements:
            if isinstance(facts.control, _NAMING):
                return None
        self._uses = []
        return self._as_prepared(request, analysis.statements)

    def understood(self, request: Request) -> Understood:
        """By what the facts of a request were told that was `known`, and has been relayed."""
        meaning = request.meaning
        accesses = () if meaning is None else meaning.accesses
        return Understood(self._keeper.generation, self._scope, meaning, accesses)

    def still(self, understood: Understood) -> bool:
        """Whether `known` would return the same for the same request, sent while nothing is in flight."""
        return (
            self._settled
            and self._keeper.generation == self._generation == understood.generation
            and self._scope is understood.scope
            and self._own is None
            and not self._sees_own()
            and not (self._asked_inside and self._dirty)
            and (understood.meaning is None or understood.meaning.accesses is understood.accesses)
        )

    def statements(self, request: Request, names: Names) -> Steps:
        """The facts of what a request runs. Raises Unfit."""
        if self._replicates:
            command = self._replication_command(request)
            if command is not None:
                return (command,)
        if request.moment is _FUNCTION_CALL:
            return (facts_of_call(request.function or 0, self._keeper.current),)
        self._notice(request)
        if len(request.text) > self._limit:
            raise unfit(
                SqlState.PROGRAM_LIMIT_EXCEEDED,
                f"statement of {len(request.text)} bytes is longer than the {self._limit} that are allowed",
            )
        if request.moment in _BRINGS_TEXT and not reads_the_same(request.text):
            yield from self._check_lexer(request)
        self._uses = []
        found = yield from self._facts(request, _decode(request.text), request.parameter_types)
        found = yield from self._with_named(request, names, found)
        return self._as_prepared(request, found)

    def _as_prepared(self, request: Request, found: Facts_) -> Facts_:
        """With all that a prepared statement may still mean; the same tuple where that is no more (recent.py)."""
        if request.meaning is None:
            return found
        ever = tuple([self._as_ever(facts, request.meaning) for facts in found])
        return found if all(map(operator.is_, ever, found)) else ever

    def _as_ever(self, facts: Facts, meaning: Meaning) -> Facts:
        """With all that the prepared statement has meant since its preparation: the database may still take it so."""
        self._uses.append((meaning, facts.accesses))
        widened = meaning.widened(facts.accesses)
        if widened is facts.accesses:
            return facts
        return msgspec.structs.replace(facts, accesses=widened, opaque=facts.opaque or _why_opaque(widened))

    def _replication_command(self, request: Request) -> Facts | None:
        """None for SQL. Raises Unfit for what the server would refuse on such a connection."""
        if request.moment is Moment.FUNCTION_CALL:
            raise unfit(
                SqlState.PROTOCOL_VIOLATION, "fastpath function calls not supported in a replication connection"
            )
        if request.moment is not Moment.QUERY:
            raise unfit(
                SqlState.PROTOCOL_VIOLATION, "extended query protocol not supported in a replication connection"
            )
        command = replication_command(request.text)
        if command is None and self._replication is Replication.PHYSICAL:
            raise unfit(
                SqlState.FEATURE_NOT_SUPPORTED, "cannot execute SQL commands in WAL sender for physical replication"
            )
        return command

    def _notice(self, request: Request) -> None:
        """What the moment of a request tells about the validity of the last answer."""
        ended = request.status is _IDLE and request.round != self._asked_in
        if self._asked_inside and self._dirty and ended:
            # no COMMIT need have told it: an implicit transaction ends by itself, and what it had made may go with it
            self._settled = False
            self._forget_own()
        if self._generation != self._keeper.generation:
            self._generation = self._keeper.generation
            self._settled = False
            self._forget_own()

    def _check_lexer(self, request: Request) -> Generator[Ask | Wait, Any, None]:
        """Text that a setting could change the reading of is judged only by an answer of this very moment."""
        yield from self._settle(request, always=not request.quiet or not self._settled)
        if self._state is None or not self._state.plain_lexer:
            raise unfit(
                SqlState.FEATURE_NOT_SUPPORTED,
                "a backslash, or text beyond ASCII, needs standard_conforming_strings = on and client_encoding = UTF8",
                "SET both, or write the statement in plain ASCII without a backslash.",
            )

    def _settle(self, request: Request, *, always: bool = False) -> Generator[Ask | Wait, Any, None]:
        """Know the session's settings. Raises Unfit where the database cannot be asked."""
        if self._settled and not always:
            return
        answers = yield Ask((SETTINGS_QUESTION,))
        try:
            state = read_state(answers[0])
        except CannotTell as error:
            raise _not_told(answers, f"the session's settings cannot be told: {error}") from error
        self._state = state
        settings = Settings(state.search_path, state.current_user, state.session_user, state.creates_in)
        self._scope = (self._keeper.database, settings)
        self._settled = True
        self._moved = False
        self._asked_inside = request.inside
        self._asked_in = request.round
        self._dirty = self._dirty and self._asked_inside

    def _facts(self, request: Request, text: str, types: tuple[int, ...]) -> Steps:
        voids = frozenset(number for number, oid in enumerate(types, 1) if oid == VOID)
        analysis = yield from self._analysis(text, voids)
        if _names_nothing(analysis):
            # and in a failed transaction, where nothing can be asked, it alone leads out
            if self._asks_before(request, text):
                yield from self._settle(request)
            return analysis.statements
        if not self._settled and (self._own_ddl or isinstance(analysis, Refused) or analysis.needs_settings):
            if isinstance(analysis, Refused) and analysis.sqlstate is SqlState.SYNTAX_ERROR:
                raise _refused(analysis)
            yield from self._settle(request)
            analysis = yield from self._analysis(text, voids)
        if self._sees_own():
            yield from self._look_at_own(request)
            analysis = yield from self._analysis(text, voids)
        if isinstance(analysis, Refused) and analysis.unresolved:
            yield Wait(self._keeper.refresh())
            self._own_ddl = self._own_ddl and request.inside
            analysis = yield from self._analysis(text, voids)
        if isinstance(analysis, Refused):
            raise _refused(analysis)
        return analysis.statements

    def _asks_before(self, request: Request, text: str) -> bool:
        """Whether the database is asked before a transaction begins that keeps its first snapshot: a question inside
        would take that before a LOCK has waited (PostgreSQL docs, LOCK).
        """
        return not self._settled and not request.inside and "isolation" in text.lower()

    # the session's own relations

    def _sees_own(self) -> bool:
        temporary = self._state is not None and self._state.temporary
        return self._settled and not self._looked and (self._own_ddl or temporary)

    def _look_at_own(self, request: Request) -> Generator[Ask | Wait, Any, None]:
        """Ask the session's connection for its temporary tables and what its transaction has changed."""
        if self._own_ddl:
            yield Wait(self._keeper.refresh())  # what is committed; the open transaction's own comes below
            self._own_ddl = request.inside
        answers = yield Ask(OWN_QUESTIONS if self._own_ddl else TEMPORARY_QUESTIONS)
        try:
            self._own = yield Wait(asyncio.to_thread(seen_by_session, answers, self._keeper.current))
        except CannotTell as error:
            raise _not_told(answers, f"the session's tables cannot be told: {error}") from error
        self._looked = True

    def _forget_own(self) -> None:
        self._own = None
        self._looked = False

    def catalog(self) -> Catalog:
        """What names mean in this session, as far as it is known now."""
        return self._keeper.current if self._own is None else self._own

    # analysis

    def _remembered(self, text: str, scope: tuple[object, ...]) -> Analysis | None:
        """What is known of a text, or of its skeleton, in this scope and under the common catalog."""
        cache, generation = self._cache, self._keeper.generation
        found = cache.get(text, scope, generation)
        if found is None and len(text) <= SHORT:
            bones = _skeleton(text)
            found = None if bones is None else cache.get(bones, scope, generation)
            if found is not None:
                cache.put(text, scope, generation, found, _cost(found))
        return found

    def _analysis(self, text: str, voids: frozenset[int]) -> Generator[Ask | Wait, Any, Analysis]:
        own = self._own is not None
        settings = self._scope[1]
        scope = (*self._scope, voids) if voids else self._scope
        found = None if own else self._remembered(text, scope)
        if found is not None:
            return found
        catalog, generation = self.catalog(), self._keeper.generation
        self._cache.misses += 1
        found = analyze_at_once(text, catalog, settings, voids)
        if found is None:
            try:
                found = yield Wait(analyze_apart(self._isolation, text, catalog, settings, voids))
            except IsolatedWorkFailed as failed:
                raise unfit(SqlState.STATEMENT_TOO_COMPLEX, f"statement could not be analysed: {failed}") from failed
        if own:
            return found
        cost = _cost(found)
        self._cache.put(text, scope, generation, found, cost)
        bones = _skeleton(text) if len(text) <= SHORT and isinstance(found, Script) and found.shareable else None
        if bones is not None:
            self._cache.put(bones, scope, generation, found, cost)
        return found

    # EXECUTE, FETCH and their like do what the statement does that they name

    def _with_named(self, request: Request, names: Names, statements: Facts_) -> Steps:
        if not any(isinstance(facts.control, _NAMING) for facts in statements):
            return statements
        result: list[Facts] = []
        prepared: dict[str, Prepared] = {}
        cursors: dict[str, Prepared] = {}
        moved = unseen = ""
        for facts in statements:
            executes = isinstance(facts.control, ExecutePrepared)
            before = moved if executes else unseen if facts.needs_settings else ""
            if before:
                raise unfit(
                    SqlState.FEATURE_NOT_SUPPORTED,
                    f"{facts.kind} cannot be judged: it follows {before} in the same string",
                    "Send it as a query of its own.",
                )
            match facts.control:
                case Prepare(name=name, query=query):
                    prepared[name] = Prepared(query.encode())
                case DeclareCursor(name=name, query=query):
                    cursors[name] = Prepared(query.encode())
                case ExecutePrepared(name=name):
                    inner = yield from self._named(request, names, name, prepared.get(name), cursor=False)
                    facts = yield from self._as_inner(request, facts, inner)  # noqa: PLW2901  # enriched in place
                case FetchCursor(name=name):
                    inner = yield from self._named(request, names, name, cursors.get(name), cursor=True)
                    facts = yield from self._as_inner(request, facts, inner)  # noqa: PLW2901  # enriched in place
                case _:
                    pass
            moved = moved or (facts.kind if moves_names(facts) else "")
            unseen = unseen or (moved if isinstance(facts.control, ExecutePrepared | FetchCursor) else "")
            result.append(facts)
        return tuple(result)

    def _named(  # where a name may stand
        self, request: Request, names: Names, name: str, here: Prepared | None, *, cursor: bool
    ) -> Generator[Ask | Wait, Any, Prepared]:
        if here is not None:
            return here
        if not request.quiet:
            yield Ask()
        portal = names.portal(name) if cursor else None
        found = portal.prepared if portal is not None else None if cursor else names.prepared(name)
        if found is None:
            raise (
                unfit(SqlState.INVALID_CURSOR_NAME, f'cursor "{name}" does not exist')
                if cursor
                else unfit(SqlState.INVALID_SQL_STATEMENT_NAME, f'prepared statement "{name}" does not exist')
            )
        return found

    def _as_inner(self, request: Request, outer: Facts, named: Prepared) -> Generator[Ask | Wait, Any, Facts]:
        found = yield from self._facts(request, _decode(named.text), named.parameter_types)
        inner = [self._as_ever(facts, named.meaning) for facts in found]
        unseen = next((facts.kind for facts in inner if facts.control is not None), None)
        if unseen is not None:
            # INVARIANT: only the protocol can prepare it, and the session sees the EXECUTE alone: what it names in turn
            # would not be judged, and names that it changes would go on to be judged by what they meant before
            raise unfit(
                SqlState.FEATURE_NOT_SUPPORTED, f"{unseen} cannot be judged behind {outer.kind}", "Send it by itself."
            )
        accesses = dict.fromkeys((*outer.accesses, *(access for facts in inner for access in facts.accesses)))
        return msgspec.structs.replace(
            outer,
            accesses=tuple(accesses),
            opaque=outer.opaque or next((f.opaque for f in inner if f.opaque), None),
            unsettles=outer.unsettles or any(f.unsettles for f in inner),
            changes_catalog=outer.changes_catalog or any(f.changes_catalog for f in inner),
            needs_settings=True,
        )

    # bookkeeping

    def relayed(self, request: Request, statements: Facts_) -> None:
        """These statements go on to the database: what they may change is not known any more."""
        for meaning, accesses in self._uses:
            meaning.accesses = meaning.widened(accesses)
        if request.moment is not _AT_PARSE:
            self.run(statements)

    def run(self, statements: Facts_) -> None:
        """The database runs these now."""
        for facts in statements:
            if isinstance(facts.control, Transaction):
                self._moved = True
                if facts.unsettles and self._dirty:
                    self._settled = False
                    self._forget_own()
            elif facts.unsettles:
                self._settled = False
                self._dirty = True
                self._forget_own()
            if facts.changes_catalog:
                self._own_ddl = True
                self._forget_own()
                self._settled = False
                self._dirty = True


def touched_by_named(statements: Facts_) -> tuple[tuple[Access, ...], ...]:
    """Of each statement that PREPARE and DECLARE name, what it touches; nothing where there is none."""
    if not any(isinstance(facts.control, Prepare | DeclareCursor) for facts in statements):
        return ()
    return tuple(facts.accesses for facts in statements)


def _cost(found: Analysis) -> int:
    """Bytes of memory, about."""
    return sum(facts.cost for facts in found.statements) if isinstance(found, Script) else 0


def _why_opaque(accesses: tuple[Access, ...]) -> str | None:
    return next((access.object.name for access in accesses if access.kind is Kind.OPAQUE), None)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(
            SqlState.CHARACTER_NOT_IN_REPERTOIRE,
            f'invalid byte sequence for encoding "UTF8": 0x{text[error.start]:02x}',
        ) from error


def _names_nothing(analysis: Analysis) -> TypeGuard[Script]:
    """It begins and ends transactions and savepoints, whatever the catalog and the settings are."""
    return isinstance(analysis, Script) and all(
        isinstance(facts.control, Transaction) and not facts.accesses and not facts.opaque
        for facts in analysis.statements
    )


def _not_told(answers: Sequence[Answer], why: str) -> Unfit:
    """A question failed. What stopped it is told where it would have stopped the statement itself."""
    failed = next((answer for answer in answers if isinstance(answer, Failed)), None)
    if failed is not None and failed.sqlstate == SqlState.QUERY_CANCELED:
        return unfit(SqlState.QUERY_CANCELED, failed.message)
    if failed is not None and failed.sqlstate == SqlState.IN_FAILED_SQL_TRANSACTION:
        why = "current transaction is aborted, commands ignored until end of transaction block"
    return unfit(SqlState.IN_FAILED_SQL_TRANSACTION, why)


def _refused(analysis: Refused) -> Unfit:
    return unfit(analysis.sqlstate, analysis.message, analysis.hint, analysis.position)
