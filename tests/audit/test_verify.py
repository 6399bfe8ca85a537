"""Every tampering is found, and where."""

import gzip
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgguard.audit.chain import LINKED, Chain, verify
from pgguard.audit.files import all_files, closed_name, compress, reading
from pgguard.audit.log import AuditLog
from pgguard.audit.records import Changed
from pgguard.audit.settings import AuditSettings
from pgguard.audit.verify import verify_files
from pgguard.cli.main import main

NOW = "2026-03-02T10:00:00+00:00"


def lines(count, key=None):
    chain = Chain(key)
    return [chain.link(b'{"type":"change","at":"then","what":"start","detail":"%d"}' % n) for n in range(count)]


def flaws(content, key=None):
    return verify(content, key)[2]


@pytest.mark.parametrize("key", [None, b"secret"])
def test_an_untouched_chain_has_no_flaw(key):
    assert flaws(lines(10, key), key) == []


def test_another_key_does_not_verify():
    assert flaws(lines(3, b"secret"), b"other") != []


@given(st.integers(0, 9), st.data())
def test_any_altered_byte_is_found_at_its_line(number, data):
    """Also one that is no longer ASCII: comparing digests as text raised there instead of telling."""
    content = lines(10)
    at = data.draw(st.integers(0, len(content[number]) - 2))
    altered = bytearray(content[number])
    altered[at] ^= data.draw(st.integers(1, 255))
    content[number] = bytes(altered)
    found = [flaw.line for flaw in flaws(content)]
    assert found
    assert found[0] in (number + 1, number + 2)


@given(st.permutations(range(8)))
def test_any_reordering_is_found(order):
    content = lines(8)
    changed = [content[n] for n in order]
    assert (flaws(changed) == []) == (changed == content)


@given(st.integers(1, 8))
def test_a_missing_record_is_found(number):
    content = lines(10)
    del content[number]
    assert flaws(content)[0].line == number + 1


def test_an_added_record_is_found():
    content = lines(10)
    content.insert(4, Chain(None, content[3][9:73].decode()).link(b'{"type":"change"}'))
    assert [flaw.line for flaw in flaws(content)] == [6]


def test_a_cut_end_is_found_by_a_head_noted_elsewhere(tmp_path):
    content = lines(10)
    head = content[-1][9:73].decode()
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(content))
    assert verify_files([file], None, [head]).findings == ()
    file.write_bytes(b"".join(content[:-1]))
    assert verify_files([file], None).findings == ()
    assert "is in no record" in verify_files([file], None, [head]).findings[0].what


def test_a_cut_start_is_found(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(lines(10)[2:]))
    assert "not here" in verify_files([file], None).findings[0].what


def test_a_closed_file_that_was_cut_is_found(tmp_path):
    content = lines(10)
    closed = tmp_path / "a.jsonl.20260302T100000.000000"
    closed.write_bytes(b"".join(content[:-1]))
    closed.with_name(closed.name + ".head").write_bytes(content[-1][9:73] + b"\n")
    assert "noted when it was closed" in verify_files([closed], None).findings[0].what


# what somebody may do to the files of a log


@pytest.fixture
def log(tmp_path):
    """Three closed files, the first two compressed, and the open one; 4 records in each, and one that signs off."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(AuditSettings(path=path), NOW)
    for turn in range(4):
        for number in range(4):
            audit.append(Changed(NOW, "rules", f"{turn}-{number}"))
        if turn < 3:
            closed = closed_name(path, datetime(2026, 3, 2, turn, tzinfo=UTC))
            audit.rotate(closed, NOW)
            if turn < 2:
                compress(closed)
    audit.close()
    return path


def _found(path, heads=()):
    return [
        (Path(f.file).name, f.line, f.what.split(":")[0]) for f in verify_files(all_files(path), None, heads).findings
    ]


def _edit(file, change):
    """Change a file's lines, whether it is compressed or not."""
    with reading(file) as opened:
        content = list(opened)
    change(content)
    with gzip.open(file, "wb") if file.suffix == ".gz" else file.open("wb") as opened:
        opened.writelines(content)


def _rechained(content, key=None):
    """The chain computed anew from the first record, as whoever has no key can."""
    chain = Chain(key, content[0][87:151].decode())
    return [chain.link(b"{" + line[LINKED:].rstrip(b"\n")) for line in content]


def _forge(content):
    content[2] = content[2].replace(b"rules", b"start")
    content[:] = _rechained(content)


def _swap(one, other):
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)


_NOT_BEHIND = "it does not follow the record before it"
_FIRST, _SECOND, _THIRD = (f"audit.jsonl.20260302T0{hour}0000.000000" for hour in range(3))


