"""Does what the configuration names work? Each check tries the real thing, and says what to do where it fails.

The checks use the very code that serves sessions, so that what passes here works there. They change nothing: the audit
folder is looked at and not written to, and no port is taken. One check's failure does not keep the others from running.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import gssapi
import msgspec
from gssapi.raw.misc import GSSError

from pgguard.audit.settings import Target
from pgguard.audit.shipping.shipper import try_target
from pgguard.auth.acceptor import Acceptor, KerberosError
from pgguard.auth.identity import IdentityMap, MapError
from pgguard.auth.settings import TlsSettings
from pgguard.auth.tls import TlsError, client_facing, database_facing, validity
from pgguard.directory.directory import make_source
from pgguard.directory.errors import DirectoryError
from pgguard.directory.lane import PATIENCE, beside
from pgguard.directory.ldap_source import time_limit
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.syncrepl import Consumer, opening_limit
from pgguard.policy.problems import RulesInvalid
from pgguard.runtime.backend import Databases, Unreachable
from pgguard.runtime.config import Config
from pgguard.runtime.rulebook import load_rules
from pgguard.runtime.secret_files import exposed_files
from pgguard.runtime.service_login import connect_as_service
from pgguard.session.server_login import LoginFailed

_OLDEST_SERVER = 130000
_DAY = 86_400
_EXPIRES_SOON = 14 * _DAY
_LITTLE_SPACE = 256 << 20


class Finding(msgspec.Struct, frozen=True):
    """What one check found. `advice`: what to do, where it is not well."""

    check: str
    well: bool
    what: str
    advice: str = ""


async def examine(config: Config, path: Path, database: str, user: str) -> list[Finding]:
    """All checks. `path`: the configuration's own; `database`: one to log in to; `user`: somebody the directory should
    know, or empty.
    """
    findings = [*_kerberos(config), *_tls(config), _secrets(config, path), *_audit(config), *_rules(config)]
    findings += [await _shipping(target) for target in config.audit.ship]
    findings += await _directories(config, user)
    findings += await _database(config, database, user)
    return findings


def _kerberos(config: Config) -> Iterator[Finding]:
    settings = config.kerberos
    try:
        acceptor = Acceptor(settings)
        IdentityMap(settings.map, acceptor.realms)
    except (KerberosError, MapError) as error:
        yield Finding("keytab", False, str(error), "correct [kerberos]; the other Kerberos checks were left out")
        return
    yield Finding("keytab", True, f"{settings.keytab} has {', '.join(acceptor.principals)}")
    for principal in acceptor.principals:
        yield _service(config, acceptor, principal)


def _service(config: Config, acceptor: Acceptor, principal: str) -> Finding:
    """Get a ticket for the service from the KDC, with the service's own key, and accept it as a client's."""
    check = f"KDC and clock for {principal}"
    name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
    store: dict[bytes | str, bytes | str] = {
        "client_keytab": f"FILE:{config.kerberos.keytab}",
        "ccache": "MEMORY:pgguard-doctor",
    }
    try:
        credentials = gssapi.Credentials(usage="initiate", name=name, store=store)
        client = gssapi.SecurityContext(name=name, creds=credentials, usage="initiate")
        acceptor.begin().step(client.step() or b"")
    except GSSError as error:
        return Finding(check, False, error.gen_message(), _kerberos_advice(error.gen_message(), principal))
    except KerberosError as error:
        return Finding(check, False, str(error), _kerberos_advice(str(error), principal))
    return Finding(check, True, "the KDC gives tickets for it, and the keytab's key opens them")


def _kerberos_advice(message: str, principal: str) -> str:
    text = message.lower()
    if "rcache" in text:
        return "krb5 notes each token it has seen: let KRB5RCACHEDIR (else /var/tmp) be a folder that pgguard may write"
    if "skew" in text:
        return "this machine's clock and the KDC's differ: synchronise them (chrony, systemd-timesyncd)"
    if "not found in kerberos database" in text:
        return f'the KDC does not know it: kadmin -q "addprinc -randkey {principal}", then ktadd'
    if "cannot contact any kdc" in text or "cannot find kdc" in text:
        return "check the realm's KDC in /etc/krb5.conf (or KRB5_CONFIG), and the way to its port 88"
    return "the keytab's key is probably older than the KDC's: make the keytab anew with kadmin's ktadd"


def _tls(config: Config) -> Iterator[Finding]:
    if config.tls is not None:
        try:
            client_facing(config.tls)
        except TlsError as error:
            yield Finding("TLS", False, str(error), "name a PEM certificate chain and its key in [tls]")
        else:
            yield _expiry(config.tls)


def _expiry(settings: TlsSettings) -> Finding:
    advice = f'renew "{settings.certificate}"; pgguard takes the new one by itself'
    try:
        begins, ends = validity(settings)
    except TlsError as error:
        return Finding("TLS", False, str(error), advice)
    left = ends - time.time()
    if begins > time.time() or left < 0:
        return Finding("TLS", False, f'"{settings.certificate}" is not valid at this time', advice)
    what = f"the certificate ends in {int(left // _DAY)} days"
    return Finding("TLS", left > _EXPIRES_SOON, what, "" if left > _EXPIRES_SOON else advice)


def _secrets(config: Config, path: Path) -> Finding:
    exposed = exposed_files(config, path)
    if exposed:
        names = " ".join(f'"{file}"' for file in exposed)
        advice = "make pgguard's account their owner and chmod them 600; who could read them has the secrets"
        return Finding("secret files", False, f"everybody on this machine may read or change {names}", advice)
    return Finding("secret files", True, "no keytab, key or password is open to everybody")


def _audit(config: Config) -> Iterator[Finding]:
    path = config.audit.path
    folder = next(parent for parent in path.parents if parent.exists())
    target = path if path.exists() else folder
    if not os.access(target, os.W_OK) or not folder.is_dir():
        advice = f"let pgguard's account write there: chown or chmod {target}, or set [audit] path"
        yield Finding("audit", False, f'"{target}" cannot be written', advice)
        return
    free = shutil.disk_usage(folder).free
    what = f"{path}, {free >> 20} MiB free"
    advice = "" if free > _LITTLE_SPACE else "make room: with a full disk every statement is refused"
    yield Finding("audit", free > _LITTLE_SPACE, what, advice)


async def _shipping(target: Target) -> Finding:
    check = f'audit target "{target.name}"'
    try:
        await asyncio.to_thread(try_target, target)
    except OSError as error:
        advice = "correct its [[audit.ship]]; meanwhile records wait in the file, and no statement waits"
        return Finding(check, False, str(error) or type(error).__name__, advice)
    return Finding(check, True, "takes connections")


def _rules(config: Config) -> Iterator[Finding]:
    try:
        rules = load_rules(config.rules.path, config.rules.baseline)
    except RulesInvalid as invalid:
        first = f"{invalid.problems[0]}" + (f" (and {more} more)" if (more := len(invalid.problems) - 1) else "")
        yield Finding("rules", False, first, f"see them all: pgguard check {config.rules.path}")
    except OSError as error:
        yield Finding("rules", False, f"{error}", "correct [rules] path or baseline")
    else:
        yield Finding("rules", True, f"{len(rules.rules)} load, identity {rules.identity}")


async def _directories(config: Config, user: str) -> list[Finding]:
    settings = config.directory
    try:
        found = await beside(lambda: _directory(config, user), time_limit(settings) + PATIENCE)
    except TimeoutError as error:
        return [Finding("directory", False, str(error), "the server takes connections, but does not answer them")]
    if not found.well or not settings.listens:
        return [found]
    return [found, await _syncrepl(settings)]


async def _syncrepl(settings: DirectorySettings) -> Finding:
    """Without it all is well, only slower: this check does not fail."""
    uri = settings.uris[0]
    try:
        consumer = await beside(lambda: Consumer(settings, uri), opening_limit(settings) + PATIENCE)
    except (DirectoryError, TimeoutError) as error:
        what = f"{error}: changes are found by polling, every {settings.refresh:g} s"
        advice = (
            "for changes at once, let it offer syncrepl (OpenLDAP: overlay syncprov), and let the bind read all users"
            " and groups without a size limit; or set [directory] syncrepl = false"
        )
        return Finding("syncrepl", True, what, advice)
    consumer.close()
    return Finding("syncrepl", True, f"{uri} tells of changes at once")


def _directory(config: Config, user: str) -> Finding:
    source = make_source(config.directory)
    try:
        found = source.fetch([user] if user else [])
    except DirectoryError as error:
        return Finding("directory", False, str(error), "check [directory] uri, the bind's name and password, and TLS")
    if not user:
        return Finding("directory", True, f"{source.origin} lets pgguard in; name a --user to look for somebody")
    membership = found[user]
    if not membership.found or membership.groups is None:
        what = membership.problem or f'{source.origin} does not know "{user}"'
        return Finding("directory", False, what, "check [directory] base, user_base and user_filter")
    groups = ", ".join(membership.groups) or "none"
    return Finding("directory", True, f'{source.origin}: "{user}" is in {groups}')


async def _database(config: Config, database: str, user: str) -> list[Finding]:
    settings = config.database
    check = f'database "{database}"'
    try:
        connection = await connect_as_service(settings, database_facing(settings), database)
    except TlsError as error:
        return [Finding(check, False, str(error), "correct the files that [database] names")]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        advice = f'check [database], pg_hba.conf, and that "{settings.service_user}" may log in with this password'
        return [Finding(check, False, str(error) or "no answer in time", advice)]
    try:
        number = int(await connection.fetchval("show server_version_num"))
        version = await connection.fetchval("show server_version")
    finally:
        await connection.close()
    supported = number >= _OLDEST_SERVER
    advice = "" if supported else "pgguard is made for PostgreSQL 13 and later"
    findings = [Finding(check, supported, f'PostgreSQL {version} lets "{settings.service_user}" in', advice)]
    role = settings.user or user
    return [*findings, await _session_login(config, database, role)] if role else findings


async def _session_login(config: Config, database: str, role: str) -> Finding:
    """The login of a client's session, as pgguard makes it."""
    check = f'sessions as "{role}"'
    try:
        connection = await Databases(config.database).connect(role, database, {})
    except (LoginFailed, Unreachable, OSError) as error:
        return Finding(check, False, str(error), f'let pg_hba.conf admit "{role}" from pgguard as [database] says')
    connection.endpoint.close()
    return Finding(check, True, f"{connection.host} lets it in")
