"""What settings of the directory do not fit together, and what is said of them."""

from pathlib import Path

import pytest

from pgguard.directory.settings import DirectorySettings


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "static"}, 'needs "path"'),
        ({"base": ""}, 'needs "base"'),
        ({"uri": "http://localhost"}, "does not begin with ldap://"),
        ({"uri": ()}, "names no server"),
        ({"uri": "ldaps://localhost", "start_tls": True}, '"start_tls" is for ldap://'),
        ({"bind_dn": "cn=x"}, 'needs "bind_password_file"'),
        ({"bind_dn": "cn=x", "bind_password": "x", "sasl_gssapi": True, "keytab": Path("k")}, "choose one"),
        ({"sasl_gssapi": True}, 'needs "keytab"'),
        ({"user_filter": "(uid=alice)"}, "must compare an attribute with {user}"),
        ({"user_filter": "(uid={user}*)"}, '"*" beside {user}'),
        ({"user_filter": "(&(uid={user})"}, "unbalanced"),
        ({"refresh": 0}, "above zero"),
        ({"timeout": -1}, "above zero"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint.replace("{", r"\{").replace("*", r"\*").replace("(", r"\(")):
        DirectorySettings(**{"kind": "ldap", "base": "dc=test", **changes})


def test_what_fits_is_taken():
    settings = DirectorySettings(
        kind="ldap", base="dc=test", uri=("ldap://a", "ldap://b"), user_base="ou=people,dc=test"
    )
    assert settings.uris == ("ldap://a", "ldap://b")
    assert settings.where_users_are == "ou=people,dc=test"
    assert settings.where_groups_are == "dc=test"


@pytest.mark.parametrize(
    ("changes", "unprotected"),
    [
        ({"uri": ("ldap://ldap.example.com", "ldap://localhost")}, ("ldap://ldap.example.com",)),
        ({"uri": "ldap://192.0.2.1:3389"}, ("ldap://192.0.2.1:3389",)),
        ({"uri": "ldap://127.1.2.3"}, ()),
        ({"uri": "ldap://[::1]"}, ()),
        ({"uri": "ldap://ldap.example.com", "start_tls": True}, ()),
        ({"uri": "ldap://ldap.example.com", "sasl_gssapi": True, "keytab": Path("k")}, ()),
        ({"uri": "ldaps://ldap.example.com"}, ()),
    ],
)
def test_servers_whose_answers_anybody_could_change_are_known(changes: dict, unprotected: tuple[str, ...]):
    assert DirectorySettings(**{"kind": "ldap", "base": "dc=test", **changes}).unprotected == unprotected
