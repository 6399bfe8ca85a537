"""Records as OpenTelemetry logs: OTLP over HTTP in its JSON encoding (OTLP 1.0, "OTLP/HTTP").

The body of a log record is the line as it is in the file, so that the chain can be verified from what the collector
has; what is searched for most stands in attributes.
"""

import http.client
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

import pgguard
from pgguard.audit.settings import OtlpTarget
from pgguard.audit.shipping.sink import effect_of, time_of, type_of, verifying

_SECONDS = 30.0
_REFUSED = (400, 413, 422)
"""Answers that mean these very records; all other failures may pass (OTLP, "Failures")."""

_SEVERITIES = {"deny": (13, "WARN"), "hold": (10, "INFO2"), "": (9, "INFO")}
_ANSWER = 64 << 10


class _RefusedError(Exception):
    """The collector answers, and what was sent is at fault, not the moment."""


class _PartialSuccess(msgspec.Struct):
    rejected: int | str = msgspec.field(name="rejectedLogRecords", default=0)
    message: str = msgspec.field(name="errorMessage", default="")


class _Answer(msgspec.Struct):
    """ExportLogsServiceResponse."""

    partial: _PartialSuccess = msgspec.field(name="partialSuccess", default_factory=_PartialSuccess)


class _Who(msgspec.Struct, frozen=True):
    user: str = ""
    principal: str = ""
    database: str = ""
    address: str | None = None


class _Looked(_Who, frozen=True):
    """What attributes are made of; every kind of record has some of it."""

    id: str = ""
    session: str = ""
    context: _Who = _Who()


_decoder = msgspec.json.Decoder(_Looked)


class OtlpSink:
    unsure = 0

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._url = urlsplit(target.url)
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> None:
        if self._connection is not None:
            return
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = verifying(self._target.ca, self._target.certificate, self._target.key)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
        connection.connect()
        self._connection = connection

    def check(self) -> None:
        """Each request has an answer: nothing is unknown between them."""

    def deliver(self, lines: Sequence[bytes]) -> Sequence[str]:
        """What is refused is halved, to find the records it is about; where even no record at all is refused, it is
        about the collector.
        """
        try:
            return self._post(lines)
        except _RefusedError as error:
            try:
                self._post(())
            except _RefusedError as always:
                raise OSError(str(always)) from error
            if len(lines) == 1:
                return (str(error),)
        half = len(lines) // 2
        return [*self.deliver(lines[:half]), *self.deliver(lines[half:])]

    def _post(self, lines: Sequence[bytes]) -> Sequence[str]:
        """One request; what the collector took, and has something to say about."""
        self.open()
        assert self._connection is not None, "it was opened"
        headers = {"Content-Type": "application/json", "User-Agent": f"pgguard/{pgguard.__version__}"}
        path = self._url.path + (f"?{self._url.query}" if self._url.query else "")
        try:
            self._connection.request("POST", path, request_of(lines), {**headers, **self._target.headers})
            answer = self._connection.getresponse()
            said = answer.read(_ANSWER)
        except http.client.HTTPException as error:
            raise OSError(f"the collector's answer is no HTTP: {error!r}") from error
        if answer.will_close or len(said) == _ANSWER:
            self.close()
        if 200 <= answer.status < 300:
            return _complaints(said)
        words = said.decode("utf-8", "replace").strip()
        message = f"the collector answers {answer.status} {answer.reason}: {words}"
        raise _RefusedError(message) if answer.status in _REFUSED else OSError(message)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _complaints(said: bytes) -> Sequence[str]:
    try:
        partial = msgspec.json.decode(said, type=_Answer).partial
    except msgspec.DecodeError:
        return ()  # an answer in another encoding; the status was success
    return (f"{partial.rejected} records rejected: {partial.message}",) if int(partial.rejected) else ()


def request_of(lines: Sequence[bytes]) -> bytes:
    """ExportLogsServiceRequest."""
    records = [log_record(line) for line in lines]
    resource = {"attributes": [_attribute("service.name", "pgguard"), _attribute("host.name", socket.gethostname())]}
    scope = {"name": "pgguard.audit", "version": pgguard.__version__}
    logs = {"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}
    return msgspec.json.encode({"resourceLogs": [logs]})


def log_record(line: bytes) -> dict[str, Any]:
    """LogRecord. A line that is no record goes as it is, without attributes."""
    number, text = _SEVERITIES[effect_of(line)]
    record: dict[str, Any] = {
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": line.decode("utf-8", "replace")},
        "attributes": [_attribute(name, value) for name, value in _attributes(line).items() if value],
    }
    if at := time_of(line):
        record["timeUnixNano"] = _nanoseconds(at)
    return record


def _attributes(line: bytes) -> dict[str, str]:
    try:
        looked = _decoder.decode(line)
    except msgspec.DecodeError:
        return {}
    who = looked if looked.user else looked.context
    return {
        "pgguard.type": type_of(line),
        "pgguard.id": looked.id,
        "pgguard.session": looked.session,
        "pgguard.effect": effect_of(line) or ("allow" if type_of(line) == "decision" else ""),
        "pgguard.hash": line[9:73].decode("ascii", "replace"),
        "user.id": who.principal,
        "user.name": who.user,
        "db.namespace": who.database,
        "client.address": who.address or "",
    }


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _nanoseconds(at: str) -> str:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return "0"  # unknown (LogRecord.time_unix_nano)
    return str(int(moment.timestamp()) * 10**9 + moment.microsecond * 1000)
