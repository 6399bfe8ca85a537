"""How attempts reach the proxy: libpq in simple and extended protocol, psql, and messages written by hand.

Each client returns everything that it received as one heap of bytes, in which canaries are looked for.
"""

import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence

from psycopg import pq

PATIENCE = 20.0
"""Seconds after which an answer that does not come is a failure: no attack may make a session hang."""


class NoAnswer(Exception):  # noqa: N818  # it says what happened
    """The proxy has neither answered nor closed the connection."""


class Libpq:
    """One connection through libpq, all that it has received in `heap`; `answered`: rows have come; `errors`: in words."""

    def __init__(self, environment: Mapping[str, str], options: Mapping[str, str]) -> None:
        self.heap = bytearray()
        self.answered = False
        self.errors: list[str] = []
        words = {
            "host": environment["PGHOST"], "port": environment["PGPORT"], "dbname": environment["PGDATABASE"],
            "user": environment["PGUSER"], "gssencmode": "disable", "connect_timeout": "20", **options,
        }  # fmt: skip
        conninfo = " ".join(f"{key}='{_quoted(value)}'" for key, value in words.items())
        self._connection = pq.PGconn.connect(conninfo.encode())
        self._connection.notice_handler = self._notice
        self.heap += self._connection.error_message

    @property
    def alive(self) -> bool:
        return self._connection.status == pq.ConnStatus.OK

    def _notice(self, result: "pq.abc.PGresult") -> None:
        self._fields(result)

    def _fields(self, result: "pq.abc.PGresult") -> None:
        for field in pq.DiagnosticField:
            self.heap += (result.error_field(field) or b"") + b"\n"

    def run(self, sql: str, *, extended: bool, copy: str = "") -> None:
        """Send one query string, and take all that comes of it."""
        if not self.alive:
            return
        connection = self._connection
        text = sql.encode("utf-8", "surrogateescape")
        if b"\0" in text:
            raise ValueError("libpq cannot send a NUL: write this attack as messages")
        if extended:
            connection.send_query_params(text, None)
        else:
            connection.send_query(text)
        while (result := self._result()) is not None:
            self._take(result, copy)
        while (notify := connection.notifies()) is not None:
            self.heap += notify.relname + b" " + notify.extra + b"\n"

    def pipeline(self, steps: Sequence[str]) -> None:
        """Statements of one segment, each of which is answered before the next is sent; "sync" ends a segment."""
        connection = self._connection
        connection.enter_pipeline_mode()
        for step in steps:
            if not self.alive:
                return
            if step == "sync":
                connection.pipeline_sync()
                while (result := self._result()) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
                    if result is not None:
                        self._take(result, "")
            else:
                connection.send_query_params(step.encode(), None)
                connection.send_flush_request()
                while (result := self._result()) is not None:
                    self._take(result, "")
        connection.exit_pipeline_mode()

    def _result(self) -> "pq.abc.PGresult | None":
        deadline = time.monotonic() + PATIENCE
        connection = self._connection
        while connection.status == pq.ConnStatus.OK and (connection.flush() or connection.is_busy()):
            if not select.select([connection.socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise NoAnswer
            connection.consume_input()
        return connection.get_result()

    def _take(self, result: "pq.abc.PGresult", copy: str) -> None:
        connection = self._connection
        self._fields(result)
        match result.status:
            case pq.ExecStatus.COPY_OUT:
                while (row := connection.get_copy_data(0))[0] > 0:
                    self.heap += bytes(row[1])
            case pq.ExecStatus.COPY_IN:
                if copy:
                    connection.put_copy_data(copy.encode())
                connection.put_copy_end()
            case pq.ExecStatus.TUPLES_OK:
                self.answered = self.answered or result.ntuples > 0
                for row in range(result.ntuples):
                    for column in range(result.nfields):
                        self.heap += (result.get_value(row, column) or b"") + b"\n"
            case pq.ExecStatus.FATAL_ERROR:
                self.errors.append(result.error_message.decode("utf-8", "replace"))
            case _:
                pass

    def converse(self, messages: bytes, *, unfinished: bool = False) -> None:
        """Send these bytes, which end in a goodbye, as they are: take all that comes, to the end of the connection.

        `unfinished`: a message may lack its end, so that the server waits: the client stops sending. Nobody else may:
        whoever does before the last answer has vanished, and is told nothing. libpq knows nothing of all this, and the
        connection is of no use to it afterwards.
        """
        if not self.alive:
            return
        with socket.socket(fileno=os.dup(self._connection.socket)) as wire:
            wire.settimeout(PATIENCE)
            try:
                wire.sendall(messages)
                if unfinished:
                    wire.shutdown(socket.SHUT_WR)
                while received := wire.recv(1 << 16):
                    self.heap += received
            except TimeoutError as error:
                raise NoAnswer from error
            except OSError:
                return  # it hung up on what it was sent

    def identity(self) -> tuple[str, ...] | None:
        """Who the session is for the database, and the principal it shows; None where it has ended."""
        if not self.alive:
            return None
        self.run("rollback", extended=False)
        self._connection.send_query(
            b"select current_user, session_user, pg_catalog.current_setting('pgguard.principal')"
        )
        result = self._result()
        if result is None or result.ntuples != 1:
            message = b"" if result is None else result.error_message
            raise AssertionError(f"a session of readers cannot tell who it is any more: {message.decode()}")
        found = tuple((result.get_value(0, column) or b"").decode() for column in range(3))
        while self._result() is not None:
            pass
        return found

    def close(self) -> None:
        self._connection.finish()


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def run_psql(environment: Mapping[str, str], script: str, options: Mapping[str, str]) -> bytes:
    """psql with a script on its standard input: all that it prints."""
    done = subprocess.run(
        ["psql", "-XAt", "-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=always"],
        input=script.encode(), capture_output=True, check=False, timeout=60,
        env={**os.environ, **environment, **options, "PGCONNECT_TIMEOUT": "20"},
    )  # fmt: skip
    return done.stdout + done.stderr


def is_one_statement(sql: Sequence[str]) -> bool:
    """Whether the extended protocol could take it too: as far as a semicolon tells."""
    return len(sql) == 1 and ";" not in sql[0].rstrip().rstrip(";")
