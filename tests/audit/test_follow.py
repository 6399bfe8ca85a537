"""Following a log from any place in it, whatever becomes of its files meanwhile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgguard.audit.files import all_files, closed_files, closed_name, compress, reading
from pgguard.audit.follow import Follower, Position, end_of, last_lines
from pgguard.audit.log import AuditLog
from pgguard.audit.records import Changed, read_record
from pgguard.audit.settings import AuditSettings

NOW = "2026-03-02T10:00:00+00:00"
START = datetime(2026, 3, 2, tzinfo=UTC)


class Written:
    """A log of numbered records."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.jsonl"
        self.log = AuditLog(AuditSettings(path=self.path), NOW)
        self._closed = 0
        self.count = 0

    def add(self, count: int = 1, length: int = 0) -> None:
        for _ in range(count):
            self.log.append(Changed(NOW, "start", f"{self.count} " + "x" * length))
            self.count += 1

    def rotate(self) -> Path:
        self._closed += 1
        closed = closed_name(self.path, START + timedelta(seconds=self._closed))
        self.log.rotate(closed, NOW)
        return closed


@pytest.fixture
def follow():
    """Followers that end with the test."""
    made = []

    def start(path, position=None):
        made.append(Follower(path, position))
        return made[-1]

    yield start
    for follower in made:
        follower.close()


@pytest.fixture
def written(tmp_path):
    made = Written(tmp_path)
    yield made
    made.log.close()


def numbers(lines: list[bytes]) -> list[int]:
    """The numbers of the records among the lines that `add` made."""
    found = [read_record(line) for line in lines]
    return [int(record.detail.split()[0]) for record in found if record.what == "start"]


def rest(follower: Follower, limit: int = 300) -> list[int]:
    """All that can be read now; also that missing files are given up."""
    lines, empty = [], 0
    while empty < 20:
        read = follower.read(limit)
        lines += read
        empty = 0 if read else empty + 1
    return numbers(lines)


def test_it_reads_over_rotations_as_they_happen(written, follow):
    follower, seen = follow(written.path), []
    for turn in range(6):
        written.add(7, length=turn * 40)
        if turn % 2:
            compress(written.rotate())
            written.add(3)
        seen += rest(follower)
    assert seen == list(range(written.count))
    assert follower.gaps == 0


def test_it_goes_on_from_every_position_after_all_was_rotated_and_compressed(written, follow):
    follower, positions = follow(written.path), []
    for _ in range(3):
        written.add(5)
        while read := follower.read(1):
            positions += [(follower.position, numbers(read)[-1:])]
        written.rotate()
    written.add(2)
    for _ in rest(follower):
        pass
    for closed in closed_files(written.path)[:2]:
        compress(closed)
    for position, last in positions:
        again = rest(follow(written.path, position))
        assert again == list(range((last or again)[0] + bool(last), written.count))


def test_an_open_file_is_read_to_its_end_after_it_was_taken_away(written, follow):
    written.add(5, length=500)
    follower = follow(written.path)
    first = numbers(follower.read(1000))
    written.add(5)
    compress(written.rotate())
    written.add(1)
    for closed in closed_files(written.path):
        closed.unlink()
    assert first + rest(follower) == list(range(11))
    assert follower.gaps == 0


def test_it_follows_logrotate_which_names_files_otherwise(written, follow):
    written.add(5)
    follower = follow(written.path)
    first = numbers(follower.read(1))
    position = follower.position
    written.path.rename(written.path.with_name("a.jsonl.1"))
    assert numbers(follower.read(10**6)) == [1, 2, 3, 4][len(first) - 1 :] or first == [0, 1, 2, 3, 4]
    written.add(3)
    assert rest(follower) == [5, 6, 7]
    assert rest(follow(written.path, position))[-4:] == [4, 5, 6, 7]


def test_a_file_that_was_removed_unread_is_a_gap_and_the_rest_is_read(written, follow):
    written.add(3)
    follower = follow(written.path)
    follower.read(10**6)
    position = follower.position
    written.rotate()
    written.add(3)
    written.rotate()
    written.add(3)
    for closed in closed_files(written.path):
        closed.unlink()
    assert rest(follower) == [6, 7, 8]
    assert follower.gaps == 1
    restarted = follow(written.path, position)
    assert rest(restarted) == [6, 7, 8]
    assert restarted.gaps == 1


def test_a_torn_line_is_not_read_and_what_takes_its_place_is(written, follow):
    written.add(1)
    follower = follow(written.path)
    assert numbers(follower.read(10**6)) == [0]
    with written.path.open("ab") as file:
        file.write(b'{"hash":"' + b"1" * 500)
    assert follower.read(10**6) == []
    written.add(1)
    assert numbers(follower.read(10**6)) == [1]


def test_a_line_longer_than_asked_for_is_read_whole(written, follow):
    written.add(2, length=100_000)
    follower = follow(written.path)
    assert numbers(follower.read(10)) == [0]
    assert numbers(follower.read(10)) == [1]


def test_a_position_in_another_log_of_the_name_is_not_believed(written, follow):
    written.add(3)
    follower = follow(written.path)
    follower.read(10**6)
    position = follower.position
    assert position is not None
    wrong = Position(position.file, position.offset, "0" * 63 + "1")
    again = follow(written.path, wrong)
    assert rest(again) == [0, 1, 2]
    assert again.gaps == 1


def test_the_last_lines_are_found_from_the_end(written):
    written.add(3, length=100_000)
    written.rotate()
    written.add(2)
    with written.path.open("ab") as file:
        file.write(b'{"hash":"1')
    lines = list(last_lines(written.path, end_of(written.path)))
    everything = []
    for file in all_files(written.path):
        with reading(file) as opened:
            everything += [line.removesuffix(b"\n") for line in opened if line.endswith(b"\n")]
    assert lines == everything[::-1]


def test_from_the_end_of_a_log_whose_last_file_is_packed_only_what_is_written_then_is_read(written, follow):
    written.add(3)
    compress(written.rotate())
    written.path.unlink()  # as between a rotation and the next record
    follower = follow(written.path, end_of(written.path))
    assert rest(follower) == []
    written.add(2)
    assert rest(follower) == [3, 4]


def test_from_the_end_only_what_is_written_then_is_read(written, follow):
    written.add(3)
    follower = follow(written.path, end_of(written.path))
    assert follower.read(10**6) == []
    written.add(1)
    written.rotate()
    written.add(1)
    assert rest(follower) == [3, 4]
