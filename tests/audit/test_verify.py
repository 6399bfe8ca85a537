"""Every tampering is found, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.audit.chain import Chain, verify
from pgguard.audit.verify import verify_files


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
