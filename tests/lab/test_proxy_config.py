"""The configuration that a lab writes: overridable by dotted keys, and TOML whatever is in it."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.lab.errors import LabError
from pgguard.lab.proxy import override, to_toml


def test_a_setting_is_toml_where_it_can_be_and_text_otherwise():
    sections = {"audit": {"sync": "os"}}
    override(
        sections, ["audit.sync=always", "limits.sessions=3", "rules.watch=false", 'kerberos.map=["a b"]', "x.y=a=b"]
    )
    assert sections == {
        "audit": {"sync": "always"},
        "limits": {"sessions": 3},
        "rules": {"watch": False},
        "kerberos": {"map": ["a b"]},
        "x": {"y": "a=b"},
    }


@pytest.mark.parametrize("setting", ["audit", "audit.sync", "sync=always", ".sync=x", "audit.=x"])
def test_a_setting_without_section_key_and_value_is_refused(setting: str):
    with pytest.raises(LabError, match=r"section\.key=value"):
        override({}, [setting])


_values = st.one_of(st.text(st.characters(codec="utf-8")), st.integers(-(2**63), 2**63 - 1), st.booleans())


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), st.one_of(_values, st.lists(_values))))
def test_what_is_written_reads_back(settings: dict):
    assert tomllib.loads(to_toml({"section": settings})) == {"section": settings}


def test_a_path_is_written_as_text():
    assert tomllib.loads(to_toml({"audit": {"path": Path("/a b")}})) == {"audit": {"path": "/a b"}}
