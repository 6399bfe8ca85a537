"""The console: the database `pgguard` behind the same Kerberos login, where people see and decide what is held.

It speaks the simple protocol, one command a query (psql's way); the commands stand in `_HELP`. Each command is
authorised by itself, with the groups of that moment; each decision is in the audit before it counts.
"""

import re
import struct
import time
from collections.abc import Sequence

from pgguard.audit.log import AuditUnavailable
from pgguard.holds.desk import VoteRefused
from pgguard.holds.hold import Person, shown, wanted
from pgguard.holds.store import StoreUnavailable
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.runtime.house import House
from pgguard.runtime.login import Login
from pgguard.session.refusing import refusal_error
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Authentication, Backend, Frontend
from pgguard.wire.framing import ProtocolViolation, message

DATABASE = "pgguard"

_HEAD = struct.Struct("!BI")
_LONGEST = 65536

_COMMAND = re.compile(
    r"\s*(?:(?P<show>show\s+holds)|show\s+hold\s+(?P<one>\d{1,9})|(?P<help>(?:show\s+)?help)"
    r"|(?P<vote>approve|refuse)\s+(?P<number>\d{1,9})(?:\s+'(?P<why>(?:[^']|'')*)')?)?\s*;?\s*",
    re.IGNORECASE,
)

_HELP = (
    ("SHOW HOLDS", "what waits for you, and what of yours waits"),
    ("SHOW HOLD n", "one of them, in full"),
    ("APPROVE n ['why']", "your yes; break-glass needs the reason"),
    ("REFUSE n 'why'", "your no, which ends it; the requester reads the reason"),
)


class Console:
    """One person's console session."""

    def __init__(self, house: House, login: Login, client: Endpoint) -> None:
        self._house = house
        self._login = login
        self._client = client
        self._person = Person(login.user, str(login.principal))

    async def run(self) -> None:
        """Answer until the client goes."""
        self._welcome()
        try:
            while await self._one():
                pass
        except (EndpointClosed, ProtocolViolation):
            pass
        finally:
            self._client.close()

    def _welcome(self) -> None:
        settings = {"server_version": "15.0 (pgguard console)", "client_encoding": "UTF8", "DateStyle": "ISO, MDY"}
        settings |= {"server_encoding": "UTF8", "standard_conforming_strings": "on", "integer_datetimes": "on"}
        self._client.write_all(
            [
                backend.authentication(Authentication.OK),
                *(backend.parameter_status(name, value) for name, value in settings.items()),
                backend.ready_for_query(b"I"),
            ]
        )

    async def _one(self) -> bool:
        kind, length = _HEAD.unpack(await self._client.read(_HEAD.size))
        if not 4 <= length <= _LONGEST:
            raise ProtocolViolation(f"console message of {length} bytes")
        body = await self._client.read(length - 4)
        if kind == Frontend.TERMINATE:
            return False
        refusal = self._barred()
        if refusal is not None:
            self._client.write(refusal_error(refusal, "FATAL"))
            return False
        if kind != Frontend.QUERY:
            text = "the console speaks the simple query protocol only, as psql does"
            self._client.write(refusal_error(Refusal(SqlState.FEATURE_NOT_SUPPORTED, text), "FATAL"))
            return False
        raw = _HEAD.pack(kind, length) + body
        self._client.write(await self._answer(frontend.read_query(raw).text))
        self._client.write(backend.ready_for_query(b"I"))
        return True

    def _barred(self) -> Refusal | None:
        membership = self._house.directory.membership(self._login.user)
        if membership is not None and membership.disabled:
            text = f'the account "{self._login.user}" is disabled in the directory'
        elif time.time() >= self._login.ticket.ends_at + self._house.config.kerberos.grace:
            text = f'the Kerberos ticket of "{self._login.principal}" has ended'
        else:
            return None
        return Refusal(SqlState.INVALID_AUTHORIZATION_SPECIFICATION, text)

    async def _answer(self, text: bytes) -> bytes:
        found = _COMMAND.fullmatch(text.decode("utf-8", "replace"))
        try:
            if found is None:
                return _error(SqlState.SYNTAX_ERROR, "unknown console command; HELP lists them")
            if found["vote"]:
                return await self._vote(
                    found["vote"].upper(), int(found["number"]), (found["why"] or "").replace("''", "'")
                )
            if found["show"]:
                return _table(("hold", "waits_s", "user", "rule", "needs", "statement"), await self._holds())
            if found["one"]:
                return await self._show(int(found["one"]))
            return _table(("command", "what"), _HELP) if found["help"] else message(Backend.EMPTY_QUERY_RESPONSE)
        except VoteRefused as refused:
            return _error(SqlState.INSUFFICIENT_PRIVILEGE, str(refused))
        except AuditUnavailable:
            return _error(SqlState.DISK_FULL, "the command could not be recorded, and was refused")
        except StoreUnavailable as away:
            return _error(SqlState.CANNOT_CONNECT_NOW, f"{away}; nothing was changed")

    async def _holds(self) -> list[tuple[str, ...]]:
        return [
            (
                str(held.number),
                f"{time.time() - held.hold.since:.0f}",
                held.hold.requester.user,
                ", ".join(one.rule for one in held.hold.requirements),
                "; ".join(wanted(one) for one in held.hold.requirements),
                shown(held.hold.text),
            )
            for held in await self._house.desk.visible_to(self._person)
        ]

    async def _show(self, number: int) -> bytes:
        held = next((one for one in await self._house.desk.visible_to(self._person) if one.number == number), None)
        if held is None:
            raise VoteRefused(f"no hold #{number} waits for you")
        hold = held.hold
        rows = [
            ("user", hold.requester.user),
            ("principal", hold.requester.principal),
            ("database", hold.database),
            ("from", hold.address or "a socket"),
            ("reason", shown(hold.reason)),
            ("in transaction", "yes: locks may be held" if hold.in_transaction else "no"),
            *(("rule", f"{one.rule}: needs {wanted(one)}") for one in hold.requirements),
            *(("approved by", f"{vote.person.principal} {shown(vote.why)}".strip()) for vote in held.votes),
            ("tables", shown(", ".join(hold.tables))),
            ("rows estimated", hold.rows),
            *((f"value ${n}", "null" if v is None else shown(v)) for n, v in enumerate(hold.values, 1)),
            ("statement", shown(hold.text)),
        ]
        return _table(("what", "is"), rows)

    async def _vote(self, verb: str, number: int, why: str) -> bytes:
        if verb == "APPROVE":
            enough = await self._house.desk.approve(number, self._person, why)
            told = f"hold #{number} is approved, and goes on" if enough else f"hold #{number} needs more approvals"
        elif not why:
            return _error(SqlState.SYNTAX_ERROR, f"REFUSE needs a reason: REFUSE {number} 'why'")
        else:
            await self._house.desk.refuse(number, self._person, why)
            told = f"hold #{number} is refused"
        return backend.notice({"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": told}) + backend.command_complete(verb)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    data = b"".join(backend.data_row(row) for row in rows)
    return backend.row_description(columns) + data + backend.command_complete("SHOW")


def _error(sqlstate: SqlState, text: str) -> bytes:
    return refusal_error(Refusal(sqlstate, text))
