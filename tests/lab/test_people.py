"""Directory files: what is read, and what is said of one that does not fit."""

from pathlib import Path

import pytest

from pgguard.lab.errors import LabError
from pgguard.lab.people import read_people


def _read(tmp_path: Path, text: str):
    path = tmp_path / "people.yaml"
    path.write_text(text)
    return read_people(path)


def test_users_and_nested_groups(tmp_path: Path):
    people = _read(tmp_path, "users: {alice: {password: x, groups: [a]}, zoe: }\ngroups: {a: {groups: [b]}}\n")
    assert people.groups_of("alice") == ("a",)
    assert people.password_of("alice") == "x"
    assert people.groups_of("zoe") == ()
    assert people.password_of("zoe") is None
    assert people.all_groups() == ["a", "b"]
    assert people.outer_groups_of("a") == ("b",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("users: {alice: {pasword: x}}", "pasword"),
        ("groups: {}", "users"),
        ("users: [alice]", "users"),
        ("users: {alice: {groups: dba}}", "groups"),
        ("users: {", "people.yaml"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, complaint: str):
    with pytest.raises(LabError, match=complaint):
        _read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(LabError, match=r"nobody\.yaml"):
        read_people(tmp_path / "nobody.yaml")
