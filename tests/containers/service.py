"""Run pgguard as docs/operations.md sets it up, under systemd: `python -m tests.containers.service`.

On demand only; it takes what bring_up.py takes. A container has Debian's systemd as its first process; what the page
shows is typed into it word by word: the installation, the service, the upgrade. The lab's servers stand beside it for
those that a site has. Then what systemd does is done to it: a reload, a kill, rules that do not load, a stop.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgguard.lab.ports import free_port
from tests.containers.bring_up import AUTHORITIES, ROOT, images, run
from tests.docs.pages import blocks

NAME = "pgguard-service-test"
IMAGE = "pgguard-systemd"
MASKED = (
    "getty.target console-getty.service slapd.service krb5-kdc.service krb5-admin-server.service postgresql.service"
)
CONTAINERFILE = f"""\
FROM pgguard-demo
RUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv \\
    && systemctl mask {MASKED} \\
    && rm -rf /opt/pgguard && echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/90-yes
ENTRYPOINT []
CMD ["/lib/systemd/systemd"]
"""
# systemd sets up the unit's sandbox with mounts and namespaces, and is itself what filters system calls
ALLOWED = ("--cap-add=SYS_ADMIN,SYS_RESOURCE,SYS_PTRACE", "--security-opt=seccomp=unconfined")
PORT, METRICS = free_port(), free_port()
SITE = f"""
. /lab/env.sh
cp "$KRB5_CONFIG" /etc/krb5.conf
cp /lab/pgguard.keytab /etc/pgguard/
rm -r /etc/pgguard/rules && cp -r /lab/rules /etc/pgguard/
/opt/pgguard/bin/python - <<'END'
import tomllib
from pathlib import Path
from pgguard.lab.proxy import override, to_toml
sections = tomllib.loads(Path("/lab/pgguard.toml").read_text())
override(sections, [
    "listen.port={PORT}", "listen.workers=2", "limits.drain_seconds=60", "metrics.port={METRICS}",
    "audit.path=/var/log/pgguard/audit.jsonl",
    "kerberos.keytab=/etc/pgguard/pgguard.keytab", "rules.path=/etc/pgguard/rules",
])
Path("/etc/pgguard/pgguard.toml").write_text(to_toml(sections))
END
"""
ONE_VERSION = f"""
import re, urllib.request as http
page = http.urlopen('http://localhost:{METRICS}/metrics').read().decode()
assert re.findall('build_info.version=.([^}}]*).}}', page) == ['99.0']
"""
AS_ALICE = f"pgguard lab shell --dir /lab alice env PGPORT={PORT}"
LARGE = "select count(*) from sales.orders where id in (" + ",".join(map(str, range(60_000))) + ");"
"""Analysed in a process of its own, which limits itself: the unit's filter of system calls must let it."""


def typed(mark: str) -> str:
    """The block of the page that has `mark` in it."""
    (text,) = [one.text for one in blocks(ROOT / "docs" / "operations.md") if one.language == "sh" and mark in one.text]
    return text


def inside(script: str, stdin: str = "") -> str:
    command = ["podman", "exec", "-i", "-w", "/root/pgguard", NAME, "bash", "-ec", script]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"in the container\n{script}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def await_that(what: str, script: str) -> None:
    for _ in range(120):
        if run("podman", "exec", NAME, "bash", "-c", script, check=False).returncode == 0:
            return
        time.sleep(0.5)
    sys.exit(f"{what} did not come to be; the journal says:\n{inside('journalctl -u pgguard --no-pager -n 40')}")


@contextmanager
def machine(state: Path) -> Iterator[None]:
    """Debian with systemd, and this checkout at /root/pgguard."""
    folder = state / "machine"
    folder.mkdir(exist_ok=True)
    (folder / "Containerfile").write_text(CONTAINERFILE)
    run("podman", "build", "--network=host", "--tag", IMAGE, str(folder))
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    source = folder / "source.tar"
    subprocess.run(["tar", "-cf", source, "--null", "-T", "-"], cwd=ROOT, input=files, check=True)
    lent = [f"--volume={AUTHORITIES}:/etc/pip-authority.pem:ro"] if AUTHORITIES.exists() else []
    if (state / "pip.conf").exists():
        lent.append(f"--volume={state / 'pip.conf'}:/etc/pip.conf:ro")
    run("podman", "run", "-d", "--name", NAME, "--systemd=always", "--network=host", *ALLOWED, *lent, IMAGE)
    try:
        run("podman", "exec", NAME, "mkdir", "/root/pgguard")
        run("podman", "cp", str(source), f"{NAME}:/root/source.tar")
        run("podman", "exec", NAME, "tar", "-C", "/root/pgguard", "--no-same-owner", "-xf", "/root/source.tar")
        yield
    finally:
        run("podman", "rm", "--force", "--time", "5", NAME, check=False)


def set_up() -> None:
    inside(typed("-m venv /opt/pgguard"))
    inside("pgguard lab up --dir /lab")
    inside(typed("useradd --system"))
    inside(SITE)
    told = inside(typed("runuser -u pgguard"))
    assert "FAIL" not in told, told
    print(told)


def serves() -> None:
    asked = "-c 'select count(*) from sales.orders' -c 'select card_number from sales.customers'"
    shown = inside(f"{AS_ALICE} psql -XAt {asked} 2>&1 || true")
    assert shown.startswith("6\n"), shown
    assert "permission denied for column card_number" in shown, shown


def upgrade() -> None:
    """A transaction that is open all the while goes on, and a session that comes gets the new version."""
    open_psql = ["podman", "exec", "-i", NAME, "bash", "-c", f"{AS_ALICE} psql -XAtq"]
    with subprocess.Popen(open_psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("begin;\nselect 'before';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "before\n"
        inside("sed -i 's/^__version__ = .*/__version__ = \"99.0\"/' pgguard/__init__.py")
        inside(typed("SIGUSR2"))
        await_that("the replacement of all workers", "journalctl -u pgguard | grep -q 'all workers were replaced'")
        session.stdin.write("select count(*) from sales.orders;\ncommit;\n")
        session.stdin.close()
        assert session.stdout.readline() == "6\n"
    await_that("the new version alone", f'python3 -c "{ONE_VERSION}"')
    serves()


def is_handled() -> None:
    """By systemd, as by an operator."""
    inside("systemctl reload pgguard")
    inside("kill -9 $(systemctl show -p MainPID --value pgguard)")
    await_that("the service after a kill", f"systemctl is-active pgguard && {AS_ALICE} psql -XAtc 'select 1'")
    inside("systemctl stop pgguard; echo 'rules: [{name: x}]' > /etc/pgguard/rules/bad.yaml")
    inside("systemctl start pgguard || true")
    await_that("the sixth try", "test $(systemctl show -p NRestarts --value pgguard) -ge 6")
    inside("rm /etc/pgguard/rules/bad.yaml")
    await_that("the service with rules that load again", "systemctl is-active pgguard")
    serves()
    inside("systemctl stop pgguard")
    assert "Result=success" in inside("systemctl show -p Result pgguard")
    verified = inside("pgguard audit verify /var/log/pgguard/audit.jsonl")
    assert "records, unbroken" in verified, verified


def main() -> None:
    with images("Set pgguard up under systemd as the documentation says.") as state, machine(state):
        set_up()
        serves()
        assert inside(f"{AS_ALICE} psql -XAt", LARGE) == "6\n"
        upgrade()
        is_handled()
    print("the service does what docs/operations.md says")


if __name__ == "__main__":
    main()
