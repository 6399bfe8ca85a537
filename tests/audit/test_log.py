"""The log as a file: several writers, crashes, a full disk, rotation."""

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgguard.audit.chain import verify
from pgguard.audit.files import all_files, closed_files, closed_name, compress, keep_house, reading
from pgguard.audit.log import AuditLog, AuditUnavailable
from pgguard.audit.records import Changed, read_record
from pgguard.audit.settings import AuditSettings
from pgguard.audit.upkeep import Upkeep
from pgguard.audit.verify import verify_files

NOW = "2026-03-02T10:00:00+00:00"

WRITER = """
import sys
from pathlib import Path
from pgguard.audit.log import AuditLog
from pgguard.audit.records import Changed
from pgguard.audit.settings import AuditSettings
log = AuditLog(AuditSettings(path=Path(sys.argv[1])), "then")
for number in range(int(sys.argv[3])):
    log.append(Changed("then", "start", f"{sys.argv[2]} {number} " + "x" * (number % 3000)))
    print(number, flush=True)
    if number % 20 == 19:
        sys.stdin.readline()
"""


def open_log(path: Path, **settings: object) -> AuditLog:
    return AuditLog(AuditSettings(path=path, **settings), NOW)


def check(path: Path) -> list[str]:
    """Verify all files in order; the details of their records."""
    head, details = None, []
    for file in all_files(path):
        with reading(file) as lines:
            content = list(lines)
        head, count, flaws = verify(content, None, head)
        assert flaws == [], file
        assert count == len(content)
        details += [read_record(line).detail for line in content]
    return details


def writer(path: Path, name: str, count: int, *, paced: bool = False) -> subprocess.Popen[bytes]:
    """`paced`: each 20 records wait for a line: locks of files are not fair, and three writers would leave no room."""
    stdin = subprocess.PIPE if paced else subprocess.DEVNULL
    command = [sys.executable, "-c", WRITER, path, name, str(count)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)


def go_on(writers: list[subprocess.Popen[bytes]]) -> None:
    for process in writers:
        process.stdout.readline()
        with suppress(BrokenPipeError):  # it has ended
            process.stdin.write(b"\n")
            process.stdin.flush()


def test_a_log_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "a.jsonl"
    for number in range(3):
        log = open_log(path)
        log.append(Changed(NOW, "start", str(number)))
        log.close()
    assert check(path) == ["0", "1", "2"]


def test_several_processes_write_one_chain(tmp_path):
    path = tmp_path / "a.jsonl"
    writers = [writer(path, name, 200) for name in "abc"]
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    details = check(path)
    for name in "abc":
        assert [d.split()[1] for d in details if d.startswith(name)] == [str(n) for n in range(200)]


def test_processes_follow_a_rotation(tmp_path):
    path = tmp_path / "a.jsonl"
    one, two = open_log(path), open_log(path)
    for number in range(20):
        (one, two)[number % 2].append(Changed(NOW, "start", str(number)))
        if number % 5 == 4:
            one.rotate(closed_name(path, datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=number)), NOW)
    one.close()
    two.close()
    assert len(closed_files(path)) == 4
    assert [d for d in check(path) if d.isdigit()] == [str(n) for n in range(20)]


def test_rotation_while_others_write(tmp_path):
    path = tmp_path / "a.jsonl"
    writers = [writer(path, name, 300, paced=True) for name in "ab"]
    log = open_log(path)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    turn = 0
    while any(process.poll() is None for process in writers):
        turn += 1
        log.rotate(closed_name(path, start + timedelta(seconds=turn)), NOW)
        go_on(writers)
    for process in writers:
        process.communicate(timeout=60)
    log.close()
    assert turn > 1
    details = check(path)
    for name in "ab":
        assert [d.split()[1] for d in details if d.startswith(name + " ")] == [str(n) for n in range(300)]


def test_compression_and_removal_while_others_write_refuse_no_record(tmp_path):
    """Whoever came to an empty file looked for the newest closed one, and found it compressed or removed meanwhile."""
    path = tmp_path / "a.jsonl"
    writers = [writer(path, name, 400, paced=True) for name in "abc"]
    log = open_log(path)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    turn = 0
    while any(process.poll() is None for process in writers):
        turn += 1
        now = start + timedelta(seconds=turn)
        log.rotate(closed_name(path, now), NOW)
        keep_house(path, now, compressing=True, keep_days=5 / 86_400)
        go_on(writers)
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    log.close()
    assert turn > 6
    report = verify_files(all_files(path), None)
    assert report.findings == ()
    assert report.behind != ""


