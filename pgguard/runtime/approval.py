"""The approval of one session's statements, from text to verdict: the way that nothing goes around.

A statement's way: who asks (ticket, account), what the text means (understanding.py), what the rules say to that, the
audit record, the verdict. Each step may refuse; each refusal is recorded.

# INVARIANT: an Allow leaves `approve` only behind a decision of the rules in force now, and behind its audit record.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

import msgspec

from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import DecisionMade, HoldEvent
from pgguard.audit.redact import LONG
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context, Unknown
from pgguard.model.control import Control, DeclareCursor, ExecutePrepared, FetchCursor, Prepare, Transaction
from pgguard.model.decision import AccessDecision, Decision, Effect, HoldRequirement, Redaction
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.policy.decide import decide
from pgguard.policy.redaction import redaction_of
from pgguard.policy.wording import NAMES_UNKNOWN, hidden_refusal, refusal_of
from pgguard.runtime.backend import BackendConnection
from pgguard.runtime.bound_values import as_text, binary_ones
from pgguard.runtime.estimate import Estimate, estimate_question, read_estimate
from pgguard.runtime.holding import Grant, Holding
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.isolation import IsolatedWorkFailed
from pgguard.runtime.judging import Flow, Wait
from pgguard.runtime.login import Login
from pgguard.runtime.precedent import Case
from pgguard.runtime.principal_setting import PRINCIPAL_IS_FIXED, may_set_principal
from pgguard.runtime.recent import Held, Stamp
from pgguard.runtime.running import Running, RunningStatements
from pgguard.runtime.settings_question import SessionState
from pgguard.runtime.standing import barred, unsure
from pgguard.runtime.surroundings import Surroundings
from pgguard.runtime.understanding import Understanding, Unfit, touched_by_named
from pgguard.session.judgement import Allow, Ask, Moment, Names, Precedent, Refuse, Repeated, Request, TransactionStatus
from pgguard.sql.disclosure import shown_by
from pgguard.sql.literals import MASK

_log = logging.getLogger(__name__)

_UNRECORDED = Refusal(SqlState.DISK_FULL, "the statement could not be recorded, and was refused")

_BEGINNING = 10_000
"""Bytes of a text that is too long: to look through all of it for secrets would take minutes."""

Steps = Generator[Wait, Any, Refusal | None]

# constants of their own: see session.expected.Awaits
_AT_PARSE, _AT_BIND, _AT_EXECUTE = Moment.PARSE, Moment.BIND, Moment.EXECUTE
_WORDS = {moment: moment.value for moment in Moment}
_IDLE = TransactionStatus.IDLE
_ALLOW = Effect.ALLOW


class Approval:
    """Judges one session's statements. `database`: its connection there; `tell`: a notice."""

    def __init__(
        self,
        house: House,
        login: Login,
        understanding: Understanding,
        database: BackendConnection,
        tell: Callable[[str], None],
    ) -> None:
        self._house = house
        self._login = login
        self._understanding = understanding
        self._names: Names | None = None
        self._bound: _Bound | None = None
        self._made: deque[tuple[Request, Held]] = deque(maxlen=2)
        """The latest requests that were allowed at once, until the database answers: they may hold large values."""
        self._session = msgspec.json.encode(login.session)
        self._holding = Holding(house, login, database, tell)
        self._surroundings = Surroundings(house, login, understanding, database.parameters)
        self._recent = house.decisions.of(self._surroundings.at_login)
        self._observes = house.observes(login.database)
        self._heard_in: Stamp | None = None
        self._heard: dict[str, bool] = {}
        """Channels of whose notifications it was asked this second, and the answers."""
        self.running = RunningStatements()

    def audit_id(self, request: Request) -> str:
        return f"{self._login.session}-{request.number}"

    def answered(self, number: int) -> None:
        """The database has answered something; it has finished with the request of this number."""
        self.running.answered(number)
        self._made.clear()

    def close(self) -> None:
        """The session has ended."""
        self._holding.close()

    # standing: who may ask anything at all

    def barred(self) -> Refusal | None:
        """Why the session may run nothing any more; None while it may."""
        return barred(self._login, self._house.directory, self._house.config.kerberos.grace)

    def _unsure(self, statements: tuple[Facts, ...]) -> Refusal | None:
        """Why nothing may run now, though the session stays. What ends a transaction always passes."""
        if self._observes or all(_ends_transaction(facts) for facts in statements):
            return None
        return unsure(self._house.config.directory, self._house.directory, self._login.user)

    def lost(self, number: int) -> bool:
        """Whether a statement that was allowed and still runs would be denied now, by the groups its user now has."""
        running = self.running.of(number)
        if running is None or self._observes:
            return False
        return self._now(running, running.statements).effect is Effect.DENY

    def may_show(self, number: int, error: Mapping[str, str]) -> bool:
        """Whether the rules let the user read what the error of a statement shows of a row."""
        if self._observes:
            return True
        running = self.running.of(number)
        shown = shown_by(error, self._understanding.catalog())
        if running is None or shown is None:
            return False
        return self._now(running, (Facts("SELECT", shown),)).effect is Effect.ALLOW

    def may_hear(self, channel: str) -> bool:
        """Whether the rules let the user LISTEN to this channel now, who once was let."""
        if self._observes:
            return True
        stamp = self._surroundings.stamp()
        if stamp != self._heard_in:
            self._heard_in, self._heard = stamp, {}
        if channel not in self._heard:
            listen = Facts("LISTEN", (Access(Privilege.LISTEN, Kind.CHANNEL, ObjectName(channel)),))
            decision = decide(self._house.rulebook.current, (listen,), self._surroundings.context(None, ()))
            self._heard[channel] = decision.effect is not Effect.DENY
        return self._heard[channel]

    def _now(self, running: Running, statements: tuple[Facts, ...]) -> Decision:
        """What the rules say in the context of a statement that runs, but for the groups: those of now."""
        membership = self._house.directory.membership(self._login.user)
        groups = None if membership is None else membership.groups
        context = msgspec.structs.replace(running.context, groups=groups)
        return decide(self._house.rulebook.current, statements, context)

    # what is known is judged at once

    def at_once(self, request: Request) -> Allow | Refuse | None:
        """The verdict on a statement that is known and was allowed in the same circumstances; None for any other.

        # INVARIANT: what this allows `approve` would allow, and has recorded as `approve` would have.
        """
        began = time.perf_counter()
        bound = self._judged_at_bind(request)
        if self.barred() is not None:
            return None
        if bound is not None:
            self.running.begin(request.number, bound.running)
            verdict: Allow | Refuse = Allow(bound.controls, bound.max_rows)
        else:
            self._notice(request)
            judged = self._judged_before(request)
            if judged is None:
                return None
            record = self._record(request, _ALLOW, judged.context, judged.statements, judged.decision)
            unwritten = self._write(record)
            if unwritten is None:
                verdict = self._released(request, judged)
                self._made.append((request, judged))
            else:
                verdict = Refuse(unwritten, record.id)
        self._house.metrics.latency.observe(time.perf_counter() - began)
        return verdict

    def _judged_before(self, request: Request) -> Held | None:
        """The decision that is still good for a request, where that allows it; None where it must be judged anew."""
        if self._house.audit.waits or len(request.text) > LONG:
            return None
        statements = self._understanding.known(request)
        if statements is None or self._hangs_on_state(statements):
            return None
        judged = self._recent.find(statements, self._surroundings.circumstances(request, statements))
        return judged if judged is not None and judged.decision.effect is _ALLOW else None

    # what was allowed at once is a case for others

    def precedent(self, number: int) -> Case | None:
        """See `Judge`. Not where it changes the names, has a limit to its rows, or has its values redacted."""
        made = next((made for made in self._made if made[0].number == number), None)
        if made is None:
            return None
        request, judged = made
        if not request.steady or request.behind:
            return None  # others are asked for where nothing is in flight that runs
        statements, decision = judged.statements, judged.decision
        limited = decision.max_rows is not None and not self._observes
        if limited or not all(facts.control is None or isinstance(facts.control, Transaction) for facts in statements):
            return None
        redact = redaction_of(self._house.rulebook.current, statements, decision)
        if request.parameters and not self._house.audit.redactor.keeps_values(redact):
            return None
        prepares = request.moment is _AT_PARSE
        changes = any(facts.control or facts.unsettles or facts.changes_catalog for facts in statements)
        case = Case(
            controls=_controls(statements),
            accesses=() if request.meaning is None else request.meaning.accesses,
            judged=judged,
            understood=self._understanding.understood(request),
            status=request.status,
            binds=request.moment is _AT_BIND,
            formats=request.formats,
            needs_told=self._house.rulebook.current.asks_the_session(statements),
            inert=prepares or not changes,
            form=self._house.audit.form(self._record(request, _ALLOW, judged.context, statements, decision)),
        )
        self._house.cases.keep(case)
        return case

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        """See `Judge`."""
        began = time.perf_counter()
        self._bound = None
        if self.barred() is not None:
            return False
        records = []
        for number, case in enumerate(precedents, repeated.first):
            assert isinstance(case, Case), "it is one of our own"
            if case.status is not repeated.status or not self._stands(case):
                return False
            records.append(self._as_before(case, repeated, number))
        try:
            self._house.audit.append_filled(records)
        except AuditUnavailable:
            return False  # `approve` tries again, and refuses them
        for number, case in enumerate(precedents, repeated.first):
            assert isinstance(case, Case), "it has been looked at"
            self._released_again(case, number)
        self._house.metrics.latency.observe(time.perf_counter() - began)
        return True

    def _as_before(self, case: Case, repeated: Repeated, number: int) -> bytes:
        """The record of a repetition."""
        if not case.binds:
            return case.form.filled(timestamp(), self._session, number, (), b"")
        refers = b'[%b-%d"]' % (self._session[:-1], repeated.origin)
        return case.form.filled(timestamp(), self._session, number, as_text(repeated.parameters, case.formats), refers)

    def _released_again(self, case: Case, number: int) -> None:
        """It is allowed and recorded, and goes on to the database."""
        judged = case.judged
        self._house.metrics.decided(_ALLOW, judged.decision)
        self._house.cache.hits += 1
        if not case.inert:
            self._understanding.run(judged.statements)
        running = Running(f"{self._login.session}-{number}", time.monotonic(), judged.statements, judged.context)
        self.running.begin(number, running)
        if case.binds:  # and its Execute
            self.running.begin(number + 1, running)

    def _stands(self, case: Case) -> bool:
        """Whether all is as it was, so that the statement would be understood and decided as it was."""
        was = case.judged.circumstances
        return (
            self._understanding.still(case.understood)
            and (not case.needs_told or self._understanding.told)
            and not self._holding.coverage.reaches
            and was == self._surroundings.circumstances_with(was.block, was.estimate)
        )

    # the flow

    def approve(self, request: Request, names: Names) -> Flow:
        began = time.perf_counter()
        self._holding.waited = 0.0
        verdict = yield from self._judge(request, names)
        self._house.metrics.latency.observe(time.perf_counter() - began - self._holding.waited)
        return verdict

    def _judge(self, request: Request, names: Names) -> Flow:
        self._names = names
        barred = self.barred()
        if barred is not None:
            return (yield from self._refuse_unjudged(request, barred, terminate=True))
        self._notice(request)
        return (yield from self._judge_anew(request, names))

    def _notice(self, request: Request) -> None:
        """What the moment of a request tells: no transaction is open, and what was approved within one is over."""
        if request.quiet and request.status is _IDLE and not request.segment:
            self._holding.coverage.end_transaction()

    def _judge_anew(self, request: Request, names: Names) -> Flow:
        """Decide, and where people must be asked, decide again when they have answered."""
        granted: Grant | None = None
        drained, told = request.quiet or request.steady, False
        while True:
            judged = yield from self._decided(request, names, told=told)
            if isinstance(judged, Refuse):
                return judged
            if not self._waits(request, judged):
                return (yield from self._conclude(request, judged))
            if self._holding.coverage.within_transaction and not drained:
                yield Ask()  # what is in flight may end the transaction, and take long
                drained = True
                continue
            needed, used = self._holding.needed(request, names, judged)
            if granted is not None and self._holding.good(granted, judged, needed):
                return (yield from self._conclude(request, judged, granted))
            if not needed:
                return (yield from self._conclude_covered(request, judged, used))
            if not self._understanding.told:
                told = True  # people are to read the reason of now
                continue
            ended = yield from self._ask_people(request, names, judged, needed)
            if isinstance(ended, Refuse):
                return ended
            granted = ended

    def _decided(self, request: Request, names: Names, *, told: bool) -> Generator[Ask | Wait, Any, Held | Refuse]:
        """The decision, with what the audit has of it at hand: whoever asks may lose something while a long text is
        looked through, and is judged again.
        """
        while True:
            judged = yield from self._decide(request, names, told=told)
            if isinstance(judged, Refuse) or len(request.text) <= LONG:
                return judged
            record = self._record(request, _ALLOW, judged.context, judged.statements, judged.decision)
            if not (yield from self._look_through(record)):
                return judged

    def _ask_people(
        self, request: Request, names: Names, judged: Held, needed: tuple[HoldRequirement, ...]
    ) -> Generator[Ask | Wait, Any, Grant | Refuse]:
        """Hold it until they have decided, or something else has ended it."""
        audit_id = self.audit_id(request)
        rows = yield from self._rows(request, judged)
        if isinstance(rows, Refusal):
            return (yield from self._refuse_unjudged(request, rows))
        record = self._record(request, Effect.HOLD, judged.context, judged.statements, judged.decision)
        unwritten = yield from self._append(record)
        if unwritten is not None:
            return Refuse(unwritten, audit_id)
        yield from self._look_through(msgspec.structs.replace(record, redact=Redaction.KEEP))
        hold = self._holding.hold(record, names, judged, needed, rows)
        ended = yield from self._holding.wait(hold, judged)
        if isinstance(ended, Refusal):
            return Refuse(ended, audit_id)
        barred = self.barred()
        if barred is not None:
            return (yield from self._refuse_unjudged(request, barred, terminate=True))
        return ended

    def _conclude_covered(self, request: Request, judged: Held, used: tuple[int, ...]) -> Flow:
        """Earlier approvals reach this statement, which is recorded beside its decision."""
        for number in used:
            event = HoldEvent(timestamp(), self.audit_id(request), self._login.session, str(number), "covered")
            try:
                self._house.audit.append(event)
            except AuditUnavailable as error:
                return Refuse(self._unrecorded(error), self.audit_id(request))
        return (yield from self._conclude(request, judged))

    def _waits(self, request: Request, judged: Held) -> bool:
        """Whether it is held. A Parse or PREPARE runs nothing and has no values yet: what it names is, when it runs."""
        prepares = request.moment is Moment.PARSE or all(isinstance(one.control, Prepare) for one in judged.statements)
        return judged.decision.effect is Effect.HOLD and not prepares and not self._observes

    def _understood(
        self, request: Request, names: Names, *, told: bool
    ) -> Generator[Ask | Wait, Any, tuple[Facts, ...] | Refuse]:
        """What the statement means. `told`: what the database tells of the session is to be that of now."""
        try:
            statements = yield from self._understanding.statements(request, names)
            if told or self._hangs_on_state(statements):
                yield from self._understanding.settle(request)
                statements = yield from self._understanding.statements(request, names)
        except Unfit as unfit:
            hide = self._house.config.rules.hide_unknown and unfit.refusal.sqlstate in NAMES_UNKNOWN
            shown = hidden_refusal(self.audit_id(request)) if hide else None
            return (yield from self._refuse_unjudged(request, unfit.refusal, shown))
        return statements

    def _hangs_on_state(self, statements: tuple[Facts, ...]) -> bool:
        """Whether the rules look at what may have changed since it was told. What ends a transaction passes."""
        if self._understanding.told:
            return False
        judged = [facts for facts in statements if not _ends_transaction(facts)]
        return self._house.rulebook.current.asks_the_session(judged)

    def _decide(self, request: Request, names: Names, *, told: bool) -> Generator[Ask | Wait, Any, Held | Refuse]:
        """What the statement means, and what the rules say to that."""
        statements = yield from self._understood(request, names, told=told)
        if isinstance(statements, Refuse):
            return statements
        if any(may_set_principal(access) for facts in statements for access in facts.accesses):
            return (yield from self._refuse_unjudged(request, PRINCIPAL_IS_FIXED))
        doubt = self._unsure(statements)
        if doubt is not None:
            return (yield from self._refuse_unjudged(request, doubt))
        circumstances = self._surroundings.circumstances(request, statements)
        recent = self._recent.find(statements, circumstances)
        if recent is not None:
            return recent
        context = self._surroundings.context(request, statements)
        decision = decide(self._house.rulebook.current, statements, context)
        if not decision.wants_estimate:
            judged = Held(statements, context, decision, circumstances, self._state(statements))
            self._recent.add(judged)
            return judged
        estimate: Estimate = Unknown.UNKNOWN
        if not any(map(_call_waits, decision.accesses)):
            estimate = yield from self._estimate(request, statements)
        if isinstance(estimate, Refusal):
            return (yield from self._refuse_unjudged(request, estimate))
        # EXPLAIN waits for locks as the statement would: who asks, and all else, is looked at again
        barred = self.barred()
        if barred is not None:
            return (yield from self._refuse_unjudged(request, barred, terminate=True))
        doubt = self._unsure(statements)
        if doubt is not None:
            return (yield from self._refuse_unjudged(request, doubt))
        circumstances = self._surroundings.circumstances(request, statements)
        context = msgspec.structs.replace(self._surroundings.context(request, statements), estimated_rows=estimate)
        decision = decide(self._house.rulebook.current, statements, context)
        return Held(statements, context, decision, circumstances, self._state(statements))

    def _state(self, statements: tuple[Facts, ...]) -> SessionState | None:
        """The session's settings, where the statements' meaning depends on them."""
        return self._understanding.state if any(facts.needs_settings for facts in statements) else None

    def failed(self, request: Request, error: Exception) -> Refuse:
        """A judgement that raised: refused and recorded, with no word of the inside to the client."""
        self._bound = None
        refusal = Refusal(SqlState.INTERNAL_ERROR, "the statement could not be judged, and was refused")
        record = self._record(
            request, Effect.DENY, self._surroundings.context(request, ()), (), None, f"{type(error).__name__}: {error}"
        )
        try:
            self._house.audit.append(record)
        except AuditUnavailable as unwritten:
            self._house.metrics.unrecorded += 1
            _log.error("a refusal was not recorded: %s", unwritten)  # told in full
        else:
            self._house.metrics.decided(record.effect, record.decision)
        return Refuse(refusal, self.audit_id(request))

    def _conclude(self, request: Request, judged: Held, granted: Grant | None = None) -> Flow:
        """Record the decision, and carry it out; one that was held has been approved by now."""
        decision = judged.decision
        denied = decision.effect is Effect.DENY and not self._observes
        effect = Effect.DENY if denied else Effect.ALLOW
        audit_id = self.audit_id(request)
        record = self._record(request, effect, judged.context, judged.statements, decision)
        unwritten = yield from self._append(record)
        if unwritten is not None:
            return Refuse(unwritten, audit_id)
        if effect is Effect.DENY:
            hide = self._house.config.rules.hide_unknown
            return Refuse(refusal_of(decision, audit_id, hide_unknown=hide), audit_id)
        return self._released(request, judged, granted)

    def _released(self, request: Request, judged: Held, granted: Grant | None = None) -> Allow:
        """It is allowed and recorded, and goes on to the database."""
        statements = judged.statements
        self._understanding.relayed(request, statements)
        if request.moment is not _AT_PARSE:
            self._holding.coverage.relayed(statements)
        if granted is not None:
            self._holding.use(granted, request, judged)
        running = Running(self.audit_id(request), time.monotonic(), statements, judged.context)
        self.running.begin(request.number, running)
        controls = _controls(statements)
        max_rows = None if self._observes else judged.decision.max_rows
        if request.moment is _AT_BIND:
            self._bound = _Bound(request, running, controls, max_rows, judged.stamp)
        return Allow(controls, max_rows, touched_by_named(statements) if controls else ())

    # a Bind and the Execute right behind it are one statement

    def _judged_at_bind(self, request: Request) -> "_Bound | None":
        """What an Execute was judged and recorded as at its Bind, a moment ago and under the same rules; else None."""
        bound, self._bound = self._bound, None
        if bound is None or request.moment is not _AT_EXECUTE:
            return None
        same = (
            request.number == bound.request.number + 1
            and request.text is bound.request.text
            and request.parameters is bound.request.parameters
            and bound.stamp == self._surroundings.stamp()
        )
        return bound if same else None

    # the estimate

    def _rows(self, request: Request, judged: Held) -> Generator[Ask, Any, Estimate]:
        """The planner's estimate for those who are to approve, where no rule has asked for it.

        Not where planning might call a function of somebody's: nothing of the statement runs before its approval. Nor
        in an open segment, which would keep the planner's locks for as long as people take.
        """
        known = judged.context.estimated_rows
        functions = (a for one in judged.statements for a in one.accesses if a.kind is Kind.FUNCTION)
        asked = known is not Unknown.NOT_ASKED or request.segment
        if asked or any(a.object.schema != "pg_catalog" for a in functions):
            return known
        return (yield from self._estimate(request, judged.statements))

    def _estimate(self, request: Request, statements: tuple[Facts, ...]) -> Generator[Ask, Any, Estimate]:
        """The planner's estimate, asked in the session just before the statement would run.

        Behind another statement of a pipeline it is not asked for: an error of planning would undo that one.
        """
        question = None if request.behind else estimate_question(request, statements, self._names)
        if question is None:
            return Unknown.UNKNOWN
        answers = yield Ask((question,))
        return read_estimate(answers[0])

    # records and refusals

    def _record(  # noqa: PLR0913, PLR0917  # the parts of one record
        self,
        request: Request,
        effect: Effect,
        context: Context,
        statements: tuple[Facts, ...],
        decision: Decision | None,
        error: str | None = None,
    ) -> DecisionMade:
        return DecisionMade(
            at=timestamp(),
            id=self.audit_id(request),
            session=self._login.session,
            moment=_WORDS[request.moment],
            text=self._recorded(request.text),
            effect=effect,
            context=context,
            facts=statements,
            decision=decision,
            rules=self._house.rulebook.current.identity,
            error=error,
            values=as_text(request.parameters, request.formats),
            binary=binary_ones(request.parameters, request.formats),
            types=request.parameter_types,
            redact=redaction_of(self._house.rulebook.current, statements, decision),
            refers=tuple([f"{self._login.session}-{number}" for number in self._origins(request, statements)]),
        )

    def _recorded(self, text: bytes) -> str:
        """A statement's text as the audit has it: of one that is too long to be judged, its beginning."""
        too_long = len(text) > self._house.config.limits.statement_bytes
        return (text[:_BEGINNING] if too_long else text).decode("utf-8", "backslashreplace")

    def _origins(self, request: Request, statements: tuple[Facts, ...]) -> list[int]:
        """The requests that prepared or declared what this one runs by name, itself left out."""
        found, here = {request.origin}, set[str]()
        for facts in statements:
            if facts.control is None:
                continue
            match facts.control:
                case Prepare(name=name) | DeclareCursor(name=name):
                    here.add(name)
                case ExecutePrepared(name=name) if name not in here and self._names is not None:
                    prepared = self._names.prepared(name)
                    found.add(0 if prepared is None else prepared.origin)
                case FetchCursor(name=name) if name not in here and self._names is not None:
                    portal = self._names.portal(name)
                    found.add(0 if portal is None else portal.prepared.origin)
                case _:
                    pass
        return sorted(found - {0})

    def _append(self, record: DecisionMade) -> Steps:
        """Write the record, and wait until it is as durable as configured; the refusal where that cannot be done."""
        audit = self._house.audit
        if not audit.waits:
            return self._write(record)
        try:
            yield Wait(audit.commit(record))
        except AuditUnavailable as error:
            return self._unrecorded(error)
        self._house.metrics.decided(record.effect, record.decision)
        return None

    def _look_through(self, record: DecisionMade) -> Generator[Wait, Any, bool]:
        """Find what the audit must not hold of long texts, in a process of its own: it takes a second a megabyte.

        Whether it took any time. Where it fails the whole text is masked.
        """
        redactor = self._house.audit.redactor
        long = redactor.untold(record)
        for text, literals in long:
            try:
                redacted = yield Wait(self._house.isolation.run(partial(redactor.text, text, literals), str))
            except IsolatedWorkFailed as failed:
                _log.warning("a statement of %d characters is masked whole in the audit: %s", len(text), failed)
                redacted = MASK
            redactor.learn(text, literals, redacted)
        return bool(long)

    def _write(self, record: DecisionMade) -> Refusal | None:
        """The same where nothing is to be waited for."""
        try:
            self._house.audit.append(record)
        except AuditUnavailable as error:
            return self._unrecorded(error)
        self._house.metrics.decided(record.effect, record.decision)
        return None

    def _unrecorded(self, error: AuditUnavailable) -> Refusal:
        self._house.metrics.unrecorded += 1
        _log.error("a statement was refused because it cannot be recorded: %s", error)  # told in full
        return _UNRECORDED

    def _refuse_unjudged(
        self, request: Request, refusal: Refusal, shown: Refusal | None = None, *, terminate: bool = False
    ) -> Generator[Wait, Any, Refuse]:
        """A statement that is refused before any rule was asked is recorded as fully as any other.

        `shown`: what the client gets, where that is not what is recorded.
        """
        self._bound = None
        error = f"{refusal.sqlstate}: {refusal.message}"
        record = self._record(request, Effect.DENY, self._surroundings.context(request, ()), (), None, error)
        yield from self._look_through(record)
        unwritten = yield from self._append(record)
        return Refuse(unwritten or shown or refusal, self.audit_id(request), terminate)


class _Bound(msgspec.Struct, frozen=True):
    """What a Bind was allowed with."""

    request: Request
    running: Running
    controls: tuple[Control | None, ...]
    max_rows: int | None
    stamp: Stamp


def _call_waits(decided: AccessDecision) -> bool:
    """Whether it calls somebody's function and is not simply allowed: the planner runs what is not volatile."""
    access = decided.access
    return decided.effect is not _ALLOW and access.kind is Kind.FUNCTION and access.object.schema != "pg_catalog"


def _ends_transaction(facts: Facts) -> bool:
    return isinstance(facts.control, Transaction) and facts.control.ends


def _controls(statements: tuple[Facts, ...]) -> tuple[Control | None, ...]:
    """Of each statement; nothing where none has any."""
    controls = tuple([facts.control for facts in statements])
    return controls if any(controls) else ()
