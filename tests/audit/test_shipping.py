"""Records reach their collectors whatever these do, and nobody else waits for it."""

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pgguard.audit.files import closed_files, closed_name, compress
from pgguard.audit.log import AuditLog
from pgguard.audit.records import Changed, DecisionMade
from pgguard.audit.settings import AuditSettings, OtlpTarget, StdoutTarget, SyslogTarget
from pgguard.audit.shipping.shipper import Shipper, settings_line, try_target
from pgguard.audit.shipping.status import read_status, status_file
from pgguard.audit.shipping.syslog import SyslogSink
from pgguard.model.context import Context
from pgguard.model.decision import Effect
from pgguard.runtime.config import ConfigError, parse_config
from tests.audit.collectors import HttpCollector, TcpCollector, closing, frames, server_tls, wait_for

NOW = "2026-03-02T10:00:00.123456Z"


class Source:
    """A log and what ships it; `told` is what the operator was told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.jsonl"
        self.log = AuditLog(AuditSettings(path=self.path), NOW)
        self.told: list[str] = []
        self._running: list[tuple[threading.Event, threading.Thread]] = []

    def add(self, count: int, length: int = 0) -> None:
        for number in range(count):
            self.log.append(Changed(NOW, "start", f"{number} " + "x" * length))

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()

    def ship(self, target) -> threading.Thread:
        ending = threading.Event()
        thread = threading.Thread(target=Shipper(self.path, target, self.told.append).run, args=(ending,))
        thread.start()
        self._running.append((ending, thread))
        return thread

    def end(self) -> None:
        """As at pgguard's end: what is left is delivered."""
        for ending, _ in self._running:
            ending.set()
        for _, thread in self._running:
            thread.join(20)
            assert not thread.is_alive()
        self._running = []

    def status(self, name: str):
        return read_status(self.path, name)


@pytest.fixture
def source(tmp_path):
    made = Source(tmp_path)
    yield made
    made.end()
    made.log.close()


def decision(effect: Effect, text: str = "select 1") -> DecisionMade:
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 1.0, address="10.0.0.1")
    return DecisionMade(NOW, "s-1", "s", "query", text, effect, context)


def syslog(collector: TcpCollector, transport: str = "tcp", **more) -> SyslogTarget:
    return SyslogTarget(host="localhost", port=collector.port, transport=transport, **more)


def first_seen(lines: list[bytes]) -> list[bytes]:
    """Each record once, in the order of arrival."""
    return list(dict.fromkeys(lines))


# syslog


def test_syslog_over_tcp_has_each_record_once_as_rfc_5424_says(source):
    with closing(TcpCollector()) as collector:
        source.log.append(decision(Effect.ALLOW))
        source.log.append(decision(Effect.DENY, """select '"effect":"allow"'"""))
        source.log.append(decision(Effect.HOLD))
        source.add(1)
        source.ship(syslog(collector))
        wait_for(lambda: len(collector.messages()) == 4)
        source.end()
        allowed, denied, held, change = collector.messages()
        host = re.sub(r"[^!-~]", "-", socket.gethostname()).encode()
        assert allowed.startswith(b"<110>1 2026-03-02T10:00:00.123456Z " + host + b" pgguard - decision - {")
        assert denied.startswith(b"<108>1 ")
        assert held.startswith(b"<109>1 ")
        assert b" pgguard - change - {" in change
        assert collector.lines() == source.lines()


def test_syslog_over_tls_needs_a_certificate_that_fits(source, certificates):
    tls = server_tls(certificates.certificate, certificates.key)
    with closing(TcpCollector(tls)) as collector:
        source.add(3)
        thread = source.ship(syslog(collector, "tls", name="untrusted"))
        wait_for(lambda: source.told)
        assert "certificate verify failed" in source.told[0]
        assert thread.is_alive()
        source.end()
        assert collector.messages() == []
        source.ship(syslog(collector, "tls", ca=certificates.authority))
        wait_for(lambda: len(collector.messages()) == 3)
        assert collector.lines() == source.lines()


