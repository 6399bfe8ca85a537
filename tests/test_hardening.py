"""A process that holds secrets leaves no core, lets nobody look into its memory, and creates private files."""

import subprocess
import sys
from pathlib import Path

_PROBE = """
import ctypes, os, resource, sys
from pgguard.hardening import harden
harden()
open(sys.argv[1], "w").close()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE), oct(os.stat(sys.argv[1]).st_mode))
"""


def test_what_a_hardened_process_is(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, tmp_path / "made"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["0", "0", "0", "0o100600"]  # PR_GET_DUMPABLE, both limits, the file's mode
