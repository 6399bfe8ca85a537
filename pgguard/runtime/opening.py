"""Opening a session for an admitted client: limits, the judged startup settings, the database login, the welcome.

A client hears nothing of success before the database has let it in and the rules allow `connect`: until then any
refusal is a FATAL error, as PostgreSQL's own would be.
"""

import logging
import secrets
import time

from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import SessionStarted
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context, Replication
from pgguard.model.decision import Effect
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.policy.decide import decide
from pgguard.policy.wording import refusal_of
from pgguard.runtime.admission import Admitted, NotAdmitted
from pgguard.runtime.backend import BackendConnection, Unreachable
from pgguard.runtime.endpoint import Endpoint
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.login import Login
from pgguard.runtime.principal_setting import PRINCIPAL_SETTING
from pgguard.runtime.standing import barred, unsure
from pgguard.session.doorway import Startup
from pgguard.session.server_login import LoginFailed
from pgguard.sql.replication import REPLICATE
from pgguard.wire import backend
from pgguard.wire.constants import PROTOCOL_3_0, Authentication

_log = logging.getLogger(__name__)


async def open_session(house: House, admitted: Admitted, address: str | None) -> tuple[Login, BackendConnection]:
    """Everything between the door and the first statement. Raises NotAdmitted."""
    settings = _settings(admitted.startup)
    login = _login(admitted, address)
    membership = await house.directory.watch(login.user)
    try:
        refusal = _barred(house, login) or unsure(house.config.directory, house.directory, login.user)
        if refusal is not None:
            raise NotAdmitted(refusal)  # noqa: TRY301  # unwatched below
        _judge_login(house, login, settings, None if membership is None else membership.groups)
        if login.replication is not Replication.PHYSICAL:
            await _load_catalog(house, login.database)
        connection = await _log_in(house, login, settings)
        _record(house, login, settings.get("application_name", ""))
    except BaseException:
        house.directory.unwatch(login.user)
        raise
    return login, connection


async def open_console(house: House, admitted: Admitted, address: str | None) -> Login:
    """A login to the console, which no database is asked for. Raises NotAdmitted.

    It opens while the directory is silent, too: what a command may do is asked of the groups, and there it is seen.
    """
    login = _login(admitted, address)
    await house.directory.watch(login.user)
    try:
        refusal = _barred(house, login)
        if refusal is not None:
            raise NotAdmitted(refusal)  # noqa: TRY301  # unwatched below
        _record(house, login, admitted.startup.application_name or "")
    except BaseException:
        house.directory.unwatch(login.user)
        raise
    return login


def _barred(house: House, login: Login) -> Refusal | None:
    """A ticket may end on the way here: the library takes it for as long as the clock skew afterwards."""
    return barred(login, house.directory, house.config.kerberos.grace)


def _login(admitted: Admitted, address: str | None) -> Login:
    return Login(
        session=f"{int(time.time()):x}{secrets.token_hex(4)}",
        user=admitted.user,
        principal=admitted.accepted.principal,
        ticket=admitted.accepted.ticket,
        database=admitted.database,
        address=address,
        transport=admitted.transport,
        replication=admitted.startup.replication,
        users=admitted.users,
    )


def welcome(client: Endpoint, connection: BackendConnection, key: backend.KeyData) -> None:
    """What a client gets when it is in: the database's own settings, and a cancel key of pgguard's."""
    client.write_all(
        [
            backend.authentication(Authentication.OK),
            *(backend.parameter_status(name, value) for name, value in connection.parameters.items()),
            backend.key_data(key),
            backend.ready_for_query(b"I"),
        ]
    )


def new_key(version: int, process: int) -> backend.KeyData:
    """A cancel key of this proxy's: 4 bytes in protocol 3.0, 32 from 3.2 on.

    The number is the backend's own, by which clients know each other's notifications and end each other's sessions.
    """
    return backend.KeyData(process, secrets.token_bytes(4 if version == PROTOCOL_3_0 else 32))