def test_syslog_over_udp_is_one_message_a_datagram(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        source.add(2)
        source.add(1, length=100_000)
        source.ship(SyslogTarget(host="127.0.0.1", port=receiver.getsockname()[1], transport="udp"))
        received = [receiver.recv(70_000) for _ in range(3)]
    assert [message.split(b" - ", 2)[2] for message in received[:2]] == source.lines()[:2]
    assert len(received[2]) == 65_000
    assert source.lines()[2].startswith(received[2].split(b" - ", 2)[2])


def test_a_stalled_collector_delays_no_record_and_gets_all_when_it_reads_again(source):
    with closing(TcpCollector()) as collector:
        collector.stalled.set()
        source.ship(syslog(collector))
        began = time.monotonic()
        source.add(3000, length=8000)  # far more than the buffers between us hold
        assert time.monotonic() - began < 10
        wait_for(lambda: source.status("syslog") is not None and source.status("syslog").since)
        assert source.status("syslog").since == NOW
        collector.stalled.clear()
        wait_for(lambda: not source.status("syslog").since)
        assert collector.lines() == source.lines()
        assert source.told == []


COLLECTOR = """
import socket, sys
listener = socket.create_server(("localhost", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with open(sys.argv[2] + "." + str(connection.getpeername()[1]), "ab", buffering=0) as file:
        while data := connection.recv(4096):
            file.write(data)
"""


def _collector(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-c", COLLECTOR, str(port), str(folder / "received")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    return process, int(process.stdout.readline())


def _received(folder: Path) -> list[bytes]:
    files = sorted(folder.glob("received.*"), key=lambda file: file.stat().st_mtime_ns)
    return [message.split(b" - ", 2)[2] for file in files for message in frames(file.read_bytes())]


def test_a_collector_that_is_killed_in_the_middle_gets_all_that_it_missed(source, tmp_path):
    """What lay unread in its kernel's buffer is sent again, since nobody can tell that it was lost."""
    process, port = _collector(tmp_path, 0)
    target = SyslogTarget(host="localhost", port=port, transport="tcp")
    source.ship(target)
    for _ in range(3):
        seen = len(_received(tmp_path))
        source.add(2000, length=1000)
        wait_for(lambda seen=seen: len(_received(tmp_path)) > seen)
        process.kill()
        process.communicate()
        source.add(100, length=1000)
        process, _ = _collector(tmp_path, port)
    wait_for(lambda: set(_received(tmp_path)) >= set(source.lines()))
    process.kill()
    process.communicate()
    assert set(_received(tmp_path)) == set(source.lines())


def test_a_collector_that_hangs_up_while_idle_is_no_trouble(source):
    with closing(TcpCollector()) as collector:
        source.ship(syslog(collector))
        source.add(2)
        wait_for(lambda: len(collector.messages()) == 2)
        collector._connections[0].shutdown(socket.SHUT_WR)
        source.add(2)
        wait_for(lambda: len(collector.messages()) == 4)
        assert collector.lines() == source.lines()
        assert source.told == []


def test_a_collector_that_is_not_there_yet_is_told_of_once_and_gets_all_when_it_comes(source):
    with socket.create_server(("localhost", 0)) as held:
        port = held.getsockname()[1]
    source.add(5)
    source.ship(SyslogTarget(host="localhost", port=port, transport="tcp"))
    wait_for(lambda: source.status("syslog") is not None and "refused" in source.status("syslog").trouble)
    with closing(TcpCollector(port=port)) as collector:
        wait_for(lambda: len(collector.messages()) == 5)
        wait_for(lambda: len(source.told) == 2)
        assert "wait in the file" in source.told[0]
        assert source.told[1] == '"syslog" takes records again'
        assert source.status("syslog").trouble == ""


# OTLP


def otlp(collector: HttpCollector, **more) -> OtlpTarget:
    return OtlpTarget(url=f"http://localhost:{collector.port}/v1/logs", **more)


def test_otlp_has_each_record_once_with_attributes(source):
    with closing(HttpCollector()) as collector:
        source.log.append(decision(Effect.DENY))
        source.add(1)
        source.ship(otlp(collector, headers={"Authorization": "Bearer geheim"}))
        wait_for(lambda: len(collector.bodies) == 2)
        assert [body.encode() for body in collector.bodies] == source.lines()
        assert collector.headers[0]["Authorization"] == "Bearer geheim"
        (logs,) = collector.requests[0]["resourceLogs"]
        assert {"key": "service.name", "value": {"stringValue": "pgguard"}} in logs["resource"]["attributes"]
        record = logs["scopeLogs"][0]["logRecords"][0]
        told = {a["key"]: a["value"]["stringValue"] for a in record["attributes"]}
        assert told == {
            "pgguard.type": "decision", "pgguard.id": "s-1", "pgguard.session": "s", "pgguard.effect": "deny",
            "pgguard.hash": source.lines()[0][9:73].decode(), "user.id": "alice@EXAMPLE.COM", "user.name": "alice",
            "db.namespace": "shop", "client.address": "10.0.0.1",
        }  # fmt: skip
        assert record["timeUnixNano"] == "1772445600123456000"
        assert (record["severityNumber"], record["severityText"]) == (13, "WARN")


def test_otlp_over_tls(source, certificates):
    tls = server_tls(certificates.certificate, certificates.key)
    with closing(HttpCollector(tls=tls)) as collector:
        source.add(2)
        url = f"https://localhost:{collector.port}/v1/logs"
        source.ship(OtlpTarget(url=url, ca=certificates.authority))
        wait_for(lambda: len(collector.bodies) == 2)


def test_a_collector_that_is_out_of_order_for_a_while_gets_all_then(source):
    answers = iter([503, 429, 500])
    with closing(HttpCollector(lambda _: next(answers, 200))) as collector:
        source.add(50)
        source.ship(otlp(collector))
        wait_for(lambda: len(collector.bodies) == 50)
        assert [body.encode() for body in collector.bodies] == source.lines()
        assert '"otlp" does not take records, which wait in the file: the collector answers 503' in source.told[0]


def test_one_record_that_a_collector_never_takes_keeps_no_other_back(source):
    def answer(records):
        return 413 if any("poisonous" in record["body"]["stringValue"] for record in records) else 200

    with closing(HttpCollector(answer)) as collector:
        source.add(10)
        source.log.append(Changed(NOW, "start", "poisonous"))
        source.add(10)
        source.ship(otlp(collector))
        wait_for(lambda: len(collector.bodies) == 20)
        source.end()
        assert len(source.told) == 1
        assert "in the file alone: the collector answers 413" in source.told[0]
        assert [body.encode() for body in collector.bodies] == [
            line for line in source.lines() if b"poisonous" not in line
        ]


def test_a_collector_that_refuses_everything_loses_nothing(source):
    """A wrong path or tenant answers 400 to each request: that is no fault of the records."""
    status = [400]
    with closing(HttpCollector(lambda _: status[0])) as collector:
        source.add(20)
        source.ship(otlp(collector))
        wait_for(lambda: source.told)
        assert "wait in the file: the collector answers 400" in source.told[0]
        status[0] = 200
        wait_for(lambda: len(collector.bodies) == 20)


def test_it_goes_on_where_it_ended_over_rotation_and_restart(source):
    with closing(HttpCollector()) as collector:
        everything = []
        for turn in range(3):
            source.ship(otlp(collector))
            source.add(20)
            wait_for(lambda turn=turn: len(collector.bodies) == 41 * turn + 20)
            source.end()
            everything += source.lines()
            source.log.rotate(closed_name(source.path, datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=turn)), NOW)
            compress(closed_files(source.path)[-1])
            source.add(20)
        source.ship(otlp(collector))
        wait_for(lambda: len(collector.bodies) == 41 * 3)
        assert everything[:20] == [body.encode() for body in collector.bodies[:20]]
        assert len(set(collector.bodies)) == 41 * 3


# which records, by whom


def test_only_the_heads_of_closed_files_where_that_is_asked_for(source):
    with closing(TcpCollector()) as collector:
        source.ship(syslog(collector, records="heads"))
        source.add(10)
        closed = closed_name(source.path, datetime(2026, 3, 2, tzinfo=UTC))
        source.log.rotate(closed, NOW)
        source.add(10)
        wait_for(collector.messages)
        source.end()
        (line,) = collector.lines()
        head = closed.with_name(closed.name + ".head").read_text().strip()
        assert head in json.loads(line)["detail"]


def test_of_two_processes_with_one_log_one_ships_and_the_other_steps_in(source):
    with closing(HttpCollector()) as collector:
        source.add(10)
        script = f"""
import sys, threading
from pathlib import Path
from pgguard.audit.settings import OtlpTarget
from pgguard.audit.shipping.shipper import Shipper
Shipper(Path({str(source.path)!r}), OtlpTarget(url={otlp(collector).url!r}), print).run(threading.Event())
"""
        other = subprocess.Popen([sys.executable, "-c", script])
        wait_for(lambda: len(collector.bodies) == 10)
        source.ship(otlp(collector))
        source.add(10)
        wait_for(lambda: len(collector.bodies) == 20)
        other.kill()
        other.communicate()
        source.add(10)
        wait_for(lambda: len(set(collector.bodies)) == 30)  # what the other was killed before noting comes twice
        source.end()
        assert first_seen([body.encode() for body in collector.bodies]) == source.lines()


def test_a_status_that_cannot_be_read_sends_all_anew(source):
    with closing(HttpCollector()) as collector:
        source.add(5)
        status_file(source.path, "otlp").write_bytes(b'{"position":{"file":"12')
        source.ship(otlp(collector))
        wait_for(lambda: len(collector.bodies) == 5)


def test_missing_files_are_told_of(source):
    with closing(HttpCollector()) as collector:
        source.ship(otlp(collector))
        source.add(5)
        wait_for(lambda: len(collector.bodies) == 5)
        source.end()
        for turn in range(2):
            source.add(5)
            source.log.rotate(closed_name(source.path, datetime(2026, 3, 2 + turn, tzinfo=UTC)), NOW)
        for closed in closed_files(source.path):
            closed.unlink()
        source.ship(otlp(collector))
        wait_for(lambda: len(collector.bodies) == 6)
        assert source.told == ['records are missing for "otlp": files were removed before they were shipped']


# the process


def _process(source, *targets) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pgguard.audit.shipping"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096
    )
    process.stdin.write(settings_line(source.path, targets))
    process.stdin.flush()
    return process


