"""An exchange as text, one line a message, in the manner of libpq's PQtrace.

Each line: who sends (F, the client; B, the server), the length in bytes, the message's name, what it says. Tokens,
passwords, cancel keys and values (bound, copied, in rows) are left out: only their number and lengths are told.
"""

from collections.abc import Callable
from enum import Enum

from pgguard.model.secrecy import speaks_of_secrets
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Authentication, Backend, Frontend
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.reading import Body

_SHOWN = 200
"""Bytes of a text that are shown."""

_LEFT_OUT = "(left out)"

_HEADER = 5


class Sender(Enum):
    CLIENT = "F"
    SERVER = "B"


class Trace:
    """One direction of a connection: bytes in, lines out."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines of the messages that `data` completes."""
        buffer = self._buffer
        buffer += data
        lines = []
        start = 0
        while len(buffer) - start >= _HEADER:
            end = start + 1 + max(4, int.from_bytes(buffer[start + 1 : start + _HEADER], "big"))
            if len(buffer) < end:
                break
            lines.append(describe(self._sender, bytes(buffer[start:end])))
            start = end
        del buffer[:start]
        return lines


def describe(sender: Sender, raw: bytes) -> str:
    """The line of one message."""
    kinds, tellers = (Frontend, _CLIENT) if sender is Sender.CLIENT else (Backend, _SERVER)
    try:
        name = kinds(raw[0]).name.title().replace("_", "")
    except ValueError:
        return f"{sender.value} {len(raw)} Unknown 0x{raw[0]:02X}"
    teller = tellers.get(raw[0])
    try:
        said = "" if teller is None else f" {teller(raw)}"
    except ProtocolViolation as violation:
        said = f" malformed: {violation}"
    return f"{sender.value} {len(raw)} {name}{said}"


def _text(raw: bytes) -> str:
    """Quoted, on one line; a text that may hold a secret is left out."""
    if speaks_of_secrets(raw.decode("utf-8", "replace")):
        return _LEFT_OUT
    text = raw[:_SHOWN].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() and c not in '"\\' else c.encode("unicode_escape").decode() for c in text)
    shown = shown.replace('"', '\\"')
    return f'"{shown}"' + ("..." if len(raw) > _SHOWN else "")


def _lengths(values: tuple[bytes | None, ...]) -> str:
    """How many values, and the bytes of each."""
    return " ".join([str(len(values)), *("NULL" if value is None else f"[{len(value)}]" for value in values)])


def _parse(raw: bytes) -> str:
    parse = frontend.read_parse(raw)
    return " ".join([_text(parse.name), _text(parse.text), *map(str, parse.types)])


def _bind(raw: bytes) -> str:
    bind = frontend.read_bind(raw)
    return f"{_text(bind.portal)} {_text(bind.statement)} {_lengths(bind.values)}"


def _execute(raw: bytes) -> str:
    execute = frontend.read_execute(raw)
    return f"{_text(execute.portal)} {execute.row_limit}"


def _target(raw: bytes) -> str:
    target = frontend.read_target(raw)
    return f"{_text(bytes((target.kind,)))} {_text(target.name)}"


def _function_call(raw: bytes) -> str:
    call = frontend.read_function_call(raw)
    return f"{call.function} {_lengths(call.values)}"


def _copied(raw: bytes) -> str:
    return f"[{len(raw) - _HEADER}]"


def _left_out(raw: bytes) -> str:
    del raw
    return _LEFT_OUT


def _authentication(raw: bytes) -> str:
    code, _ = backend.read_authentication(raw)
    known = next((kind.name for kind in Authentication if kind == code), str(code))
    return known if len(raw) == _HEADER + 4 else f"{known} {_LEFT_OUT}"


def _fields(raw: bytes) -> str:
    """Those that do not change with the server's version and language settings, but for the message."""
    fields = backend.read_fields(raw)
    return " ".join(f"{code} {_text(fields[code].encode())}" for code in "SCMDH" if code in fields)


def _columns(raw: bytes) -> str:
    body = Body(raw)
    names = []
    for _ in range(body.count()):
        names.append(_text(body.string()))
        body.take(18)
    return " ".join([str(len(names)), *names])


def _types(raw: bytes) -> str:
    body = Body(raw)
    return " ".join(str(body.oid()) for _ in range(body.count()))


def _notification(raw: bytes) -> str:
    body = Body(raw)
    process, channel, payload = body.int32(), body.string(), body.string()
    return f"{process} {_text(channel)} [{len(payload)}]"


_CLIENT: dict[int, Callable[[bytes], str]] = {
    Frontend.QUERY: lambda raw: _text(frontend.read_query(raw).text),
    Frontend.PARSE: _parse,
    Frontend.BIND: _bind,
    Frontend.EXECUTE: _execute,
    Frontend.DESCRIBE: _target,
    Frontend.CLOSE: _target,
    Frontend.FUNCTION_CALL: _function_call,
    Frontend.COPY_DATA: _copied,
    Frontend.COPY_FAIL: lambda raw: _text(Body(raw).string()),
    Frontend.PASSWORD: _left_out,
}

_SERVER: dict[int, Callable[[bytes], str]] = {
    Backend.AUTHENTICATION: _authentication,
    Backend.BACKEND_KEY_DATA: _left_out,
    Backend.COMMAND_COMPLETE: lambda raw: _text(Body(raw).string()),
    Backend.COPY_DATA: _copied,
    Backend.DATA_ROW: lambda raw: _lengths(backend.read_data_row(raw)),
    Backend.ERROR_RESPONSE: _fields,
    Backend.NOTICE_RESPONSE: _fields,
    Backend.NOTIFICATION_RESPONSE: _notification,
    Backend.PARAMETER_DESCRIPTION: _types,
    Backend.PARAMETER_STATUS: lambda raw: " ".join(_text(part.encode()) for part in backend.read_parameter_status(raw)),
    Backend.READY_FOR_QUERY: lambda raw: _text(Body(raw).take(1)),
    Backend.ROW_DESCRIPTION: _columns,
}
