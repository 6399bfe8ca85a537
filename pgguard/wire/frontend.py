"""The client's messages that carry meaning for pgguard, read and written (PostgreSQL docs, section 55.7)."""

import struct
from typing import NamedTuple

from pgguard.wire.constants import Frontend
from pgguard.wire.framing import message
from pgguard.wire.reading import Body

_UINT16 = struct.Struct("!H")
_INT32 = struct.Struct("!i")
_UINT32 = struct.Struct("!I")


class Query(NamedTuple):
    text: bytes


class Parse(NamedTuple):
    name: bytes
    text: bytes
    types: tuple[int, ...]


class Bind(NamedTuple):
    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


class Execute(NamedTuple):
    portal: bytes
    row_limit: int


class Target(NamedTuple):
    """What a Describe or Close names: `kind` is `S` (statement) or `P` (portal)."""

    kind: int
    name: bytes


class FunctionCall(NamedTuple):
    function: int
    values: tuple[bytes | None, ...]


def read_query(raw: bytes) -> Query:
    """Raises ProtocolViolation: the first NUL of the text must be the message's last byte."""
    body = Body(raw)
    query = Query(body.string())
    body.end()
    return query


def read_parse(raw: bytes) -> Parse:
    body = Body(raw)
    name, text, count = body.string(), body.string(), body.count()
    parse = Parse(name, text, tuple([body.oid() for _ in range(count)]) if count else ())
    body.end()
    return parse


def read_bind(raw: bytes) -> Bind:
    body = Body(raw)
    bind = Bind(body.string(), body.string(), body.int16s(), body.values(), body.int16s())
    body.end()
    return bind


def read_execute(raw: bytes) -> Execute:
    body = Body(raw)
    execute = Execute(body.string(), body.int32())
    body.end()
    return execute


def read_target(raw: bytes) -> Target:
    body = Body(raw)
    target = Target(body.byte(), body.string())
    body.end()
    return target


def read_function_call(raw: bytes) -> FunctionCall:
    body = Body(raw)
    function = body.oid()
    body.int16s()
    values = body.values()
    body.int16()
    body.end()
    return FunctionCall(function, values)


def query(text: bytes) -> bytes:
    return message(Frontend.QUERY, text + b"\0")


def parse(name: bytes, text: bytes, types: tuple[int, ...] = ()) -> bytes:
    oids = b"".join(_UINT32.pack(oid) for oid in types)
    return message(Frontend.PARSE, name + b"\0" + text + b"\0" + _UINT16.pack(len(types)) + oids)


def bind(
    portal: bytes, statement: bytes, values: tuple[bytes | None, ...] = (), formats: tuple[int, ...] = ()
) -> bytes:
    """A Bind that asks for results in text format."""
    return message(
        Frontend.BIND,
        b"".join((
            portal, b"\0", statement, b"\0",
            _UINT16.pack(len(formats)), *(_UINT16.pack(code) for code in formats),
            _UINT16.pack(len(values)), *(_value(value) for value in values),
            _UINT16.pack(0),
        )),
    )  # fmt: skip


def execute(portal: bytes, row_limit: int = 0) -> bytes:
    return message(Frontend.EXECUTE, portal + b"\0" + _INT32.pack(row_limit))


def function_call(function: int) -> bytes:
    """A call without arguments, its result in text format."""
    return message(Frontend.FUNCTION_CALL, _UINT32.pack(function) + bytes(6))


def close_statement(name: bytes) -> bytes:
    return message(Frontend.CLOSE, b"S" + name + b"\0")


def close_portal(name: bytes) -> bytes:
    return message(Frontend.CLOSE, b"P" + name + b"\0")


def copy_fail(why: bytes) -> bytes:
    return message(Frontend.COPY_FAIL, why + b"\0")


def sync() -> bytes:
    return message(Frontend.SYNC)


def flush() -> bytes:
    return message(Frontend.FLUSH)


def terminate() -> bytes:
    return message(Frontend.TERMINATE)


def password(secret: bytes) -> bytes:
    """A PasswordMessage or any other answer in an authentication exchange; text secrets end with a NUL of their own."""
    return message(Frontend.PASSWORD, secret)


def _value(value: bytes | None) -> bytes:
    return _INT32.pack(-1) if value is None else _INT32.pack(len(value)) + value
