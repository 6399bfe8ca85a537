"""Bring compose.yaml up for real, and see in psql what its head promises: `python tests/containers/bring_up.py`.

On demand only: it needs root, podman, podman-compose, runc, netavark, aardvark-dns, debootstrap and iptables from Debian, and some
minutes. Where no registry of images is at hand, the Dockerfile's base image is a Debian made by debootstrap under the
same name. Images and containers live in a folder of their own (`--keep DIR` keeps it for the next time), apart from
the machine's. Certificates and pip.conf of this machine, where it has any, are lent to the build and stay out of the
images.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
PROJECT = "pgguard-test"
PIP_CONF = Path("/etc/pip.conf")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{state}/networks"
"""

STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{state}/storage"
runroot = "{state}/run"
"""


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def configure(state: Path) -> None:
    for name, text in (("CONTAINERS_CONF", CONTAINERS_CONF), ("CONTAINERS_STORAGE_CONF", STORAGE_CONF)):
        path = state / name.lower().replace("_conf", ".conf")
        path.write_text(text.format(state=state))
        os.environ[name] = str(path)


def make_base() -> None:
    if run("podman", "image", "exists", BASE, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        run("debootstrap", "--variant=minbase", "bookworm", f"{folder}/root")
        run("tar", "-C", f"{folder}/root", "-cf", f"{folder}/root.tar", "--exclude=./var/cache/apt/archives/*.deb", ".")
        run("podman", "import", f"{folder}/root.tar", BASE)


def build(state: Path) -> None:
    lent = []
    if PIP_CONF.exists():
        own = re.sub(r"(?m)^(\s*cert\s*=).*", r"\1 /etc/pip-authority.pem", PIP_CONF.read_text())
        (state / "pip.conf").write_text(own)
        lent = [f"--secret=id=pip,src={state / 'pip.conf'}", f"--secret=id=authority,src={AUTHORITIES}"]
    for target, tag in (("demo", "pgguard-demo"), ("pgguard", "pgguard")):
        run("podman", "build", "--network=host", *lent, "--target", target, "--tag", tag, ".")


@contextmanager
def images(description: str) -> Iterator[Path]:
    """Those of the Dockerfile, built in the folder that the command line names to keep them; otherwise in one for now.

    A command starts with this: `description` is what its help says.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep images there for the next time")
    keep = parser.parse_args().keep
    state = Path(tempfile.mkdtemp(prefix="pgguard-containers-")) if keep is None else keep.absolute()
    state.mkdir(parents=True, exist_ok=True)
    configure(state)
    try:
        make_base()
        build(state)
        yield state
    finally:
        if keep is None:
            run("podman", "system", "reset", "--force", check=False)
            shutil.rmtree(state, ignore_errors=True)


@contextmanager
def up() -> Iterator[None]:
    try:
        run("podman-compose", "-p", PROJECT, "up", "-d", "--no-build")
        yield
    finally:
        run("podman-compose", "-p", PROJECT, "down", "-v", "-t", "5", check=False)


def container(service: str) -> str:
    return f"{PROJECT}_{service}_1"


def await_service(service: str, *probe: str) -> None:
    """What `docker compose up --wait` does; podman-compose 1.0 does not, and podman's health checks need systemd."""
    deadline = time.monotonic() + 180
    while run("podman", "exec", container(service), *probe, check=False).returncode != 0:
        if time.monotonic() > deadline:
            logs = run("podman", "logs", "--tail", "30", container(service), check=False)
            sys.exit(f"{service} was not ready within three minutes; it says:\n{logs.stdout}{logs.stderr}")
        time.sleep(0.5)


def promised_line() -> list[str]:
    """The line at the head of compose.yaml, for podman-compose."""
    (line,) = re.findall(r"^#\s+docker compose (exec .*)$", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    head, *words = shlex.split(line)
    return ["podman-compose", "-p", PROJECT, head, "-T", *words]


def see() -> None:
    for service in ("kdc", "ldap", "postgres", "workstation"):
        await_service(service, "test", "-e", "/run/pgguard-lab.ready")
    ready = "import urllib.request as http; http.urlopen('http://localhost:9187/readyz')"
    await_service("pgguard", "python3", "-c", ready)

    shown = run(*promised_line(), check=False)
    print(shown.stdout + shown.stderr)
    assert re.search(r"^\(\d+ rows\)$", shown.stdout, re.MULTILINE), "the approved statement shows its rows"
    assert "permission denied for column card_number" in shown.stdout + shown.stderr, "the other one is refused"

    around = "psql -h postgres -p 5432 -w -c 'select 1'"
    shown = run("podman", "exec", "-u", "alice", container("workstation"), "sh", "-c", around, check=False)
    assert shown.returncode == 2, "nobody gets in around pgguard"
    assert "no password supplied" in shown.stderr

    inside = ("podman", "exec", container("pgguard"))
    assert run(*inside, "id", "-u").stdout.strip() != "0", "pgguard is not root"
    shown = run(*inside, "sh", "-c", "echo x > /opt/pgguard/x", check=False)
    assert "Read-only file system" in shown.stderr
    audit = run(*inside, "cat", "/var/log/pgguard/audit.jsonl").stdout
    assert "card_number" in audit, "the refusal is recorded"


def main() -> None:
    with images("Bring compose.yaml up, and look at what it does."), up():
        see()
    print("compose.yaml does what it says")


if __name__ == "__main__":
    main()
