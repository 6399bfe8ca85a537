"""One connection to an LDAP server: opened, secured, bound, searched; each step with a time limit.

Theory of operation. libldap's own time limits are infinite (field notes, section 5), and two things escape the ones
that it offers: the TLS handshake of ldaps:// (it reads until the peer answers), and what lies below it (name service,
the KDC). So every call here has a limit, and whoever uses this from an event loop must also be able to leave a thread
behind that does not come back (lane.py). Referrals are not followed: the entries behind them are another server's. A
result that a size limit has cut, a page that is missing, a value list of which the server gave a part, are failures,
never answers.

A connection is used by one thread.
"""

import contextlib
import time

import ldap
import ldap.controls
import ldap.sasl

from pgguard.directory.errors import DirectoryError
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.ticket import use_own_ticket

Entry = tuple[str, dict[str, list[bytes]]]
"""A DN and its attributes, their names in lower case."""

_PAGE = 500


class Deadline:
    """An end that several calls share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Seconds that the next call may take. Raises ldap.TIMEOUT where none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise ldap.TIMEOUT({"desc": "the server took too long in all"})
        return min(most, left)


class LdapConnection:
    """Opens at once. Raises ldap.LDAPError, and DirectoryError for what lies on this side."""

    def __init__(self, settings: DirectorySettings, uri: str, deadline: Deadline) -> None:
        self.uri = uri
        self._timeout = settings.timeout
        self.raw = ldap.initialize(uri)
        try:
            self._set_options(settings, deadline.left(settings.timeout))
            if settings.start_tls:
                self.raw.start_tls_s()
            self._bind(settings)
        except BaseException:
            self.close()
            raise

    def _set_options(self, settings: DirectorySettings, seconds: float) -> None:
        set_option = self.raw.set_option
        set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
        set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        set_option(ldap.OPT_NETWORK_TIMEOUT, seconds)
        set_option(ldap.OPT_TIMEOUT, seconds)
        set_option(ldap.OPT_X_KEEPALIVE_IDLE, 15)
        set_option(ldap.OPT_X_KEEPALIVE_INTERVAL, 5)
        set_option(ldap.OPT_X_KEEPALIVE_PROBES, 3)
        # the service principal is named by the URI, not by what reverse DNS says of its address
        set_option(ldap.OPT_X_SASL_NOCANON, ldap.OPT_ON)
        encrypted = settings.start_tls or self.uri.startswith("ldaps:")
        if encrypted:
            set_option(ldap.OPT_X_SASL_SSF_MAX, 0)  # TLS protects already; Active Directory refuses a layer in a layer
        else:
            set_option(ldap.OPT_X_SASL_SSF_MIN, 1)  # at least integrity: what is read here decides who may what
        if settings.ca_file is not None:
            set_option(ldap.OPT_X_TLS_CACERTFILE, str(settings.ca_file))
        set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # last: it makes the context of all that was set before

    def _bind(self, settings: DirectorySettings) -> None:
        if settings.sasl_gssapi:
            use_own_ticket(settings)
            self.raw.sasl_interactive_bind_s("", ldap.sasl.gssapi())
        elif settings.bind_dn:
            self.raw.simple_bind_s(settings.bind_dn, _password(settings))
        else:
            self.raw.simple_bind_s()

    def close(self) -> None:
        with contextlib.suppress(ldap.LDAPError):  # it may be gone already
            self.raw.unbind_ext_s()

    def search(self, base: str, query: str, attributes: list[str], deadline: Deadline) -> list[Entry]:
        """All entries below `base`, page by page (RFC 2696). Raises rather than give a part of them."""
        found: list[Entry] = []
        page = ldap.controls.SimplePagedResultsControl(criticality=True, size=_PAGE, cookie=b"")
        while True:
            seconds = deadline.left(self._timeout)
            number = self.raw.search_ext(base, ldap.SCOPE_SUBTREE, query, attributes, serverctrls=[page])
            _, entries, _, controls = self.raw.result3(number, timeout=seconds)
            found += [_entry(dn, values) for dn, values in entries if dn is not None]  # None: a referral
            cookies = [control.cookie for control in controls if control.controlType == page.controlType]
            if not cookies or not cookies[0]:
                return found
            page.cookie = cookies[0]


def _entry(dn: str, values: dict[str, list[bytes]]) -> Entry:
    lowered = {name.lower(): value for name, value in values.items()}
    part = next((name for name in lowered if ";range=" in name), None)
    if part is not None:
        raise DirectoryError(
            f'the server gives only a part of "{dn}" ({part}); use groups = "active_directory", which asks otherwise'
        )
    return dn, lowered


def _password(settings: DirectorySettings) -> str:
    path = settings.bind_password_file
    if path is None:
        return settings.bind_password
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DirectoryError(f'bind_password_file "{path}" cannot be read: {error}') from error
    if not password:
        raise DirectoryError(f'bind_password_file "{path}" is empty; an empty password would bind anonymously')
    return password


def in_words(error: ldap.LDAPError) -> str:
    """What libldap says, in one line; its exceptions carry a dictionary."""
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    parts = [str(details[key]) for key in ("desc", "info") if details.get(key)]
    if parts:
        return ": ".join(parts)
    return "the server did not answer in time" if isinstance(error, ldap.TIMEOUT) else type(error).__name__
