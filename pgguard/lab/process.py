"""Servers as processes: started under the right account, waited for, and ended by their pid, whatever happens.

Theory of operation. A server that belongs to a test is *tied*: the kernel ends it when its parent dies
(PR_SET_PDEATHSIG, prctl(2)), so that even a killed test run leaves nothing behind. A server of `pgguard lab up` must
outlive the command and is not tied; `lab down` finds it by its pid. A pid can be reused: before a signal goes out the
process is pinned by a pidfd and recognised by the lab's folder on its command line.

PostgreSQL and slapd do not run as root: for root they change to the accounts of their Debian packages.
util-linux's setpriv does both (it is essential on Debian) and keeps Python code out of the forked child.
"""

import os
import pwd
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pgguard.lab.errors import LabError

_POLL_SECONDS = 0.02


class Process:
    """One running server; its output goes to `log`."""

    def __init__(  # noqa: PLR0913 -- what a process has, each by its keyword
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        account: str | None = None,
        environment: Mapping[str, str] | None = None,
        tied: bool = True,
        end_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._end_with = end_with
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*_prefix(account, tied=tied), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the command at the terminal; it then ends its servers in order
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Return once `ready()`; raises LabError with the end of the log if the server ends before, or takes longer."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise LabError(f"{self.name} ended with status {self._popen.returncode}; its log says:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise LabError(f"{self.name} was not ready after {seconds:.0f} s; its log says:\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, seconds: float = 15.0) -> None:
        """End the server in its orderly way, or by SIGKILL if that takes longer than `seconds`."""
        if not self.running():
            return
        self._popen.send_signal(self._end_with)
        self._popen.send_signal(signal.SIGCONT)  # a test may have paused it
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


def end_by_pid(pid: int, mark: str, *, end_with: signal.Signals = signal.SIGTERM, seconds: float = 15.0) -> bool:
    """End a process that is no child of ours, if `mark` is on its command line; False if there is no such process."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if mark not in _command_line(pid):
            return False
        for sign, patience in ((end_with, seconds), (signal.SIGKILL, None)):
            signal.pidfd_send_signal(handle, sign)
            if select.select([handle], [], [], patience)[0]:
                break
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return True


def await_reaping(pids: Iterable[int], seconds: float = 3.0) -> None:
    """Give whoever is their parent now (init) a moment: until then the pids are zombies', and look alive to scripts."""
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def running_with_mark(pid: int, mark: str) -> bool:
    """Whether the process lives and is the one that was started for the folder `mark`."""
    return mark in _command_line(pid)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run(
    command: Sequence[str | Path],
    *,
    account: str | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
) -> str:
    """Run a tool to its end and return its output; raises LabError with all it said if it fails."""
    words = [*_prefix(account, tied=True), *map(str, command)]
    done = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        raise LabError(f'"{Path(command[0]).name}" failed with status {done.returncode}:\n{done.stdout}{done.stderr}')
    return done.stdout


def find_program(name: str, package: str) -> Path:
    """The path of a program, also where /usr/sbin is not on the PATH of an ordinary user."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise LabError(f'"{name}" is not installed; run: apt-get install {package}')
    return Path(found)


def own_folder(folder: Path, account: str | None) -> Path:
    """Make a folder that belongs to the account (when we are root; else to ourselves), private to it."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and account is not None:
        entry = pwd.getpwnam(account)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    folder.chmod(0o711)
    return folder


def can_enter(folder: Path, account: str) -> bool:
    """Whether a server under the account reaches the folder: one below a private home, say, it does not."""
    words = [*_prefix(account, tied=False), "test", "-x", str(folder)]
    return subprocess.run(words, check=False, cwd="/").returncode == 0


def _prefix(account: str | None, *, tied: bool) -> list[str]:
    options: list[str] = []
    if account is not None and os.geteuid() == 0:
        try:
            group = pwd.getpwnam(account).pw_gid
        except KeyError:
            raise LabError(
                f'there is no account "{account}" on this machine; it comes with the Debian package'
            ) from None
        options += ["--reuid", account, "--regid", str(group), "--init-groups"]
    if tied:
        options += ["--pdeathsig", "TERM"]
    return ["setpriv", *options, "--"] if options else []
