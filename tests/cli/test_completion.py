"""Completion as docs/cli.md sets it up, in a real bash."""

import subprocess
import sys
from pathlib import Path

import pytest

_COMMANDS = Path(sys.executable).parent
_ASK = """
PATH={commands}:$PATH
eval "$(_PGGUARD_COMPLETE=bash_source pgguard)"
COMP_WORDS=(pgguard {words} '{last}')
COMP_CWORD={number}
_pgguard_completion pgguard
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def _completed(*words: str) -> list[str]:
    script = _ASK.format(commands=_COMMANDS, words=" ".join(words[:-1]), last=words[-1], number=len(words))
    ran = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, timeout=60)
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rul",), ["rules"]),
        (("rules", "di"), ["diff"]),
        (("rules", "learn", "--ref"), ["--refused"]),
        (("explain", "--transport", "g"), ["gss"]),
    ],
)
def test_bash_completes_commands_options_and_choices(words: tuple[str, ...], expected: list[str]):
    assert _completed(*words) == expected
