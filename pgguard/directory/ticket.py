"""pgguard's own Kerberos ticket for the bind to LDAP, got from a keytab and renewed by itself.

Theory of operation. libsasl takes the credential that GSSAPI has by default, and offers no way to hand it another. So
the ticket goes into a cache in memory that only this room uses, and that cache becomes the default of the calling
thread alone (gss_krb5_ccache_name, which MIT krb5 keeps per thread): neither the environment nor other threads notice.
A credential with a client keytab fetches a new ticket as soon as half of the old one's life is over (MIT krb5 docs,
"Client keytab").
"""

import gssapi
from gssapi.raw.ext_krb5 import krb5_ccache_name
from gssapi.raw.misc import GSSError

from pgguard.directory.errors import DirectoryError
from pgguard.directory.settings import DirectorySettings


def use_own_ticket(settings: DirectorySettings) -> None:
    """Make a valid ticket the default of this thread. May ask the KDC, and so may block. Raises DirectoryError."""
    cache = f"MEMORY:pgguard-directory-{settings.principal}"
    name = gssapi.Name(settings.principal, gssapi.NameType.kerberos_principal) if settings.principal else None
    store: dict[bytes | str, bytes | str] = {"client_keytab": f"FILE:{settings.keytab}", "ccache": cache}
    try:
        credentials = gssapi.Credentials(usage="initiate", name=name, store=store)
        if not credentials.lifetime:
            raise DirectoryError(f'the ticket from keytab "{settings.keytab}" has no life left')
        krb5_ccache_name(cache.encode())
    except GSSError as error:
        raise DirectoryError(
            f'no ticket for LDAP from keytab "{settings.keytab}": {error.gen_message()};'
            ' it must hold a key of "principal", and the KDC must answer'
        ) from error
