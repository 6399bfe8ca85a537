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
