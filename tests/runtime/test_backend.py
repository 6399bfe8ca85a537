"""Login to real databases: every method, over TLS and not, past dead hosts; and a cancel that has arrived when it says so."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
from gssapi.raw.ext_krb5 import krb5_ccache_name

from pgguard.auth.settings import DatabaseSettings
from pgguard.auth.tls import database_facing
from pgguard.lab.certificates import Certificates
from pgguard.lab.ports import free_port
from pgguard.lab.postgres import ACCOUNT, Postgres
from pgguard.lab.process import own_folder
from pgguard.lab.realm import Realm
from pgguard.runtime.backend import BackendConnection, Databases, Unreachable
from pgguard.runtime.service_login import connect_as_service
from pgguard.session.server_login import LoginFailed
from pgguard.wire import backend, frontend

HBA = (
    "local all all trust",
    "hostnossl all scram all scram-sha-256",
    "hostssl all scram all scram-sha-256",
    "host all md5 all md5",
    "hostssl all clear all password",
    "hostnossl all clear all password",
    "hostssl all certified,another all cert",
    "host all kerberos all gss include_realm=0 map=proxy",
)


@pytest.fixture(scope="module")
def strict(servers: Path, realm: Realm, certificates: Certificates) -> Iterator[Postgres]:
    """A database that asks for proof."""
    folder = own_folder(servers / "strict", ACCOUNT)
    realm.add_principal("dbsrv/localhost")
    keytab = realm.keytab(folder / "db.keytab", "dbsrv/localhost")
    files = {}
    for name, source in (("cert", certificates.certificate), ("key", certificates.key)):
        files[name] = folder / source.name
        files[name].write_bytes(source.read_bytes())
    _own(folder, [keytab, *files.values()])
    settings = {
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": str(files["cert"]),
        "ssl_key_file": str(files["key"]),
        "ssl_ca_file": str(certificates.authority),
        "krb_server_keyfile": f"FILE:{keytab}",
    }
    with Postgres(folder, settings=settings, hba=HBA, host="localhost,127.0.0.2") as server:
        (server.data / "pg_ident.conf").write_text("proxy pgproxy kerberos\n")
        server.run(
            "create role scram login password 'söcret'; create role certified login; create role another login; create role kerberos login;"
            "create role clear login password 'secret';"
            "set password_encryption = md5; create role md5 login password 'secret'"
        )
        server.reload()
        yield server


def _own(folder: Path, files: list[Path]) -> None:
    owner = folder.stat()
    for file in files:
        os.chown(file, owner.st_uid, owner.st_gid)
        file.chmod(0o600)


@pytest.fixture(autouse=True)
async def settled() -> AsyncIterator[None]:
    """Connections that a test has closed are closed before its event loop is."""
    yield
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("söcret\n", encoding="utf-8")
    return tmp_path / "password"


async def ask(connection: BackendConnection, sql: str) -> str:
    """The first value of a query's first row, or its error."""
    endpoint = connection.endpoint
    endpoint.write(frontend.query(sql.encode()))
    answer = ""
    async with asyncio.timeout(10):
        while True:
            header = await endpoint.peek(5)
            raw = await endpoint.read(1 + int.from_bytes(header[1:], "big"))
            if raw[0] == ord("D"):
                answer = (backend.read_data_row(raw)[0] or b"").decode()
            elif raw[0] == ord("E"):
                answer = backend.read_fields(raw)["M"]
            elif raw[0] == ord("Z"):
                return answer


async def login(settings: DatabaseSettings, user: str, **parameters: str) -> str:
    connection = await Databases(settings).connect(user, "postgres", parameters)
    try:
        return await ask(connection, "select current_user")
    finally:
        connection.endpoint.close()
        await connection.endpoint.until_closed()


