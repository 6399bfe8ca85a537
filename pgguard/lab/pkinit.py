"""Certificates in the place of passwords: what PKINIT (RFC 4556) asks of those of a KDC and of its users.

A user's certificate names the principal as an otherName (section 3.2.2), a KDC's names krbtgt/REALM (section 3.2.4),
and each has the extended key usage of its part. krb5 1.20 signs with RSA keys only.
"""

from pathlib import Path

from pgguard.lab.certificates import RSA_KEY, Certificates

_CLIENT = "1.3.6.1.5.2.3.4"
_KDC = "1.3.6.1.5.2.3.5"
_SERVICE_INSTANCE = 2
_PRINCIPAL = 1

_EXTENSIONS = """\
keyUsage=digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage={usage}
[krb5_principal_name]
realm=EXP:0,GeneralString:{realm}
principal_name=EXP:1,SEQUENCE:principal_name
[principal_name]
name_type=EXP:0,INTEGER:{kind}
name_string=EXP:1,SEQUENCE:parts
[parts]
{parts}
"""


def issue_for_user(certificates: Certificates, realm: str, user: str) -> tuple[Path, Path]:
    """A certificate with which the user gets a ticket, and its key."""
    return _issue(certificates, f"pkinit-{user}", _CLIENT, realm, _PRINCIPAL, (user,))


def issue_for_kdc(certificates: Certificates, realm: str) -> tuple[Path, Path]:
    return _issue(certificates, f"kdc-{realm}", _KDC, realm, _SERVICE_INSTANCE, ("krbtgt", realm))


def _issue(  # noqa: PLR0913, PLR0917  # the parts of one name
    certificates: Certificates, name: str, usage: str, realm: str, kind: int, parts: tuple[str, ...]
) -> tuple[Path, Path]:
    numbered = "\n".join(f"part{number}=GeneralString:{part}" for number, part in enumerate(parts))
    return certificates.issue(
        name,
        alternative="otherName:1.3.6.1.5.2.2;SEQUENCE:krb5_principal_name",
        extensions=_EXTENSIONS.format(usage=usage, realm=realm, kind=kind, parts=numbered),
        new_key=RSA_KEY,
    )