def test_a_closed_file_that_is_compressed_just_then_is_looked_for_again(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    head = log.head
    log.close()
    closed = closed_name(path, datetime(2026, 3, 2, tzinfo=UTC))
    path.rename(closed)
    seen = closed_files(path)
    compress(closed)
    found = iter([seen, closed_files(path)])
    monkeypatch.setattr("pgguard.audit.log.closed_files", lambda _: next(found))
    late = open_log(path)
    late.append(Changed(NOW, "start", "1"))
    late.close()
    assert path.read_bytes()[87:151].decode() == head


def test_who_slept_through_two_rotations_goes_on_from_the_last(tmp_path):
    """Seen under load: whoever created the third file went on from the first one's head."""
    path = tmp_path / "a.jsonl"
    sleeper, busy = open_log(path), open_log(path)
    sleeper.append(Changed(NOW, "start", "0"))
    for turn in (1, 2):
        busy.rotate(closed_name(path, datetime(2026, 3, 2, 0, turn, tzinfo=UTC)), NOW)
        busy.append(Changed(NOW, "start", str(turn)))
    path.rename(closed_name(path, datetime(2026, 3, 2, 0, 3, tzinfo=UTC)))  # and the next file is not there yet
    sleeper.append(Changed(NOW, "start", "3"))
    assert [detail for detail in check(path) if len(detail) == 1] == ["0", "1", "2", "3"]


def test_a_foreign_line_is_a_flaw_and_breaks_nothing_after_it(tmp_path):
    """What stood at the place of its hash became the previous hash of the next record."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    with path.open("ab") as file:
        file.write(b"somebody wrote this\n")
    log.append(Changed(NOW, "start", "1"))
    log.close()
    content = path.read_bytes().splitlines(keepends=True)
    assert verify(content, None)[2] == [(2, "it is no audit record")]
    assert read_record(content[2]) == Changed(NOW, "start", "1")


def test_logrotate_may_take_the_file_away(tmp_path):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    path.rename(tmp_path / "a.jsonl.1")
    log.append(Changed(NOW, "start", "1"))
    log.close()
    head, _, flaws = verify((tmp_path / "a.jsonl.1").read_bytes().splitlines(keepends=True), None)
    assert flaws == []
    assert verify(path.read_bytes().splitlines(keepends=True), None, head)[1:] == (1, [])


@pytest.mark.parametrize("moved", [("a.jsonl.1",), ("a.jsonl.2", "a.jsonl.1"), ("a.jsonl-20260302",)])
def test_logrotate_may_take_the_file_away_while_nothing_runs(tmp_path, moved):
    """The next file went on from nothing, as if the records before had been removed."""
    path = tmp_path / "a.jsonl"
    for name in moved:
        log = open_log(path)
        log.append(Changed(NOW, "start", name))
        log.close()
        path.rename(tmp_path / name)
    (tmp_path / "a.jsonl.gz").write_bytes(b"no log, and older")
    os.utime(tmp_path / "a.jsonl.gz", (0, 0))
    log = open_log(path)
    log.append(Changed(NOW, "start", "last"))
    log.close()
    report = verify_files([*(tmp_path / name for name in moved), path], None)
    assert (report.records, report.findings) == (len(moved) + 1, ())


def test_kill_at_any_moment_loses_no_record_that_was_told_of(tmp_path):
    path = tmp_path / "a.jsonl"
    told = []
    for turn in range(6):
        process = writer(path, str(turn), 100_000)
        for _ in range(20 + turn * 37):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
        last = 20 + turn * 37 - 1 if not rest.strip() else int(rest.split()[-1])
        told.append(last)
    log = open_log(path)
    log.close()
    details = check(path)
    for turn, last in enumerate(told):
        written = [int(d.split()[1]) for d in details if d.startswith(f"{turn} ")]
        assert written[: last + 1] == list(range(last + 1))


def test_a_torn_line_is_cut_off_and_told_of(tmp_path):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"hash":"12')
    log = open_log(path)
    log.append(Changed(NOW, "start", "1"))
    log.close()
    assert check(path) == ["0", "cut off 11 bytes of an unfinished record", "1"]


def test_a_line_torn_by_another_process_is_cut_off_by_the_next_append(tmp_path):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    with path.open("ab") as file:
        file.write(b'{"hash":"12')
    log.append(Changed(NOW, "start", "1"))
    log.close()
    assert "1" in check(path)


@contextmanager
def no_file_beyond(size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_compression_that_finds_no_room_leaves_the_room_to_records(tmp_path):
    """What it had written stayed, and was all the room that was left: every statement was refused then."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    for number in range(100):
        log.append(Changed(NOW, "start", str(number)))
    closed = closed_name(path, datetime(2026, 3, 2, tzinfo=UTC))
    log.rotate(closed, NOW)
    with no_file_beyond(200), pytest.raises(OSError, match="too large"):
        keep_house(path, datetime(2026, 3, 3, tzinfo=UTC), compressing=True, keep_days=0)
    assert not list(tmp_path.glob("*.gz*"))
    keep_house(path, datetime(2026, 3, 3, tzinfo=UTC), compressing=True, keep_days=0)
    log.close()
    assert closed_files(path)[0].suffix == ".gz"
    check(path)


def test_a_rotation_that_finds_no_room_breaks_nothing(tmp_path):
    """Whether the note of the head or the first record of the next file is what has no room."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    for turn, room in enumerate((10, 100)):
        log.append(Changed(NOW, "start", str(turn)))
        closed = closed_name(path, datetime(2026, 3, 2, turn, tzinfo=UTC))
        with no_file_beyond(room), pytest.raises(AuditUnavailable, match="cannot rotate"):
            log.rotate(closed, NOW)
    log.append(Changed(NOW, "start", "2"))
    log.close()
    assert verify_files(all_files(path), None).findings == ()
    assert check(path) == ["0", "1", "2"]


def test_a_full_disk_refuses_and_then_goes_on(tmp_path):
    """A limit on the size of files stands for the full disk: the write is cut short, as there."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    before = path.stat().st_size
    with no_file_beyond(before + 50):
        for _ in range(3):
            with pytest.raises(AuditUnavailable, match=r"cannot write audit log"):
                log.append(Changed(NOW, "start", "lost"))
        assert path.stat().st_size == before
    log.append(Changed(NOW, "start", "1"))
    log.close()
    assert check(path) == ["0", "1"]


async def test_one_sync_serves_all_that_wait(tmp_path, monkeypatch):
    log = open_log(tmp_path / "a.jsonl", sync="always")
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(1), time.sleep(0.01), real(fd)))
    await asyncio.gather(*(log.commit(Changed(NOW, "start", str(n))) for n in range(100)))
    assert 1 <= len(synced) <= 3
    monkeypatch.undo()
    log.close()