async def as_service(settings: DatabaseSettings, user: str) -> str:
    """The same by pgguard's own login, which asyncpg makes."""
    settings = msgspec.structs.replace(settings, service_user=user)
    connection = await connect_as_service(settings, database_facing(settings), "postgres")
    try:
        return await connection.fetchval("select current_user")
    finally:
        await connection.close()


async def test_trust_over_tcp_and_socket(postgres: Postgres):
    for host in ("localhost", str(postgres.folder)):
        assert await login(DatabaseSettings(host=host, port=postgres.port), "postgres") == "postgres"


@pytest.mark.parametrize("tls", ["disable", "require", "verify"])
async def test_scram(strict: Postgres, password: Path, certificates: Certificates, tls):
    settings = DatabaseSettings(
        port=strict.port, password_file=password, tls=tls, root_certificate=certificates.authority
    )
    assert await login(settings, "scram") == "scram"
    assert await as_service(settings, "scram") == "scram"


async def test_a_password_in_clear_inside_tls(strict: Postgres, tmp_path: Path, certificates: Certificates):
    (tmp_path / "secret").write_text("secret")
    settings = DatabaseSettings(
        port=strict.port, password_file=tmp_path / "secret", tls="verify", root_certificate=certificates.authority
    )
    assert await login(settings, "clear") == "clear"


async def test_a_wrong_password_is_the_databases_own_error(strict: Postgres, tmp_path: Path):
    (tmp_path / "wrong").write_text("wrong")
    with pytest.raises(LoginFailed, match="password authentication failed") as caught:
        await login(DatabaseSettings(port=strict.port, password_file=tmp_path / "wrong"), "scram")
    assert caught.value.error is not None
    assert b"C28P01\0" in caught.value.error


async def test_md5_is_refused_and_cleartext_outside_tls(strict: Postgres, password: Path):
    settings = DatabaseSettings(port=strict.port, password_file=password)
    with pytest.raises(LoginFailed, match="method 5"):
        await login(settings, "md5")
    with pytest.raises(LoginFailed, match="outside TLS"):
        await login(settings, "clear")


async def test_a_client_certificate(strict: Postgres, certificates: Certificates):
    certificate, key = certificates.issue("certified")
    settings = DatabaseSettings(
        port=strict.port, tls="verify", root_certificate=certificates.authority, certificate=certificate, key=key
    )
    assert await login(settings, "certified") == "certified"
    assert await as_service(settings, "certified") == "certified"
    with pytest.raises(LoginFailed, match="certificate authentication failed"):
        await login(settings, "another")


@pytest.fixture
def own_cache() -> Iterator[None]:
    """pgguard's own login makes a cache of its own this thread's default: later tests have other tickets."""
    yield
    krb5_ccache_name(None)