def _settings(asked: Startup) -> dict[str, str]:
    """The settings that a startup packet asks for, each to be judged."""
    own = {"application_name": asked.application_name, "client_encoding": asked.client_encoding}
    return {name: value for name, value in own.items() if value} | dict(asked.settings)


def _judge_login(house: House, login: Login, settings: dict[str, str], groups: tuple[str, ...] | None) -> None:
    """`connect` on the database, `set` on each setting that the startup packet asks for, and `replicate`.

    A hold on `replicate` stops no login: each command is judged, and held, when it comes.
    """
    accesses = [Access(Privilege.CONNECT, Kind.DATABASE, ObjectName(login.database))]
    accesses += [_startup_access(name, value) for name, value in settings.items()]
    context = Context(
        user=login.user,
        principal=str(login.principal),
        database=login.database,
        at=time.time(),
        groups=groups,
        address=login.address,
        transport=login.transport,
        application=settings.get("application_name", ""),
        state=house.probes.fresh(),
        ticket=login.ticket,
    )
    rules = house.rulebook.current
    decision = decide(rules, [Facts("LOGIN", tuple(accesses))], context)
    if decision.effect is not Effect.ALLOW:
        raise NotAdmitted(refusal_of(decision, login.session))
    if login.replication is not Replication.NONE and not house.observes(login.database):
        decision = decide(rules, [Facts("LOGIN", (REPLICATE,))], context)
        if decision.effect is Effect.DENY:
            raise NotAdmitted(refusal_of(decision, login.session))


def _startup_access(name: str, value: str) -> Access:
    """A setting of the startup packet: `role` and its like become another role, as SET ROLE does."""
    if name in {"role", "session_authorization"}:
        return Access(Privilege.BECOME, Kind.ROLE, ObjectName(value))
    return Access(Privilege.SET, Kind.SETTING, ObjectName(name))


async def _load_catalog(house: House, database: str) -> None:
    try:
        await house.catalogs.keeper(database).ready()
    except Exception as error:
        house.catalogs.forget(database)
        _log.warning('the catalog of database "%s" cannot be loaded: %s', database, error)
        if getattr(error, "sqlstate", "") == SqlState.INVALID_CATALOG_NAME:
            raise _refused(f'database "{database}" does not exist', SqlState.INVALID_CATALOG_NAME) from error
        raise _refused("the database does not answer pgguard", SqlState.CANNOT_CONNECT_NOW) from error


async def _log_in(house: House, login: Login, settings: dict[str, str]) -> BackendConnection:
    user = house.config.database.user or login.user
    parameters = {**settings, PRINCIPAL_SETTING: str(login.principal)}
    if login.replication is not Replication.NONE:
        parameters["replication"] = login.replication.value
    try:
        return await house.databases.connect(user, login.database, parameters)
    except LoginFailed as failed:
        raise NotAdmitted(Refusal(SqlState.INVALID_AUTHORIZATION_SPECIFICATION, str(failed)), str(failed)) from failed
    except Unreachable as unreachable:
        _log.error("no database host answers: %s", unreachable)  # told in full
        raise _refused("the database does not answer pgguard", SqlState.CANNOT_CONNECT_NOW) from unreachable


def _record(house: House, login: Login, application: str) -> None:
    record = SessionStarted(
        at=timestamp(),
        session=login.session,
        user=login.user,
        principal=str(login.principal),
        database=login.database,
        transport=login.transport.value,
        address=login.address,
        application=application,
        replication=login.replication,
    )
    try:
        house.audit.append(record)
    except AuditUnavailable as error:
        _log.error("a login was refused because it cannot be recorded: %s", error)  # told in full
        raise _refused("the login could not be recorded, and was refused", SqlState.DISK_FULL) from error


def _refused(message: str, sqlstate: SqlState = SqlState.INVALID_AUTHORIZATION_SPECIFICATION) -> NotAdmitted:
    return NotAdmitted(Refusal(sqlstate, message))
