"""The schema for editors: it passes all that loads (`asking.rules_of` asks it too), and tells most of what does not."""

import re
from pathlib import Path

import pytest

from pgguard.model.access import Kind
from pgguard.policy import schema
from pgguard.policy.rule_reader import WHO_KEYS

from .asking import fits_schema

ROOT = Path(__file__).parents[2]
INVALID = Path(__file__).parent / "invalid"
PASSED_OVER = frozenset({
    "all-that-is-nothing", "baseline-name", "columns-of-a-sequence", "columns-with-delete", "condition-cycle",
    "dates-no-day", "duplicate-name", "estimated-rows-beyond-numbers", "estimated-rows-infinite",
    "estimated-rows-not-a-number", "from-host-bits", "from-mapped", "function-empty-argument",
    "function-upper-case-argument", "hold-of-its-own-approvers", "hold-too-few-approvers", "hours-empty",
    "hours-past-midnight", "privilege-no-kind-has", "privilege-of-another-kind", "privilege-of-one-kind-of-two",
    "state-operator-alone", "state-operator-turned-round", "state-orders-booleans", "state-orders-text",
    "statement-kind", "statement-shape", "text-with-nul", "timeout-beyond-clocks", "timezone-of-the-machine",
    "timezone-unknown", "unknown-condition", "unknown-label", "unknown-probe", "until-no-date",
})  # fmt: skip
"""What only a load can tell: it depends on other places, on other keys' values, or on more than the form of a text."""


def documents() -> list[str]:
    files = [*(ROOT / "rules").glob("*.yaml"), ROOT / "pgguard" / "policy" / "baseline.yaml"]
    texts = [file.read_text() for file in files if not file.name.endswith(".test.yaml")]
    for page in (ROOT / "docs").glob("*.md"):
        texts += [t for t in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL) if t.startswith("rules:")]
    return texts


def test_what_is_shipped_and_documented_fits():
    assert len(documents()) > 6
    assert all(fits_schema(text.encode()) for text in documents())


@pytest.mark.parametrize("path", sorted(INVALID.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_does_not_load_does_not_fit_but_for_what_only_a_load_can_tell(path: Path):
    fits = fits_schema(path.read_bytes())
    if fits is not None:  # YAML itself is the editor's business
        assert fits is (path.stem in PASSED_OVER)


def test_a_key_that_only_the_reader_knows_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schema, "WHO_KEYS", ("realm", *WHO_KEYS))
    with pytest.raises(ValueError, match="realm"):
        schema.schema()


def test_every_kind_is_told_with_its_privileges():
    on = schema.schema()["definitions"]["rule"]["properties"]["on"]["anyOf"][1]["properties"]
    assert set(on) == {*Kind, "any"}
    assert on["sequence"]["description"] == "Privileges: usage, select, update, create, alter, drop, grant."
    assert "select(columns)" in on["table"]["description"]
