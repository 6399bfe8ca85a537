"""Keeps the process that ships the audit, and tells those who watch how far each target is.

Theory of operation. The process has the log's path and targets from its standard input, whose end ends it: it cannot
outlive pgguard for long, however pgguard ends. It is started anew when it dies. How far it is stands in a file
(`audit/shipping/status.py`).
"""

import asyncio
import logging
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from datetime import datetime

from pgguard.audit.settings import AuditSettings
from pgguard.audit.shipping.shipper import settings_line
from pgguard.audit.shipping.status import read_status
from pgguard.runtime.metrics import Family, labelled

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 5.0


class Shipping:
    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        if self._settings.ship:
            self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """Let it deliver what it can in a moment; what it cannot waits in the file."""
        if self._task is None:
            return
        self._stopping = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._task
        except TimeoutError:
            if self._process is not None:
                self._process.kill()

    async def _keep_running(self) -> None:
        while not self._stopping:
            try:
                how = f"ended with status {await self._run()}"
            except OSError as error:
                how = f"cannot run: {error}"
            if not self._stopping:
                _log.error("the process that ships the audit %s, and is started again", how)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _run(self) -> int:
        """Run it to its end, and pass on what it tells."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "pgguard.audit.shipping", stdin=PIPE, stderr=PIPE
        )
        self._process = process
        try:
            assert process.stdin is not None, "it is a pipe"
            assert process.stderr is not None, "it is a pipe"
            process.stdin.write(settings_line(self._settings.path, self._settings.ship))
            async for line in process.stderr:
                _log.warning("audit shipping: %s", line.decode("utf-8", "replace").rstrip())
            return await process.wait()
        finally:
            self._process = None

    def families(self) -> Iterator[Family]:
        if not self._settings.ship:
            return
        up, behind = [], []
        for target in self._settings.ship:
            status = read_status(self._settings.path, target.name)
            labels = labelled(target=target.name)
            well = self._process is not None and status is not None and not status.trouble
            up.append(("", labels, int(well)))
            behind.append(("", labels, 0.0 if status is None else _seconds_since(status.since)))
        yield Family("audit_ship_up", "gauge", "Whether the target took records last.", tuple(up))
        yield Family("audit_ship_behind_seconds", "gauge", "Age of the oldest record that waits.", tuple(behind))


def _seconds_since(at: str) -> float:
    try:
        return max(0.0, time.time() - datetime.fromisoformat(at).timestamp())
    except ValueError:
        return 0.0
