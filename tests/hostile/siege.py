"""Runs attempts against the lab, and says what each of them won."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from pgguard.lab.lab import Lab
from pgguard.wire.frontend import terminate

from .clients import Libpq, NoAnswer, is_one_statement, run_psql
from .corpus import Attempt
from .protocol import to_bytes
from .world import Canaries, Picture


class Siege:
    """`breaches` of an attempt: what it has seen or changed, in words; empty where it has won nothing.

    Attempts of one user share a connection, unless they are marked to change it. `unguarded`: past the proxy, to see
    what an attack would win without it.
    """

    def __init__(
        self, lab: Lab, canaries: Canaries, direct: psycopg.Connection, outside: Path, *, unguarded: bool = False
    ) -> None:
        self._unguarded = unguarded
        self._lab = lab
        self._canaries = canaries
        self._direct = direct
        self._outside = outside
        self._connections: dict[str, Libpq] = {}
        self._picture = Picture(direct, outside)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections.values():
            connection.close()

    def breaches(self, attempt: Attempt) -> list[str]:
        environment = self._environment(attempt.user)
        os.environ["KRB5CCNAME"] = environment["KRB5CCNAME"]
        found = []
        if attempt.psql:
            told = run_psql(environment, self._placed(attempt.psql), attempt.options)
            found += self._received(attempt, told, "psql")
        elif attempt.protocol:
            found += self._by_messages(attempt, environment)
        else:
            found += self._by_libpq(attempt, extended=False)
            if is_one_statement(attempt.sql) and not attempt.pipeline:
                found += self._by_libpq(attempt, extended=True)
        picture = Picture(self._direct, self._outside)
        found += picture.changes_since(self._picture)
        self._picture = picture
        return found

    def refusals(self, attempt: Attempt, *, extended: bool) -> list[str]:
        """The errors of what is no attack: it must go through as if nobody stood between."""
        environment = self._environment(attempt.user)
        os.environ["KRB5CCNAME"] = environment["KRB5CCNAME"]
        if attempt.protocol:
            connection = Libpq(environment, attempt.options)
            self.converse(connection, attempt)
            connection.close()
            told = bytes(connection.heap).decode("utf-8", "replace")
            return [f'"{attempt.shows}" is not in {told!r}'] if attempt.shows not in told else []
        if attempt.psql:
            told = run_psql(environment, attempt.psql, attempt.options).decode()
            return [line for line in told.splitlines() if line.startswith(("ERROR", "FATAL", "psql:"))]
        connection = self._connection(attempt)
        connection.errors.clear()
        for sql in attempt.sql:
            connection.run(sql, extended=extended, copy=attempt.copy)
        errors = connection.errors or ([] if connection.alive else ["the session has ended"])
        if attempt.own or attempt.options:
            connection.close()
        self._picture = Picture(self._direct, self._outside)
        return list(errors)

    def told(self, attempt: Attempt) -> str:
        """All that a client is told, where nothing is to be held against it."""
        os.environ["KRB5CCNAME"] = self._environment(attempt.user)["KRB5CCNAME"]
        connection = self._connection(attempt)
        connection.heap.clear()
        for sql in attempt.sql:
            connection.run(sql, extended=False)
        told = bytes(connection.heap).decode("utf-8", "replace")
        if attempt.own:
            connection.close()
        self._picture = Picture(self._direct, self._outside)
        return told

    def _environment(self, user: str) -> dict[str, str]:
        environment = self._lab.environment(user)
        if self._unguarded:
            environment["PGPORT"] = str(self._lab.postgres.port)
        return environment

    def _placed(self, text: str) -> str:
        """Places that only the running lab knows."""
        return text.replace("{{outside}}", str(self._outside)).replace("{{data}}", str(self._lab.postgres.data))

    def _received(self, attempt: Attempt, heap: bytes, how: str) -> list[str]:
        found = [f"{how}: the client has seen the canary in {place}" for place in sorted(self._canaries.seen_in(heap))]
        if attempt.never and attempt.never.encode() in heap:
            found.append(f'{how}: the client has seen "{attempt.never}"')
        return found

    def _by_messages(self, attempt: Attempt, environment: dict[str, str]) -> list[str]:
        connection = Libpq(environment, attempt.options)
        try:
            self.converse(connection, attempt)
        except NoAnswer:
            return ["messages: the session hangs"]
        finally:
            connection.close()
        return self._received(attempt, bytes(connection.heap), "messages")

    def converse(self, connection: Libpq, attempt: Attempt) -> None:
        """Raises NoAnswer."""
        messages = b"".join(to_bytes(step, self._oid_of) for step in attempt.protocol)
        connection.converse(messages + terminate(), unfinished=attempt.unfinished)

    def _oid_of(self, signature: str) -> int:
        row = self._direct.execute("select %s::regprocedure::oid::int8", (signature,)).fetchone()
        assert row is not None, "regprocedure raises where there is none"
        return int(row[0])

    def _by_libpq(self, attempt: Attempt, *, extended: bool) -> list[str]:
        how = "extended" if extended else "simple"
        connection = self._connection(attempt)
        connection.heap.clear()
        connection.answered = False
        try:
            for sql in attempt.sql:
                connection.run(self._placed(sql), extended=extended, copy=attempt.copy)
            if attempt.pipeline:
                connection.pipeline(attempt.pipeline)
        except NoAnswer:
            connection.close()
            self._connections.pop(attempt.user, None)
            return [f"{how}: the session hangs"]
        found = self._received(attempt, bytes(connection.heap), how)
        if attempt.tells and connection.answered:
            found.append(f"{how}: the database has answered")
        found += self._misled(connection, attempt, how)
        if attempt.own or attempt.options or not connection.alive:
            connection.close()
            if self._connections.get(attempt.user) is connection:
                del self._connections[attempt.user]
        return found

    def _connection(self, attempt: Attempt) -> Libpq:
        environment = self._environment(attempt.user)
        if attempt.own or attempt.options:
            return Libpq(environment, {key: self._placed(value) for key, value in attempt.options.items()})
        held = self._connections.get(attempt.user)
        if held is None:
            held = self._connections[attempt.user] = Libpq(environment, {})
        return held

    def _misled(self, connection: Libpq, attempt: Attempt, how: str) -> list[str]:
        if self._unguarded:
            connection.run("rollback", extended=False)
            return []
        identity = connection.identity()
        own = (attempt.user, attempt.user, f"{attempt.user}@{self._lab.realm.name}")
        return [] if identity in {None, own} else [f"{how}: the session is {identity} afterwards"]