async def test_nothing_waits_for_what_has_happened_to_be_on_disk(tmp_path, monkeypatch):
    """Each outcome was synced on the event loop: with sync = "always" all sessions waited for the disk at each one's."""
    path, synced = tmp_path / "a.jsonl", []
    log = open_log(path, sync="always")
    monkeypatch.setattr(os, "fdatasync", synced.append)
    log.follow_up([Changed(NOW, "start", str(number)) for number in range(3)])
    assert check(path) == ["0", "1", "2"]
    assert not synced
    now = datetime.fromisoformat(NOW)
    Upkeep(log, AuditSettings(path=path, sync="always"), now).tick(now)
    assert len(synced) == 1
    log.close()


def test_of_records_that_do_not_fit_none_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) * 2 // 3]))
    with pytest.raises(AuditUnavailable):
        log.follow_up([Changed(NOW, "start", str(number)) for number in range(1, 4)])
    monkeypatch.undo()
    log.append(Changed(NOW, "start", "4"))
    assert check(path) == ["0", "4"]
    log.close()


async def test_what_stands_in_a_file_that_was_moved_away_is_synced_too(tmp_path, monkeypatch):
    """logrotate moves the file between a record and its sync: the sync went to the new file alone."""
    path = tmp_path / "a.jsonl"
    log = open_log(path, sync="always")
    synced = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd)))
    moved = path.stat().st_ino
    log.follow_up([Changed(NOW, "start", "0")])
    path.rename(tmp_path / "a.jsonl.1")
    await log.commit(Changed(NOW, "start", "1"))
    log.close()
    assert {moved, path.stat().st_ino} == set(synced)


async def test_a_failed_sync_is_a_refusal(tmp_path, monkeypatch):
    log = open_log(tmp_path / "a.jsonl", sync="always")

    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(AuditUnavailable, match=r"Input/output error"):
        await log.commit(Changed(NOW, "start"))
    monkeypatch.undo()
    log.close()


