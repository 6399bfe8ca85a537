"""The console: the database `pgguard` behind the same Kerberos login, where people see and decide what is held.

It speaks the simple and the extended protocol (PostgreSQL docs, section 55.2), so that psql and drivers work, with one
command a message and no parameters; the commands are those of console_commands.py. After LISTEN the client hears of
each event that its user may see. A client that does not take what is written to it is left.
"""

import asyncio
import json
import struct

import msgspec

from pgguard.holds.store import Record
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.console_commands import Answer, CommandRefused, Commands, Floor, Row, find
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.runtime.house import House
from pgguard.runtime.login import Login
from pgguard.runtime.standing import barred
from pgguard.session.refusing import refusal_error
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Authentication, Backend, Frontend
from pgguard.wire.framing import ProtocolViolation

DATABASE = "pgguard"

_HEAD = struct.Struct("!BI")
_LONGEST = 65536
_UNTAKEN = 16 << 20
"""Bytes that may wait for the client to read them."""
_NAMES = 1000
"""Prepared statements and portals of one session."""
_CHANNEL = "holds"
_LOOK_SECONDS = 1.0


class _Portal(msgspec.Struct):
    """A command that has been bound; `answer` once it has been carried out, `rows` what is left of it."""

    text: str
    answer: Answer | None = None
    rows: tuple[Row, ...] = ()


