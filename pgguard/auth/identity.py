r"""Which database users a principal may be: a map in the style of pg_ident.conf, the realm kept.

A line is `PRINCIPAL USER`. A principal that begins with a slash is a regular expression, which must match the whole of
`name@REALM`; `\1` in USER is what its first group matched (PostgreSQL docs, section 21.2; there a partial match
counts, which has surprised many: here it does not).
"""

import re

import msgspec

from pgguard.model.context import Principal

_OTHER_GROUP = re.compile(r"\\[02-9]")


class MapError(Exception):
    """A line of the map cannot be used; the message says which and why."""


class _Line(msgspec.Struct, frozen=True):
    principal: str
    pattern: re.Pattern[str] | None
    user: str

    def user_of(self, principal: str) -> str | None:
        if self.pattern is None:
            return self.user if self.principal == principal else None
        match = self.pattern.fullmatch(principal)
        if match is None:
            return None
        return self.user.replace("\\1", match.group(1) or "") if match.re.groups else self.user


class IdentityMap:
    """Without lines, `alice@REALM` of the one accepted realm is the user alice, and nobody else.

    # INVARIANT: with several realms nobody is anyone's namesake: each name of a user comes from a line.
    """

    def __init__(self, lines: tuple[str, ...], realms: frozenset[str]) -> None:
        """Raises MapError."""
        if len(realms) > 1 and not lines:
            named = " and ".join(f"alice@{realm}" for realm in sorted(realms))
            raise MapError(
                f"[kerberos] map: with several realms {named} would be the same user; tell who is whom in"
                r" lines like '/([^/@]+)@EXAMPLE\.COM \1', or name one realm in [kerberos] realms"
            )
        self._realms = realms
        self._lines = tuple(_parse(line, number) for number, line in enumerate(lines, 1))

    def refusal(self, principal: Principal, user: str) -> str | None:
        """Why the principal may not be this user; None where it may."""
        if principal.realm not in self._realms:
            accepted = ", ".join(sorted(self._realms))
            return f'realm "{principal.realm}" of principal "{principal}" is not accepted, only {accepted}'
        return None if user in self.users(principal) else f'principal "{principal}" may not be user "{user}"'

    def users(self, principal: Principal) -> frozenset[str]:
        """All that this principal may be."""
        if principal.realm not in self._realms:
            return frozenset()
        if not self._lines:
            return frozenset() if "/" in principal.name else frozenset({principal.name})
        found = (line.user_of(str(principal)) for line in self._lines)
        return frozenset(user for user in found if user is not None)


def _parse(line: str, number: int) -> _Line:
    parts = line.split()
    if len(parts) != 2:
        raise MapError(f'[kerberos] map, line {number}: "{line}" is not "PRINCIPAL USER"')
    principal, user = parts
    if _OTHER_GROUP.search(user) or ("\\1" in user and not principal.startswith("/")):
        raise MapError(f'[kerberos] map, line {number}: "{user}": a user is a name, or \\1 of a regular expression')
    if not principal.startswith("/"):
        if "@" not in principal:
            raise MapError(f'[kerberos] map, line {number}: principal "{principal}" names no realm')
        return _Line(principal, None, user)
    try:
        pattern = re.compile(principal[1:])
    except re.error as error:
        raise MapError(f'[kerberos] map, line {number}: "{principal}" is no regular expression: {error}') from error
    if "\\1" in user and not pattern.groups:
        raise MapError(f'[kerberos] map, line {number}: "{user}" takes a group, but "{principal}" has no parentheses')
    return _Line(principal, pattern, user)
