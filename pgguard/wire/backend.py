"""The server's messages that pgguard reads or writes (PostgreSQL docs, sections 55.7 and 55.8)."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pgguard.wire.constants import Authentication, Backend
from pgguard.wire.framing import ProtocolViolation, message
from pgguard.wire.reading import Body

_INT16 = struct.Struct("!h")
_INT32 = struct.Struct("!i")
_FIELD = struct.Struct("!IhIhih")
_TEXT_OID = 25


class KeyData(NamedTuple):
    """Process id and secret key of BackendKeyData; the key is 4 bytes in protocol 3.0, 4 to 256 in 3.2."""

    process: int
    secret: bytes


def read_fields(raw: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter."""
    body = Body(raw)
    fields: dict[str, str] = {}
    while code := body.byte():
        fields[chr(code)] = body.string().decode("utf-8", "replace")
    return fields


def cut_short(beginning: bytes) -> bytes:
    """A whole ErrorResponse or NoticeResponse of one that is not whole: the field that is under way ends with it."""
    fields: dict[str, str] = {}
    at = 5
    while at < len(beginning) and (code := beginning[at]):
        end = beginning.find(b"\0", at + 1)
        end = len(beginning) if end < 0 else end
        fields[chr(code)] = beginning[at + 1 : end].decode("utf-8", "replace")
        at = end + 1
    return message(beginning[0], _fields(fields))


def error(fields: Mapping[str, str]) -> bytes:
    return message(Backend.ERROR_RESPONSE, _fields(fields))


def notice(fields: Mapping[str, str]) -> bytes:
    return message(Backend.NOTICE_RESPONSE, _fields(fields))


def _fields(fields: Mapping[str, str]) -> bytes:
    """What is no text in UTF-8, as the bytes of a name that a client sent, is shown escaped."""
    parts = [
        code.encode() + text.replace("\0", "").encode("utf-8", "backslashreplace") + b"\0"
        for code, text in fields.items()
    ]
    return b"".join(parts) + b"\0"


def read_parameter_status(raw: bytes) -> tuple[str, str]:
    body = Body(raw)
    return body.string().decode("utf-8", "replace"), body.string().decode("utf-8", "replace")


def parameter_status(name: str, value: str) -> bytes:
    return message(Backend.PARAMETER_STATUS, name.encode() + b"\0" + value.encode() + b"\0")


def read_key_data(raw: bytes) -> KeyData:
    body = Body(raw)
    process = body.int32()
    secret = raw[9:]
    if not 4 <= len(secret) <= 256:
        raise ProtocolViolation(f"backend key of {len(secret)} bytes")
    return KeyData(process, secret)


def key_data(key: KeyData) -> bytes:
    return message(Backend.BACKEND_KEY_DATA, _INT32.pack(key.process) + key.secret)


def read_authentication(raw: bytes) -> tuple[int, bytes]:
    """The request code and what follows it."""
    return Body(raw).int32(), raw[9:]


def authentication(code: Authentication, data: bytes = b"") -> bytes:
    return message(Backend.AUTHENTICATION, _INT32.pack(code) + data)


def ready_for_query(status: bytes) -> bytes:
    return message(Backend.READY_FOR_QUERY, status)


def negotiate_protocol_version(version: int, refused: Sequence[str]) -> bytes:
    names = b"".join(name.encode() + b"\0" for name in refused)
    return message(Backend.NEGOTIATE_PROTOCOL_VERSION, _INT32.pack(version) + _INT32.pack(len(refused)) + names)


def read_data_row(raw: bytes) -> tuple[bytes | None, ...]:
    return Body(raw).values()


def row_description(columns: Iterable[str]) -> bytes:
    """A RowDescription of text columns that belong to no table."""
    names = list(columns)
    fields = (name.encode() + b"\0" + _FIELD.pack(0, 0, _TEXT_OID, -1, -1, 0) for name in names)
    return message(Backend.ROW_DESCRIPTION, _INT16.pack(len(names)) + b"".join(fields))


def data_row(values: Sequence[str | None]) -> bytes:
    parts = [_INT16.pack(len(values))]
    for value in values:
        if value is None:
            parts.append(_INT32.pack(-1))
        else:
            encoded = value.encode()
            parts += (_INT32.pack(len(encoded)), encoded)
    return message(Backend.DATA_ROW, b"".join(parts))


def command_complete(tag: str) -> bytes:
    return message(Backend.COMMAND_COMPLETE, tag.encode() + b"\0")


def read_channel(raw: bytes) -> str:
    """That of a NotificationResponse."""
    return Body(raw, 9).string().decode("utf-8", "replace")


def read_command_tag(raw: bytes) -> str:
    return Body(raw).string().decode("utf-8", "replace")


def empty(kind: Backend) -> bytes:
    """One of the messages without content: ParseComplete, BindComplete, NoData and their like."""
    return message(kind, b"")


def parameter_description(types: Sequence[int]) -> bytes:
    return message(Backend.PARAMETER_DESCRIPTION, _INT16.pack(len(types)) + b"".join(_INT32.pack(oid) for oid in types))


def notification(process: int, channel: str, payload: str) -> bytes:
    return message(
        Backend.NOTIFICATION_RESPONSE, _INT32.pack(process) + channel.encode() + b"\0" + payload.encode() + b"\0"
    )