class Console:
    """One person's console session."""

    def __init__(self, house: House, login: Login, client: Endpoint, floor: Floor) -> None:
        self._house = house
        self._login = login
        self._client = client
        self._commands = Commands(house, login, floor, self._listen)
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, _Portal] = {}
        self._skipping = False

    def end(self, refusal: Refusal) -> None:
        """End it now: a command that is being carried out is carried out, and its answer not waited for."""
        self._write(refusal_error(refusal, "FATAL"))
        self._client.close()

    async def run(self) -> None:
        """Answer until the client goes."""
        self._welcome()
        watch = asyncio.create_task(self._end_when_barred())
        try:
            while await self._one():
                pass
        except ProtocolViolation as violation:
            self._write(refusal_error(Refusal(SqlState.PROTOCOL_VIOLATION, str(violation)), "FATAL"))
        except EndpointClosed:
            pass
        finally:
            watch.cancel()
            self._listen(False)
            self._client.close()

    async def _end_when_barred(self) -> None:
        """The session ends with its ticket or account also while nothing is asked of it."""
        while (refusal := self._barred()) is None:  # noqa: ASYNC110  # time passes, and tells no event
            await asyncio.sleep(_LOOK_SECONDS)
        self._write(refusal_error(refusal, "FATAL"))
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

    def _write(self, data: bytes) -> None:
        self._client.write(data)
        if not self._client.closed and self._client.transport.get_write_buffer_size() > _UNTAKEN:
            self._client.abort()

    async def _one(self) -> bool:
        kind, length = _HEAD.unpack(await self._client.read(_HEAD.size))
        if not 4 <= length <= _LONGEST:
            raise ProtocolViolation(f"console message of {length} bytes")
        raw = _HEAD.pack(kind, length) + await self._client.read(length - 4)
        if kind == Frontend.TERMINATE:
            return False
        refusal = self._barred()
        if refusal is not None:
            self._write(refusal_error(refusal, "FATAL"))
            return False
        if kind == Frontend.SYNC:
            self._skipping = False
            self._write(backend.ready_for_query(b"I"))
        elif not self._skipping:
            await self._take(kind, raw)
        return True

    async def _take(self, kind: int, raw: bytes) -> None:
        try:
            match kind:
                case Frontend.QUERY:
                    await self._query(frontend.read_query(raw).text)
                case Frontend.PARSE:
                    self._parse(frontend.read_parse(raw))
                case Frontend.BIND:
                    self._bind(frontend.read_bind(raw))
                case Frontend.DESCRIBE:
                    self._describe(frontend.read_target(raw))
                case Frontend.EXECUTE:
                    await self._execute(frontend.read_execute(raw))
                case Frontend.CLOSE:
                    self._close(frontend.read_target(raw))
                case _ if kind != Frontend.FLUSH:  # everything is written at once
                    raise ProtocolViolation(f"the console takes no message of type 0x{kind:02X}")
        except CommandRefused as refused:
            self._write(refusal_error(refused.refusal))
            self._skipping = kind != Frontend.QUERY
        if kind == Frontend.QUERY:
            self._write(backend.ready_for_query(b"I"))

    def _barred(self) -> Refusal | None:
        return barred(self._login, self._house.directory, self._house.config.kerberos.grace)

    # the simple protocol

    async def _query(self, raw: bytes) -> None:
        text = _decoded(raw)
        if _empty(text):
            self._write(backend.empty(Backend.EMPTY_QUERY_RESPONSE))
            return
        answer = await self._commands.carry_out(text)
        columns = _columns(text)
        rows = b"".join(map(backend.data_row, answer.rows))
        description = b"" if columns is None else backend.row_description(columns)
        self._write(_notice(answer) + description + rows + backend.command_complete(answer.tag))

    # the extended protocol

    def _parse(self, parse: frontend.Parse) -> None:
        text = _decoded(parse.text)
        if not _empty(text) and find(text) is None:
            raise CommandRefused(SqlState.SYNTAX_ERROR, "unknown console command; HELP lists them")
        if len(self._prepared) >= _NAMES:
            raise CommandRefused(SqlState.CONFIGURATION_LIMIT_EXCEEDED, "too many prepared statements in the console")
        self._prepared[parse.name] = text
        self._write(backend.empty(Backend.PARSE_COMPLETE))

    def _bind(self, bind: frontend.Bind) -> None:
        text = self._prepared.get(bind.statement)
        if text is None:
            raise CommandRefused(SqlState.INVALID_SQL_STATEMENT_NAME, "this prepared statement does not exist")
        if bind.values:
            raise CommandRefused(SqlState.FEATURE_NOT_SUPPORTED, "console commands take no parameters; write them out")
        if len(self._portals) >= _NAMES:
            raise CommandRefused(SqlState.CONFIGURATION_LIMIT_EXCEEDED, "too many portals in the console")
        self._portals[bind.portal] = _Portal(text)
        self._write(backend.empty(Backend.BIND_COMPLETE))

    def _describe(self, target: frontend.Target) -> None:
        of_statement = target.kind == ord("S")
        portal = self._portals.get(target.name)
        text = self._prepared.get(target.name) if of_statement else None if portal is None else portal.text
        if text is None:
            raise CommandRefused(SqlState.INVALID_SQL_STATEMENT_NAME, "what is to be described does not exist")
        columns = _columns(text)
        description = backend.empty(Backend.NO_DATA) if columns is None else backend.row_description(columns)
        self._write((backend.parameter_description(()) if of_statement else b"") + description)

    async def _execute(self, execute: frontend.Execute) -> None:
        portal = self._portals.get(execute.portal)
        if portal is None:
            raise CommandRefused(SqlState.INVALID_CURSOR_NAME, "this portal does not exist")
        if _empty(portal.text):
            self._write(backend.empty(Backend.EMPTY_QUERY_RESPONSE))
            return
        if portal.answer is None:  # carried out once: an Execute that comes again goes on with the rows
            portal.answer = await self._commands.carry_out(portal.text)
            portal.rows = portal.answer.rows
            self._write(_notice(portal.answer))
        limit = execute.row_limit if execute.row_limit > 0 else len(portal.rows)
        rows, portal.rows = portal.rows[:limit], portal.rows[limit:]
        end = backend.empty(Backend.PORTAL_SUSPENDED) if portal.rows else backend.command_complete(portal.answer.tag)
        self._write(b"".join(map(backend.data_row, rows)) + end)

    def _close(self, target: frontend.Target) -> None:
        """As in PostgreSQL, closing what does not exist is no error."""
        if target.kind == ord("S"):
            self._prepared.pop(target.name, None)
        else:
            self._portals.pop(target.name, None)
        self._write(backend.empty(Backend.CLOSE_COMPLETE))

    # news

    def _listen(self, listening: bool) -> None:
        listeners = self._house.desk.listeners
        (listeners.add if listening else listeners.discard)(self._tell)

    def _tell(self, event: str, record: Record) -> None:
        if self._barred() is None and self._house.desk.visible(record, self._commands.person):
            self._write(backend.notification(0, _CHANNEL, json.dumps({"hold": record.number, "event": event})))


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise CommandRefused(SqlState.CHARACTER_NOT_IN_REPERTOIRE, "the command is not UTF-8") from error


def _empty(text: str) -> bool:
    return not text.strip("; \t\r\n")


def _columns(text: str) -> tuple[str, ...] | None:
    found = find(text)
    return None if found is None else found[0].columns


def _notice(answer: Answer) -> bytes:
    if not answer.notice:
        return b""
    return backend.notice({"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": answer.notice})
