"""What the lock pins installs on Debian 12, with the Python that it has."""

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.specifiers import SpecifierSet

_PINNED = re.findall(r"^([\w.-]+)==", (Path(__file__).parents[2] / "requirements.lock").read_text(), re.MULTILINE)
_DEBIAN_12 = "3.11.2"


def test_all_that_is_pinned_runs_on_debians_python():
    """One package of the documentation's wanted 3.11.5: on a fresh Debian 12 `./dev demo` ended with pip's complaint."""
    asked = {name: distribution(name).metadata["Requires-Python"] for name in _PINNED}
    assert {name: wanted for name, wanted in asked.items() if _DEBIAN_12 not in SpecifierSet(wanted or "")} == {}