def test_standard_output_has_the_lines_as_they_are(source):
    source.add(100)
    process = _process(source, StdoutTarget())
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert out.splitlines() == source.lines()


def test_what_was_written_last_is_shipped_at_the_end(source):
    """Seen: the record of pgguard's own stop was left for the next start."""
    with closing(HttpCollector()) as collector:
        source.ship(otlp(collector))
        source.add(1)
        wait_for(lambda: len(collector.bodies) == 1)
        source.add(1)
        source.end()
        assert len(collector.bodies) == 2


def test_it_ends_when_pgguard_does_although_nobody_reads(source):
    source.add(1000, length=1000)
    process = _process(source, StdoutTarget())
    wait_for(lambda: read_status(source.path, "stdout") is not None)
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    process.stderr.close()


# settings


@pytest.mark.parametrize(
    ("ship", "complaint"),
    [
        ([{"to": "kafka"}], "kafka"),
        ([{"to": "syslog"}], "host"),
        ([{"to": "syslog", "host": "h", "facility": 24}], "24 is no syslog facility"),
        ([{"to": "syslog", "host": "h", "transport": "udp", "ca": "x"}], 'are for transport "tls"'),
        ([{"to": "otlp", "url": "collector:4318"}], "is no address of a collector"),
        ([{"to": "otlp", "url": "https://u:p@h/v1/logs"}], "is no address of a collector"),
        ([{"to": "stdout"}, {"to": "stdout"}], 'two targets are named "stdout"'),
        ([{"to": "stdout", "name": "../x"}], "cannot name a target"),
        ([{"to": "stdout", "colour": True}], "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_reason(ship, complaint, tmp_path):
    tree = {
        "kerberos": {"keytab": "k"},
        "database": {"host": "h"},
        "directory": {"kind": "static", "path": "p"},
        "rules": {"path": "r"},
        "audit": {"path": "a", "ship": ship},
    }
    with pytest.raises(ConfigError, match=re.escape(complaint)) as refused:
        parse_config(tree, tmp_path / "pgguard.toml")
    assert "[audit] ship" in str(refused.value) or "[audit]:" in str(refused.value)


def test_targets_survive_the_way_to_the_process(tmp_path):
    targets = (StdoutTarget(), SyslogTarget(host="h", ca=tmp_path / "ca.pem"), OtlpTarget(url="https://h/v1/logs"))
    log, told = msgspec.json.decode(settings_line(tmp_path / "a", targets))
    assert log == str(tmp_path / "a")
    assert [target["to"] for target in told] == ["stdout", "syslog", "otlp"]


def test_trying_a_target_says_whether_it_takes_connections(certificates):
    with closing(HttpCollector()) as collector:
        try_target(otlp(collector))
        assert collector.requests[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"] == []
    with closing(HttpCollector(lambda _: 401)) as collector, pytest.raises(OSError, match="answers 401"):
        try_target(otlp(collector))
    with closing(TcpCollector(server_tls(certificates.certificate, certificates.key))) as collector:
        try_target(syslog(collector, "tls", ca=certificates.authority))
        with pytest.raises(ssl.SSLCertVerificationError):
            try_target(syslog(collector, "tls"))


def test_a_line_that_is_no_record_is_shipped_as_it_is():
    message = SyslogSink(SyslogTarget(host="h")).message(b"no record at all")
    assert message.startswith(b"<110>1 - ")
    assert message.endswith(b" pgguard - - - no record at all")
