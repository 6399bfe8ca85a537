"""Hooks: a real server on loopback and real commands; what they get, and that nothing waits for them."""

import asyncio
import hashlib
import hmac
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import msgspec
import pytest

from pgguard.holds.hooks import Hooks
from pgguard.holds.settings import HookSettings
from pgguard.holds.store import Record
from pgguard.model.decision import Approvers
from tests.holds.people import hold

_SECRET = b"shared"


class Receiver:
    """A server that answers each POST with the next of `answers`, and then with 204."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: Queue[tuple[str, dict[str, str], bytes]] = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put((self.path, dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/a?b=c"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@asynccontextmanager
async def _started(*settings: HookSettings) -> AsyncIterator[Hooks]:
    hooks = Hooks([(one, _SECRET) for one in settings])
    hooks.start()
    yield hooks
    await hooks.stop()


def _tell(hooks: Hooks, number: int, event: str = "held") -> None:
    hooks.tell("2026-03-02T10:00:00Z", Record(number, "east", hold(Approvers(groups=("dba",)))), event, "dora@X", "why")


def _url(receiver: Receiver, **options: object) -> HookSettings:
    return msgspec.convert({"url": receiver.url, "secret_file": "secret", **options}, HookSettings, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    return kind(value)


def _command(*words: str, seconds: float = 10.0) -> HookSettings:
    return HookSettings(command=(sys.executable, "-c", *words), seconds=seconds)


async def test_a_receiver_gets_signed_json(receiver: Receiver):
    async with _started(_url(receiver)) as hooks:
        _tell(hooks, 7)
        path, headers, body = await asyncio.to_thread(receiver.got.get, timeout=10)
    assert path == "/hooks/a?b=c"
    assert headers["Content-Type"] == "application/json"
    assert headers["Pgguard-Signature"] == "sha256=" + hmac.new(_SECRET, body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert (told["event"], told["hold"], told["node"], told["user"]) == ("held", 7, "east", "bob")
    assert (told["by"], told["why"], told["needs"]) == ("dora@X", "why", ["1 of group dba"])
    assert "statement" not in told, "it is told only where the configuration says so"
    assert "v" not in told.values(), "values are never told"


async def test_what_was_not_taken_is_told_again_under_the_same_id_and_in_order(receiver: Receiver):
    receiver.answers = [500, 302]
    async with _started(_url(receiver)) as hooks:
        _tell(hooks, 1)
        _tell(hooks, 2)
        got = [json.loads((await asyncio.to_thread(receiver.got.get, timeout=10))[2]) for _ in range(4)]
    assert [one["hold"] for one in got] == [1, 1, 1, 2]
    assert len({one["id"] for one in got}) == 2
    assert hooks.counts()[receiver.url.partition("/hooks")[0], "delivered"] == 2


async def test_only_the_events_that_are_asked_for_are_told(receiver: Receiver):
    async with _started(_url(receiver, events=["refused"], text=True)) as hooks:
        _tell(hooks, 1)
        _tell(hooks, 2, "refused")
        told = json.loads((await asyncio.to_thread(receiver.got.get, timeout=10))[2])
    assert (told["hold"], told["statement"]) == (2, "delete")
    assert receiver.got.empty()


async def test_a_command_gets_it_on_its_standard_input_and_no_shell_reads_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KRB5_KTNAME", "/secret")
    program = "import sys, os; open(sys.argv[1], 'w').write(sys.stdin.read() + repr([sys.argv[2], sorted(os.environ)]))"
    target = tmp_path / "told"
    async with _started(_command(program, str(target), "$(id); `id`")) as hooks:
        _tell(hooks, 3)
    told, end = json.JSONDecoder().raw_decode(target.read_text())
    assert told["hold"] == 3
    assert "'$(id); `id`'" in target.read_text()[end:]
    assert "KRB5_KTNAME" not in target.read_text()


@pytest.mark.slow
async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(tmp_path: Path):
    started = tmp_path / "child"
    program = (
        "import subprocess, sys, os; child = subprocess.Popen(['sleep', '600']);"
        "open(sys.argv[1] + '.new', 'w').write(str(child.pid)); os.rename(sys.argv[1] + '.new', sys.argv[1]); child.wait()"
    )
    async with _started(_command(program, str(started), seconds=2.0)) as hooks:
        _tell(hooks, 1)
        await _until(started.exists)
        child = Path(f"/proc/{started.read_text()}/stat")
        await _until(lambda: not child.exists() or child.read_text().rpartition(") ")[2].startswith("Z"))


async def _until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not so():  # noqa: ASYNC110  # another process makes it so
            await asyncio.sleep(0.02)


async def test_nothing_waits_for_a_hook_that_hangs_and_what_it_loses_is_counted(receiver: Receiver):
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    hanging = HookSettings(url=f"http://127.0.0.1:{port}", secret_file=Path("secret"))
    hooks = Hooks([(hanging, _SECRET), (_url(receiver), _SECRET)])
    hooks.start()
    began = time.monotonic()
    for number in range(1, 1011):
        _tell(hooks, number)
    assert time.monotonic() - began < 1.0
    assert json.loads((await asyncio.to_thread(receiver.got.get, timeout=10))[2])["hold"] == 1
    assert hooks.counts()[f"http://127.0.0.1:{port}", "lost"] == 10
    began = time.monotonic()
    await hooks.stop()
    assert time.monotonic() - began < 8.0, "the end of pgguard does not wait for it either"
    silent.close()


async def test_a_command_that_is_not_there_is_told_of_and_harms_nobody(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "pgguard.holds.hooks")
    async with _started(HookSettings(command=("/nonexistent/page",))) as hooks:
        _tell(hooks, 1)
        await _until(lambda: "it cannot be run: No such file or directory" in caplog.text)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({}, 'a hook has either "url" or "command"'),
        ({"url": "http://h", "command": ["x"]}, 'a hook has either "url" or "command"'),
        ({"url": "http://h"}, "the secret that signs what it gets, go together"),
        ({"command": ["x"], "secret_file": "s"}, "the secret that signs what it gets, go together"),
        ({"url": "ftp://h", "secret_file": "s"}, '"ftp://h" is no http:// or https:// address'),
        ({"url": "http://u:p@h", "secret_file": "s"}, "address without a user"),
        ({"url": "http://h/\r\nX: y", "secret_file": "s"}, "is no http:// or https:// address"),
        ({"url": "http://h:99999", "secret_file": "s"}, "is no http:// or https:// address"),
        ({"command": ["x"], "events": ["hold"]}, "Invalid enum value 'hold'"),
        ({"command": ["x"], "seconds": 0}, '"seconds" must be above zero'),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_told(wrong: dict[str, object], complaint: str):
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(wrong, HookSettings, dec_hook=_path)