def _sync_behind(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread in which a log opened from now on syncs what is committed waits for the gate first."""

    class Gated(ThreadPoolExecutor):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            self.submit(gate.wait)

    monkeypatch.setattr("pgguard.audit.log.ThreadPoolExecutor", Gated)


async def test_a_record_waits_for_the_sync_that_another_thread_has_begun(tmp_path, monkeypatch):
    """The upkeep's flush of each second took the mark from the log: a commit just then found nothing to wait for."""
    gate, over, early = threading.Event(), threading.Event(), []
    _sync_behind(gate, monkeypatch)
    log = open_log(tmp_path / "a.jsonl", sync="always")
    monkeypatch.setattr(os, "fdatasync", lambda _: early.append(gate.set() or over.wait(0.5)))
    committed = log.commit(Changed(NOW, "start"))
    committed.add_done_callback(lambda _: over.set())
    upkeep = threading.Thread(target=log.flush)
    upkeep.start()
    await committed
    upkeep.join()
    assert early == [False]
    monkeypatch.undo()
    log.close()


async def test_a_record_that_another_thread_could_not_sync_is_a_refusal(tmp_path, monkeypatch):
    """The kernel tells of what it has lost once: the next fdatasync succeeds, over a record that is nowhere."""
    gate, losses = threading.Event(), [OSError(5, "Input/output error")]
    _sync_behind(gate, monkeypatch)
    log = open_log(tmp_path / "a.jsonl", sync="always")

    def fail_once(fd):
        if losses:
            raise losses.pop()

    monkeypatch.setattr(os, "fdatasync", fail_once)
    committed = log.commit(Changed(NOW, "start"))
    with pytest.raises(AuditUnavailable, match=r"Input/output error"):
        log.flush()
    gate.set()
    with pytest.raises(AuditUnavailable, match=r"Input/output error"):
        await committed
    await log.commit(Changed(NOW, "start"))
    monkeypatch.undo()
    log.close()


async def test_who_gives_up_takes_the_sync_from_nobody(tmp_path, monkeypatch):
    gate = threading.Event()
    _sync_behind(gate, monkeypatch)
    log = open_log(tmp_path / "a.jsonl", sync="always")
    first, second = (log.commit(Changed(NOW, "start", str(number))) for number in range(2))
    first.cancel()
    gate.set()
    await second
    assert check(tmp_path / "a.jsonl") == ["0", "1"]
    log.close()


def test_a_file_that_cannot_be_followed_is_followed_by_the_next_record(tmp_path, monkeypatch):
    """What the next file had been opened as kept its lock, and the next record waited for that without end."""
    path = tmp_path / "a.jsonl"
    log = open_log(path, sync="interval")
    log.append(Changed(NOW, "start", "0"))
    path.rename(tmp_path / "a.jsonl.1")

    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(AuditUnavailable, match=r"Input/output error"):
        log.append(Changed(NOW, "start", "1"))
    monkeypatch.undo()
    with path.open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log.append(Changed(NOW, "start", "2"))
    log.close()
    assert [read_record(line).detail for line in path.read_bytes().splitlines(keepends=True)] == ["2"]


def test_a_closed_file_that_cannot_be_read_is_a_refusal(tmp_path):
    """It raised what nobody expects of a record: the session of a statement's outcome broke."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    path.rename(tmp_path / "a.jsonl.1")
    closed = closed_name(path, datetime.now(UTC))
    closed.with_name(closed.name + ".gz").write_bytes(b"no gzip")
    with pytest.raises(AuditUnavailable, match=r"gz: cannot be decompressed"):
        log.append(Changed(NOW, "start", "1"))


def test_upkeep_rotates_compresses_and_removes(tmp_path):
    path = tmp_path / "a.jsonl"
    settings = AuditSettings(path=path, rotate_bytes=500, keep_days=1)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    log = AuditLog(settings, NOW)
    upkeep = Upkeep(log, settings, start)
    for hour in range(48):
        log.append(Changed(NOW, "start", "x" * 600))
        upkeep.tick(start + timedelta(hours=hour))
    closed = closed_files(path)
    assert 20 < len(closed) < 28
    assert all(file.suffix == ".gz" for file in closed)
    check(path)
    log.close()


def test_a_compressed_file_is_as_private_as_the_log(tmp_path):
    """It was made anew by the umask: the whole world could read what the open file kept to its group."""
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    closed = closed_name(path, datetime(2026, 3, 2, tzinfo=UTC))
    log.rotate(closed, NOW)
    log.close()
    assert compress(closed).stat().st_mode == path.stat().st_mode


def test_a_crash_while_compressing_counts_no_record_twice(tmp_path):
    path = tmp_path / "a.jsonl"
    log = open_log(path)
    log.append(Changed(NOW, "start", "0"))
    closed = closed_name(path, datetime(2026, 3, 2, tzinfo=UTC))
    log.rotate(closed, NOW)
    log.close()
    plain = closed.read_bytes()
    packed = compress(closed)
    closed.write_bytes(plain)
    assert closed_files(path) == [packed]
    assert check(path)[0] == "0"
    keep_house(path, datetime(2026, 3, 3, tzinfo=UTC), compressing=True, keep_days=0)
    assert not closed.exists()
