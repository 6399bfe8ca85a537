"""The login to the database as a state machine, against messages made by hand; the real one is in tests/runtime."""

import pytest
from scramp import ScramMechanism

from pgguard.session.server_login import LoginFailed, ServerLogin
from pgguard.wire import backend
from pgguard.wire.constants import Authentication, Backend
from pgguard.wire.framing import Message, ProtocolViolation


def message(raw: bytes) -> Message:
    return Message(raw[0], raw)


def asks(code: Authentication, data: bytes = b"") -> Message:
    return message(backend.authentication(code, data))


def test_trust_then_parameters_and_key():
    login = ServerLogin("app", None, encrypted=False)
    key = backend.KeyData(42, b"k" * 32)
    for raw in (
        backend.authentication(Authentication.OK),
        backend.parameter_status("server_version", "18"),
        backend.key_data(key),
        backend.ready_for_query(b"I"),
    ):
        assert login.ready is False
        assert login.receive(message(raw)) == b""
    assert login.ready
    assert login.key == key
    assert login.parameters == {"server_version": "18"}


def test_a_password_in_clear_only_inside_tls():
    with pytest.raises(LoginFailed, match="outside TLS"):
        ServerLogin("app", "secret", encrypted=False).receive(asks(Authentication.CLEARTEXT_PASSWORD))
    answer = ServerLogin("app", "secret", encrypted=True).receive(asks(Authentication.CLEARTEXT_PASSWORD))
    assert answer == b"p\0\0\0\x0bsecret\0"


def test_md5_and_what_is_not_configured_is_said():
    login = ServerLogin("app", None, encrypted=True)
    with pytest.raises(LoginFailed, match="method 5"):
        login.receive(asks(Authentication.MD5_PASSWORD, b"salt"))
    with pytest.raises(LoginFailed, match="password_file"):
        login.receive(asks(Authentication.SASL, b"SCRAM-SHA-256\0\0"))
    with pytest.raises(LoginFailed, match=r"\[database\] keytab"):
        login.receive(asks(Authentication.GSS))


def _scram(password: str) -> tuple[ServerLogin, bytes]:
    """A login up to the server's last message: which is given back instead of delivered."""
    mechanism = ScramMechanism("SCRAM-SHA-256")
    server = mechanism.make_server(lambda _: mechanism.make_auth_info("secret"))
    login = ServerLogin("app", password, encrypted=False)
    first = login.receive(asks(Authentication.SASL, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
    server.set_client_first(first[5 + len(b"SCRAM-SHA-256\0") + 4 :].decode())
    final = login.receive(asks(Authentication.SASL_CONTINUE, server.get_server_first().encode()))
    server.set_client_final(final[5:].decode())
    return login, server.get_server_final().encode()


def test_scram_ends_only_when_the_database_has_proven_itself():
    login, final = _scram("secret")
    with pytest.raises(LoginFailed, match="before it had proven"):
        login.receive(asks(Authentication.OK))
    login, final = _scram("secret")
    login.receive(asks(Authentication.SASL_FINAL, final))
    assert login.receive(asks(Authentication.OK)) == b""


def test_a_false_proof_is_refused():
    login, _ = _scram("secret")
    with pytest.raises(LoginFailed, match="did not prove"):
        login.receive(asks(Authentication.SASL_FINAL, b"v=" + b"A" * 43 + b"="))


class _Handshake:
    def __init__(self) -> None:
        self.complete = False

    def step(self, token: bytes) -> bytes:
        self.complete = token == b"proof"
        return b"" if self.complete else b"hello"


def test_gssapi_ends_only_when_the_database_has_proven_itself():
    login = ServerLogin("app", None, encrypted=False, gss=_Handshake())
    assert login.receive(asks(Authentication.GSS)) == b"p\0\0\0\x09hello"
    with pytest.raises(LoginFailed, match="before it had proven"):
        login.receive(asks(Authentication.OK))
    assert login.receive(asks(Authentication.GSS_CONTINUE, b"proof")) == b""
    assert login.receive(asks(Authentication.OK)) == b""


def test_the_databases_own_error_is_kept():
    error = backend.error({"S": "FATAL", "C": "3D000", "M": 'database "x" does not exist'})
    with pytest.raises(LoginFailed, match='database "x"') as caught:
        ServerLogin("app", None, encrypted=False).receive(message(error))
    assert caught.value.error == error
    assert caught.value.try_elsewhere is False
    starting = LoginFailed("", backend.error({"C": "57P03", "M": "starting up"}))
    assert starting.try_elsewhere


@pytest.mark.parametrize("kind", [Backend.DATA_ROW, Backend.NEGOTIATE_PROTOCOL_VERSION, Backend.COPY_IN_RESPONSE])
def test_what_does_not_belong_to_a_login_ends_it(kind: Backend):
    with pytest.raises(ProtocolViolation):
        ServerLogin("app", None, encrypted=False).receive(message(bytes((kind,)) + b"\0\0\0\x04"))
