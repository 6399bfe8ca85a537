"""`pgguard doctor` on a lab that is well, and on labs broken in one way each."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab
from pgguard.lab.proxy import override, to_toml
from pgguard.lab.slapd import Slapd


def _doctor(lab: Lab, tmp_path: Path, *settings: str, **variables: str) -> subprocess.CompletedProcess[str]:
    sections = tomllib.loads(lab.config.read_text())
    override(sections, settings)
    config = tmp_path / "pgguard.toml"
    config.write_text(to_toml(sections))
    return subprocess.run(
        [sys.executable, "-m", "pgguard", "doctor", "--config", config, "--database", "shop", "--user", "alice"],
        env={**os.environ, **lab.realm.environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_lab_that_is_well_passes_every_check(lab: Lab, tmp_path: Path, certificates: Certificates):
    key = tmp_path / "server.key"
    key.write_bytes(certificates.key.read_bytes())
    tls = (f"tls.certificate={certificates.certificate}", f"tls.key={key}")
    told = _doctor(lab, tmp_path, *tls)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "FAIL" not in told.stdout
    assert '"alice" is in analysts' in told.stdout
    assert "tells of changes at once" in told.stdout
    assert 'sessions as "alice"' in told.stdout
    assert "the keytab's key opens them" in told.stdout
    assert "the certificate ends in" in told.stdout
    assert "ok   secret files: " in told.stdout


def test_a_machine_that_cannot_note_the_tokens_it_has_seen_is_told(lab: Lab, tmp_path: Path):
    """A read-only root filesystem: krb5 cannot tell replays then, and lets nobody in."""
    told = _doctor(lab, tmp_path, KRB5RCACHEDIR="/nonexistent")
    assert told.returncode == 1
    assert "let KRB5RCACHEDIR (else /var/tmp) be a folder that pgguard may write" in told.stdout


@pytest.mark.parametrize(
    ("settings", "check", "advice"),
    [
        (("kerberos.keytab=/nonexistent/keytab",), "keytab: ", "correct [kerberos]"),
        (("directory.bind_password=wrong",), "directory: ", "check [directory] uri"),
        (("directory.user_filter=(mail={user})",), "directory: ", "user_filter"),
        (("database.port=1",), 'database "shop": ', "check [database]"),
        (("database.service_user=nobody_here",), 'database "shop": ', '"nobody_here" may log in'),
        (("database.user=nobody_here",), 'sessions as "nobody_here": ', "pg_hba.conf"),
        (("rules.path=/nonexistent/rules",), "rules: ", "pgguard check /nonexistent/rules"),
        (("audit.path=/proc/version/audit.jsonl",), "audit: ", "[audit] path"),
        (
            ('audit.ship=[{to = "syslog", host = "localhost", port = 1, transport = "tcp"}]',),
            'audit target "syslog": ',
            "correct its [[audit.ship]]",
        ),
        (("tls.certificate=/etc/hostname", "tls.key=/nonexistent/server.key"), "TLS: ", "name a PEM certificate"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_each_trouble_is_found_alone_with_what_to_do(
    lab: Lab, tmp_path: Path, settings: tuple[str, ...], check: str, advice: str
):
    told = _doctor(lab, tmp_path, *settings)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    lines = told.stdout.splitlines()
    failed = [at for at, line in enumerate(lines) if line.startswith("FAIL")]
    assert [lines[at].removeprefix("FAIL ").startswith(check) for at in failed] == [True]
    assert advice in lines[failed[0] + 1]


def test_a_directory_that_tells_of_no_changes_is_well_and_told_what_it_takes(lab: Lab, tmp_path: Path, servers: Path):
    with Slapd(servers / "silent", syncrepl=False) as silent:
        silent.add_user("alice")
        told = _doctor(lab, tmp_path, f"directory.uri={silent.uri}")
    assert told.returncode == 0, told.stdout
    assert "changes are found by polling, every 0.2 s" in told.stdout
    assert "overlay syncprov" in told.stdout


def test_a_key_that_everybody_may_read_is_told(lab: Lab, tmp_path: Path, certificates: Certificates):
    told = _doctor(lab, tmp_path, f"tls.certificate={certificates.certificate}", f"tls.key={certificates.key}")
    assert told.returncode == 1
    assert f'FAIL secret files: everybody on this machine may read or change "{certificates.key}"' in told.stdout
    assert "chmod them 600" in told.stdout


def test_a_kdc_out_of_reach_is_told_from_a_principal_it_does_not_know(lab: Lab, tmp_path: Path):
    unreachable = tmp_path / "krb5.conf"
    unreachable.write_text(
        f"[libdefaults]\ndefault_realm = {lab.realm.name}\ndns_lookup_kdc = false\n"
        f"[realms]\n{lab.realm.name} = {{\n kdc = localhost:1\n}}\n"
    )
    told = _doctor(lab, tmp_path, KRB5_CONFIG=str(unreachable))
    assert told.returncode == 1
    assert "port 88" in told.stdout


def test_a_keytab_that_is_older_than_the_kdcs_key_is_found(lab: Lab, tmp_path: Path):
    lab.realm.add_principal("postgres/rotated.example")
    stale = lab.realm.keytab(tmp_path / "stale.keytab", "postgres/rotated.example")
    lab.realm.rotate_key(tmp_path / "fresh.keytab", "postgres/rotated.example", keep_old=False)
    told = _doctor(lab, tmp_path, f"kerberos.keytab={stale}")
    assert told.returncode == 1
    assert "FAIL KDC and clock for postgres/rotated.example" in told.stdout
    assert "ktadd" in told.stdout


def test_a_certificate_at_its_end_is_told(lab: Lab, tmp_path: Path):
    certificate, key = tmp_path / "old.pem", tmp_path / "old.key"
    subject = (
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
        "-subj",
        "/CN=old",
    )
    subprocess.run(
        ["openssl", *subject, "-days", "3", "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    told = _doctor(lab, tmp_path, f"tls.certificate={certificate}", f"tls.key={key}")
    assert told.returncode == 1
    assert "the certificate ends in 2 days" in told.stdout
    assert "renew" in told.stdout
