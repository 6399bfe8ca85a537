"""Messages that no library would send, written in YAML, to the bytes of the protocol.

- parse: {name: s, text: select 1}
- bind: {statement: s, portal: p, values: [x]}
- execute: p                      # {portal: p, rows: 5} for a row limit
- function: pg_catalog.lo_get(oid)     # the FunctionCall, with `values`
- sync
- raw: 51 00 00 00 04             # bytes as they are
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from pgguard.wire import frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import message

_PLAIN = {
    "sync": frontend.sync(),
    "flush": frontend.flush(),
    "terminate": frontend.terminate(),
    "copy_done": message(Frontend.COPY_DONE),
}


def to_bytes(step: Any, oid_of: Callable[[str], int]) -> bytes:  # noqa: C901  # one case a kind of message reads best
    """One message. `oid_of`: the OID of a function by its signature. Raises ValueError for a step that is none."""
    if isinstance(step, str):
        return _PLAIN[step]
    (kind, content), *more = step.items()
    if more:
        raise ValueError(f"{step!r} is more than one message")
    match kind:
        case "query":
            return frontend.query(_bytes(content))
        case "parse":
            return frontend.parse(_bytes(content.get("name", "")), _bytes(content["text"]))
        case "bind":
            portal, statement = (_bytes(content.get(key, "")) for key in ("portal", "statement"))
            return frontend.bind(portal, statement, tuple(_values(content)))
        case "execute":
            asked: Mapping[str, Any] = content if isinstance(content, Mapping) else {"portal": content}
            return frontend.execute(_bytes(asked["portal"]), int(asked.get("rows", 0)))
        case "describe":
            return message(Frontend.DESCRIBE, _bytes(content) + b"\0")
        case "close":
            return message(Frontend.CLOSE, _bytes(content) + b"\0")
        case "copy_data":
            return message(Frontend.COPY_DATA, _bytes(content))
        case "function":
            return _function_call(oid_of(content["name"]), _values(content))
        case "raw":
            return bytes.fromhex(content)
        case _:
            raise ValueError(f'"{kind}" is no kind of message')


def _function_call(function: int, values: list[bytes]) -> bytes:
    given = b"".join(struct.pack("!I", len(value)) + value for value in values)
    return message(Frontend.FUNCTION_CALL, struct.pack("!IHH", function, 0, len(values)) + given + bytes(2))


def _values(content: Mapping[str, Any]) -> list[bytes]:
    return [_bytes(value) for value in content.get("values", ())]


def _bytes(text: object) -> bytes:
    return str(text).encode("utf-8", "surrogateescape")
