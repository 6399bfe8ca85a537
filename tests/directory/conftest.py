"""A directory as pgguard reads it: settings for the run's slapd, and users of its own for each test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgguard.directory.ldap_source import LdapSource
from pgguard.directory.settings import DirectorySettings
from pgguard.lab.certificates import Certificates
from pgguard.lab.slapd import Slapd

MakeSettings = Callable[..., DirectorySettings]
Fetch = Callable[..., Any]


@pytest.fixture
def settings(slapd: Slapd, certificates: Certificates) -> MakeSettings:
    def make(**changes: Any) -> DirectorySettings:
        bind = {} if "sasl_gssapi" in changes else {"bind_dn": slapd.admin_dn, "bind_password": slapd.admin_password}
        common = {"kind": "ldap", "uri": slapd.uri, "base": slapd.base, "ca_file": certificates.authority}
        return DirectorySettings(**{**common, **bind, "timeout": 2.0, **changes})

    return make


@pytest.fixture
def fetch(settings: MakeSettings) -> Fetch:
    """One user's membership, as a fresh source sees it now."""

    def call(user: str, **changes: Any) -> Any:
        source = LdapSource(settings(**changes))
        try:
            return source.fetch([user])[user]
        finally:
            source.close()

    return call


@pytest.fixture
def people_file(tmp_path: Path) -> Path:
    path = tmp_path / "people.yaml"
    path.write_text("users: {alice: {groups: [analysts]}}\ngroups: {analysts: {groups: [staff]}}\n")
    return path
