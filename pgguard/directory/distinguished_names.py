"""Distinguished names in one spelling, so that equal ones are equal (RFC 4514)."""

import re

import ldap
import ldap.dn

_PLAIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*=[A-Za-z0-9._@-]+(?:,|$))+")
"""DNs that need no more than lower case."""

_SUFFIX = re.compile(r"#'[01]*'B$")
"""The bit string that a uniqueMember may carry (RFC 4517, section 3.3.21)."""


def normal_dn(dn: str) -> str:
    """Lower case, no spaces around the parts, runs of spaces as one, the values of a part in order."""
    if _PLAIN.fullmatch(dn):
        return dn.lower()
    try:
        parts = ldap.dn.str2dn(_SUFFIX.sub("", dn))
    except ldap.DECODING_ERROR:
        return dn.lower()
    normal = [sorted((key.lower(), " ".join(value.split()).lower(), 1) for key, value, _ in rdn) for rdn in parts]
    return str(ldap.dn.dn2str(normal))


def first_value(dn: str) -> str:
    """The value of a DN's first part: `analysts` of cn=analysts,ou=groups,…"""
    try:
        return str(ldap.dn.str2dn(dn)[0][0][1])
    except (ldap.DECODING_ERROR, IndexError):
        return dn


class NormalNames:
    """`normal_dn` of values as they come from the server, remembered: a poll brings the same ones again and again."""

    _LIMIT = 1_000_000

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def __call__(self, value: bytes) -> str:
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= self._LIMIT:
                self._known.clear()
            known = self._known[value] = normal_dn(value.decode("utf-8", "replace"))
        return known
