"""Which files of secrets are open to everybody on the machine."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pgguard.audit.settings import OtlpTarget, SyslogTarget
from pgguard.auth.settings import DatabaseSettings, KerberosSettings, TlsSettings
from pgguard.directory.settings import DirectorySettings
from pgguard.holds.settings import HoldsSettings, HookSettings
from pgguard.runtime.config import Config, parse_config
from pgguard.runtime.secret_files import SECRETS, exposed_files

_OPEN = {
    "ca", "ca_file", "client_ca", "root_certificate", "certificate", "path", "baseline",
}  # fmt: skip
"""Files that are no secrets; those that pgguard writes it makes private itself."""

_TOML = """
[kerberos]
keytab = "pgguard.keytab"
[database]
password_file = "people"
service_password_file = "service"
[directory]
kind = "ldap"
base = "dc=x"
bind_dn = "cn=x"
{bind}
[rules]
path = "rules"
[audit]
path = "audit.jsonl"
key_file = "chain.key"
[tls]
certificate = "server.pem"
key = "server.key"
[holds]
hooks = [{{url = "http://localhost/", secret_file = "hook"}}]
"""
_FILES = ("pgguard.keytab", "people", "service", "chain.key", "server.key", "hook", "server.pem", "pgguard.toml")


@pytest.fixture
def folder(servers: Path, tmp_path: Path) -> Path:
    """One that everybody may enter: pytest's own are private."""
    folder = servers / tmp_path.name
    folder.mkdir()
    for name in _FILES:
        (folder / name).touch()
        (folder / name).chmod(0o644)
    return folder


def _exposed(folder: Path, bind: str = 'bind_password_file = "nowhere"') -> list[str]:
    path = folder / "pgguard.toml"
    return [file.name for file in exposed_files(parse_config(tomllib.loads(_TOML.format(bind=bind)), path), path)]


def test_secrets_that_everybody_may_read_are_found_and_nothing_else(folder: Path):
    assert sorted(_exposed(folder)) == ["chain.key", "hook", "people", "pgguard.keytab", "server.key", "service"]
    for name in _FILES:
        (folder / name).chmod(0o640)
    assert _exposed(folder) == []
    (folder / "people").chmod(0o602)
    assert _exposed(folder) == ["people"]


def test_a_configuration_is_a_secret_when_a_password_stands_in_it(folder: Path):
    for name in _FILES:
        (folder / name).chmod(0o600)
    (folder / "pgguard.toml").chmod(0o644)
    assert _exposed(folder) == []
    assert _exposed(folder, 'bind_password = "x"') == ["pgguard.toml"]


def test_a_private_folder_keeps_what_is_in_it(folder: Path):
    folder.chmod(0o700)
    assert _exposed(folder) == []


def _settings(kind: type) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        if "Path" in str(field.type):
            yield field.name


def test_every_file_that_a_setting_names_is_a_secret_or_known_to_be_none():
    kinds = (
        Config, KerberosSettings, DatabaseSettings, TlsSettings, DirectorySettings, HoldsSettings, HookSettings,
        OtlpTarget, SyslogTarget, *(field.type for field in msgspec.structs.fields(Config) if isinstance(field.type, type)),
    )  # fmt: skip
    named = {name for kind in kinds if issubclass(kind, msgspec.Struct) for name in _settings(kind)}
    assert {"keytab", "key_file", "secret_file"} <= named
    assert named - SECRETS - _OPEN == set()