def test_an_untouched_log_of_several_files_has_no_flaw(log):
    assert _found(log) == []


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        pytest.param(lambda f: _edit(f[0], lambda c: c.pop(0)), (_FIRST + ".gz", 1, "it goes on from records that are not here"), id="first record missing"),
        pytest.param(lambda f: _edit(f[1], lambda c: c.pop(2)), (_SECOND + ".gz", 3, _NOT_BEHIND), id="middle record missing"),
        pytest.param(lambda f: _edit(f[2], lambda c: c.pop()), ("audit.jsonl", 1, _NOT_BEHIND), id="closed file cut at a record"),
        pytest.param(lambda f: _edit(f[2], lambda c: c.clear()), ("audit.jsonl", 1, _NOT_BEHIND), id="closed file emptied"),
        pytest.param(lambda f: f[1].unlink(), (_THIRD, 1, _NOT_BEHIND), id="file missing"),
        pytest.param(lambda f: (f[1].unlink(), f[1].with_suffix(".head").unlink()), (_THIRD, 1, _NOT_BEHIND), id="file and its head missing"),
        pytest.param(lambda f: (f[0].unlink(), f[0].with_suffix(".head").unlink()), (_SECOND + ".gz", 1, "it goes on from records that are not here"), id="oldest file and its head missing"),
        pytest.param(lambda f: _edit(f[1], lambda c: c.reverse()), (_SECOND + ".gz", 1, _NOT_BEHIND), id="records reordered"),
        pytest.param(lambda f: _swap(f[0], f[1]), (_SECOND + ".gz", 1, _NOT_BEHIND), id="files swapped"),
        pytest.param(lambda f: _edit(f[1], lambda c: c.insert(2, c[2])), (_SECOND + ".gz", 4, _NOT_BEHIND), id="record twice"),
        pytest.param(lambda f: _edit(f[1], _forge), (_THIRD, 1, _NOT_BEHIND), id="record forged, file chained anew"),
        pytest.param(lambda f: _edit(f[3], lambda c: c.insert(2, lines(3)[2])), ("audit.jsonl", 3, _NOT_BEHIND), id="record of another node"),
        pytest.param(lambda f: f[1].write_bytes(gzip.compress(b"".join(lines(5)))), (_SECOND + ".gz", 1, _NOT_BEHIND), id="file of another node"),
        pytest.param(lambda f: f[0].with_name("audit.jsonl.20200101T000000.000000").write_bytes(b"".join(lines(5))), (_FIRST + ".gz", 1, _NOT_BEHIND), id="file slipped in before"),
        pytest.param(lambda f: f[3].write_bytes(f[3].read_bytes()[:-9]), ("audit.jsonl", 5, "its content was altered"), id="open file cut within a record"),
        pytest.param(lambda f: f[0].with_suffix(".head").write_bytes(b"\xff" * 64), (_FIRST + ".gz", 0, f'it does not end with the head in "{_FIRST}.head", noted when it was closed'), id="head altered"),
        pytest.param(lambda f: f[3].write_text("no record\n"), ("audit.jsonl", 1, "it is no audit record"), id="something else"),
    ],
)  # fmt: skip
def test_whatever_is_done_to_a_log_is_found_and_where(log, tamper, found):
    tamper(all_files(log))
    assert found in _found(log)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_altered_byte_of_a_compressed_file_is_found(log, at, flip):
    """But for those of gzip's header that say nothing of the content."""
    packed = all_files(log)[1]
    before = packed.read_bytes()
    altered = bytearray(before)
    altered[at % len(before)] ^= flip
    packed.write_bytes(bytes(altered))
    try:
        try:
            same = gzip.decompress(altered) == gzip.decompress(before)
        except (OSError, EOFError, zlib.error):
            same = False
        assert bool(_found(log)) is not same
    finally:
        packed.write_bytes(before)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_altered_byte_of_the_open_file_is_found(log, at, flip):
    """Ends of lines among them."""
    before = log.read_bytes()
    altered = bytearray(before)
    altered[at % len(before)] ^= flip
    log.write_bytes(bytes(altered))
    try:
        assert _found(log)
    finally:
        log.write_bytes(before)


def test_what_only_an_anchored_head_shows(log):
    """The end of the open file is signed off by nothing yet, and without a key all can be computed anew."""
    head = verify_files(all_files(log), None).head
    whole = log.read_bytes()
    _edit(log, lambda content: content.pop())
    assert _found(log) == []
    assert _found(log, [head]) == [("", 0, f'head "{head}" is in no record')]
    log.write_bytes(whole)
    _edit(log, _forge)
    assert _found(log) == []
    assert _found(log, [head]) == [("", 0, f'head "{head}" is in no record')]


def test_without_the_key_nothing_can_be_computed_anew(log, tmp_path):
    path = tmp_path / "keyed" / "audit.jsonl"
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    audit = AuditLog(AuditSettings(path=path, key_file=key), NOW)
    for number in range(5):
        audit.append(Changed(NOW, "rules", str(number)))
    audit.close()
    assert verify_files([path], b"k" * 32).findings == ()
    _edit(path, _forge)
    assert [f.line for f in verify_files([path], b"k" * 32).findings] == [1, 2, 3, 4, 5]


def test_a_file_removed_after_its_time_is_told_by_its_head(log):
    """That it was there is told each time: who removes the oldest file and leaves its head has not gone unseen."""
    all_files(log)[0].unlink()
    report = verify_files(all_files(log), None)
    assert (report.findings, report.behind) == ((), _FIRST)
    result = CliRunner().invoke(main, ["audit", "verify", str(log)])
    assert result.exit_code == 0
    assert f"it begins behind {_FIRST}, which is no longer here" in result.output
