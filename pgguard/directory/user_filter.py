"""How a login name becomes a search, and how the entries of many are told apart again.

Theory of operation. The configured filter compares attributes with `{user}`: `(uid={user})`, or
`(&(objectClass=person)(|(uid={user})(krbPrincipalName={user}@EXAMPLE.COM)))`. One search asks for many users at once;
what comes back belongs to the user whose own comparison an entry's values meet. LDAP compares without regard to case,
to spaces around a value and to much else (RFC 4518), Kerberos exactly: the principals `alice`, `alice ` and one written
with a Kelvin sign for its k may be three people. Here only the case of ASCII letters makes no difference.
"""

import re
import string
from collections.abc import Iterable, Mapping

import ldap.filter

_COMPARISON = re.compile(r"\(([A-Za-z][\w;-]*)=([^()]*\{user\}[^()]*)\)")
_PLACE = "{user}"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class UserFilter:
    """Raises ValueError for a template that compares no attribute with the user."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._comparisons = tuple((name.lower(), value) for name, value in _COMPARISON.findall(template))
        if not self._comparisons or len(self._comparisons) != template.count(_PLACE):
            raise ValueError(
                f'user_filter "{template}" must compare an attribute with {{user}}, as in (uid={{user}})'
                ' or (&(objectClass=person)(uid={user}))'
            )  # fmt: skip
        if any("*" in value for _, value in self._comparisons):
            raise ValueError(f'user_filter "{template}" has a "*" beside {{user}}: it would find others\' entries')
        if template.count("(") != template.count(")") or not template.startswith("("):
            raise ValueError(f'user_filter "{template}" has unbalanced parentheses')

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self._comparisons))

    def query(self, users: Iterable[str]) -> str:
        """One filter that finds all of them.

        # INVARIANT: a name is escaped (RFC 4515, section 3): it is compared, and never becomes a part of the filter.
        """
        each = [self._template.replace(_PLACE, ldap.filter.escape_filter_chars(user)) for user in users]
        return each[0] if len(each) == 1 else f"(|{''.join(each)})"

    def anybody(self) -> str:
        """The filter that finds everyone whom `query` could find."""
        return self._template.replace(_PLACE, "*")

    def keys(self, user: str) -> list[tuple[str, str]]:
        """What an entry of this user shows: attribute and value, of which it has at least one."""
        return [(name, _alike(value.replace(_PLACE, user))) for name, value in self._comparisons]

    def keys_of_entry(self, values: Mapping[str, list[bytes]]) -> Iterable[tuple[str, str]]:
        for name in self.attributes:
            for value in values.get(name, ()):
                yield name, _alike(value.decode("utf-8", "replace"))


def _alike(value: str) -> str:
    return value.translate(_LOWER)
