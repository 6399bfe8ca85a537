"""Coverage-guided fuzzing on demand: the tests that hypothesis plays, fed by atheris (libFuzzer) for as long as is asked.

    python tests/fuzz/guided.py [--seconds 60] [--corpus FOLDER] [TARGET...]

A target is `FILE::TEST`, as for pytest; without one all of TARGETS get the same time. atheris is installed by pip into a
folder of the run's own. What is found is written beside the corpus, and the exit status is 1. A corpus that is kept is
where the next run goes on.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

TARGETS = (
    "tests/wire/test_framing.py::test_every_cut_gives_the_same_messages",
    "tests/wire/test_messages.py::test_any_first_packet_is_read_or_refused",
    "tests/wire/test_proxy_protocol.py::test_no_bytes_do_anything_but_be_read_or_refused",
    "tests/wire/test_trace.py::test_any_bytes_are_told",
    "tests/session/test_doorway.py::test_any_bytes_are_a_packet_or_a_protocol_violation",
    "tests/session/test_fuzz.py::test_any_messages_in_any_order",
    "tests/session/test_fuzz.py::test_broken_bytes",
    "tests/session/test_fuzz.py::test_a_session_that_is_ended_anywhere_ends",
)
_ONE = "PGGUARD_FUZZ_TARGET"
"""Set for the process that fuzzes one target: atheris ends its process when it is done."""


def _fuzz(target: str, words: list[str]) -> None:
    """Fuzz one target in this process, with libFuzzer's own options. Does not return."""
    import atheris  # noqa: PLC0415  # only this process has it

    file, _, name = target.partition("::")
    path = ROOT / file
    sys.path[:0] = [str(ROOT), str(path.parent)]
    with atheris.instrument_imports(include=["pgguard"]):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    atheris.Setup([sys.argv[0], *words], getattr(module, name).hypothesis.fuzz_one_input)
    atheris.Fuzz()


def _run(target: str, seconds: int, corpus: Path, path: str) -> bool:
    """Fuzz one target in a process of its own; whether nothing was found."""
    own = corpus / target.replace("/", ".").replace("::", ".")
    own.mkdir(parents=True, exist_ok=True)
    words = [
        str(own),
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-max_len=4096",
        "-len_control=0",
        "-print_final_stats=1",
    ]
    print(f"== {target}", flush=True)
    done = subprocess.run(
        [sys.executable, __file__, *words, f"-artifact_prefix={corpus}/found-"],
        env={**os.environ, _ONE: target, "PYTHONPATH": path},
        check=False,
    )
    return done.returncode == 0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=60, help="for each target")
    options.add_argument("--corpus", type=Path, help="kept; without it, the run's own")
    options.add_argument("targets", nargs="*", default=TARGETS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgguard-fuzz-") as folder:
        packages = str(Path(folder) / "packages")
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", packages]
        if subprocess.run([*pip, "atheris"], check=False).returncode != 0:
            print(f"atheris cannot be installed for Python {sys.version.split()[0]}", file=sys.stderr)
            return 2
        corpus = (asked.corpus or Path(folder) / "corpus").absolute()
        clean = [_run(target, asked.seconds, corpus, packages) for target in asked.targets]
        for found in sorted(corpus.glob("found-*")):
            print(f"{found.name}: {found.read_bytes()!r}")
    return 0 if all(clean) else 1


if __name__ == "__main__":
    if _ONE in os.environ:
        _fuzz(os.environ[_ONE], sys.argv[1:])
    sys.exit(main())