@pytest.mark.usefixtures("own_cache")
async def test_kerberos_with_the_proxys_own_key(
    strict: Postgres, realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for key, value in realm.environment().items():
        monkeypatch.setenv(key, value)
    realm.add_principal("pgproxy")
    keytab = realm.keytab(tmp_path / "proxy.keytab", "pgproxy")
    settings = DatabaseSettings(port=strict.port, keytab=keytab, principal="pgproxy@PGGUARD.TEST", service="dbsrv")
    assert await login(settings, "kerberos") == "kerberos"
    assert await as_service(settings, "kerberos") == "kerberos", "the catalog is loaded by the same proof"
    nobody = msgspec.structs.replace(settings, principal="nobody@PGGUARD.TEST")
    with pytest.raises(asyncpg.InterfaceError, match=r"no ticket for the database from keytab .*must hold a key"):
        await as_service(nobody, "kerberos")
    stranger = msgspec.structs.replace(settings, service="nothing")
    with pytest.raises(asyncpg.InterfaceError, match="own login to the database failed"):
        await as_service(stranger, "kerberos")
    without = DatabaseSettings(port=strict.port)
    with pytest.raises(LoginFailed, match=r"\[database\] keytab"):
        await login(without, "kerberos")


async def test_verification_is_of_the_certificate_and_of_the_name(
    strict: Postgres, password: Path, certificates: Certificates, tmp_path: Path
):
    strange = Certificates(tmp_path / "strange")
    settings = DatabaseSettings(
        port=strict.port, password_file=password, tls="verify", root_certificate=strange.authority
    )
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await login(settings, "scram")
    by_another_name = DatabaseSettings(
        host="127.0.0.2",
        port=strict.port,
        password_file=password,
        tls="verify",
        root_certificate=certificates.authority,
    )
    with pytest.raises(Unreachable, match="IP address mismatch"):
        await login(by_another_name, "scram")
    assert await login(msgspec.structs.replace(by_another_name, tls="require"), "scram") == "scram"


async def test_a_database_without_tls_is_not_spoken_to_in_clear(postgres: Postgres):
    with pytest.raises(Unreachable, match="does not speak TLS"):
        await login(DatabaseSettings(port=postgres.port, tls="require"), "postgres")


async def test_bytes_behind_the_answer_to_sslrequest_end_it():
    """CVE-2021-23222: an attacker in the middle answers before the encrypted session begins."""

    async def stuff(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S" + backend.authentication(backend.Authentication.OK))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        over.set()

    over = asyncio.Event()
    async with await asyncio.start_server(stuff, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="behind its answer"):
            await login(DatabaseSettings(port=port, tls="require"), "postgres")
        await over.wait()


async def test_the_first_host_that_serves_is_taken(postgres: Postgres):
    dead = "127.0.0.3"
    settings = DatabaseSettings(host=(dead, "localhost"), port=postgres.port, session="read-write")
    connection = await Databases(settings).connect("postgres", "postgres", {})
    assert connection.host == "localhost"
    connection.endpoint.close()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.3.*; .*localhost"):
        await login(DatabaseSettings(host=(dead, "localhost"), port=free_port()), "postgres")


async def test_read_write_passes_over_a_database_that_takes_no_writes(postgres: Postgres):
    postgres.run("create role reader login; alter role reader set default_transaction_read_only = on")
    settings = DatabaseSettings(port=postgres.port, session="read-write")
    with pytest.raises(Unreachable, match="takes no writes"):
        await login(settings, "reader")


async def test_a_host_that_says_nothing_is_given_up():
    with socket.create_server(("localhost", 0)) as silent, pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        await login(DatabaseSettings(port=silent.getsockname()[1], connect_seconds=0.2), "postgres")


async def test_the_principal_is_a_setting_that_reset_and_discard_bring_back(postgres: Postgres):
    """A client may set it only where the rules let it: but nothing harmless makes it go away."""
    databases = Databases(DatabaseSettings(port=postgres.port))
    connection = await databases.connect("postgres", "postgres", {"pgguard.principal": "ann@PGGUARD.TEST"})
    for statement in ("select 1", "set pgguard.principal = 'x'; reset pgguard.principal", "reset all", "discard all"):
        await ask(connection, statement)
        assert await ask(connection, "show pgguard.principal") == "ann@PGGUARD.TEST"
    connection.endpoint.close()


async def test_a_cancel_has_arrived_when_it_returns(postgres: Postgres):
    databases = Databases(DatabaseSettings(port=postgres.port))
    connection = await databases.connect("postgres", "postgres", {})
    assert len(connection.key.secret) >= 4
    running = asyncio.create_task(ask(connection, "select pg_sleep(60)"))
    observer = await databases.connect("postgres", "postgres", {})
    active = f"select count(*) from pg_stat_activity where pid = {connection.key.process} and state = 'active'"
    async with asyncio.timeout(10):
        while await ask(observer, active) != "1":
            await ask(observer, "select pg_sleep(0.01)")
        await databases.cancel(connection)
        assert await running == "canceling statement due to user request"
    assert await ask(connection, "select 'still here'") == "still here"
    for each in (connection, observer):
        each.endpoint.close()
