"""The login to the database as a state machine: what its authentication requests are answered with.

Trust, cleartext (only inside TLS), SCRAM-SHA-256 (RFC 5802, RFC 7677; by scramp), and GSSAPI where a handshake is
given. MD5 is refused: it proves nothing to the client side, and PostgreSQL itself is about to drop it. A login with a
method that proves the database, too (SCRAM, GSSAPI), is not complete before it has.
"""

from typing import Protocol

from scramp import ScramClient, ScramException

from pgguard.wire import backend, frontend
from pgguard.wire.constants import Authentication, Backend
from pgguard.wire.framing import Message, ProtocolViolation

_SCRAM = "SCRAM-SHA-256"
_CANNOT_CONNECT_NOW = "57P03"


class GssHandshake(Protocol):
    """The initiator's side of a GSSAPI handshake; `step(b"")` begins it."""

    def step(self, token: bytes) -> bytes: ...

    @property
    def complete(self) -> bool: ...


class LoginFailed(Exception):  # noqa: N818  # it says what happened
    """The database refused the login, or asked for what is not given. `error`: its own ErrorResponse, if any."""

    def __init__(self, message: str, error: bytes | None = None) -> None:
        super().__init__(message)
        self.error = error

    @property
    def try_elsewhere(self) -> bool:
        """The database starts up, shuts down, or is a standby that takes nobody (57P03): another host may be better."""
        return self.error is not None and backend.read_fields(self.error).get("C") == _CANNOT_CONNECT_NOW


class ServerLogin:
    """Feed it the server's messages until `ready`; send what it returns."""

    def __init__(self, user: str, password: str | None, *, encrypted: bool, gss: GssHandshake | None = None) -> None:
        self._user = user
        self._password = password
        self._encrypted = encrypted
        self._gss = gss
        self._proven: bool | None = None  # None: a method that proves nothing of the database
        self._scram: ScramClient | None = None
        self.parameters: dict[str, str] = {}
        self.key = backend.KeyData(0, b"\0\0\0\0")
        self.ready = False

    def receive(self, message: Message) -> bytes:
        """The answer to one message, empty for none. Raises LoginFailed and ProtocolViolation."""
        match message.type:
            case Backend.AUTHENTICATION:
                return self._authenticate(*backend.read_authentication(message.raw))
            case Backend.PARAMETER_STATUS:
                name, value = backend.read_parameter_status(message.raw)
                self.parameters[name] = value
            case Backend.BACKEND_KEY_DATA:
                self.key = backend.read_key_data(message.raw)
            case Backend.READY_FOR_QUERY:
                self.ready = True
            case Backend.ERROR_RESPONSE:
                fields = backend.read_fields(message.raw)
                raise LoginFailed(f"the database says: {fields.get('M', '')}", message.raw)
            case Backend.NOTICE_RESPONSE:
                pass
            case _:
                raise ProtocolViolation(f"unexpected message type {message.type} during login to the database")
        return b""

    def _authenticate(self, code: int, data: bytes) -> bytes:
        match code:
            case Authentication.OK:
                if self._proven is False:
                    raise LoginFailed("the database ended the login before it had proven who it is")
                return b""
            case Authentication.CLEARTEXT_PASSWORD:
                if not self._encrypted:
                    raise LoginFailed("the database asks for a cleartext password outside TLS; use scram-sha-256")
                return frontend.password(self._secret().encode() + b"\0")
            case Authentication.GSS:
                return self._step_gss(b"")
            case Authentication.GSS_CONTINUE:
                return self._step_gss(data)
            case Authentication.SASL:
                return self._begin_scram(data)
            case Authentication.SASL_CONTINUE:
                return self._continue_scram(data)
            case Authentication.SASL_FINAL:
                return self._end_scram(data)
            case _:
                raise LoginFailed(
                    f"the database asks for authentication method {code}, which pgguard does not use;"
                    " set scram-sha-256 in its pg_hba.conf"
                )

    def _secret(self) -> str:
        if self._password is None:
            raise LoginFailed(f'the database asks for the password of "{self._user}"; set [database] password_file')
        return self._password

    def _step_gss(self, token: bytes) -> bytes:
        if self._gss is None:
            raise LoginFailed("the database asks for GSSAPI; set [database] keytab")
        answer = self._gss.step(token)
        self._proven = self._gss.complete
        return frontend.password(answer) if answer else b""

    def _begin_scram(self, data: bytes) -> bytes:
        offered = [name.decode() for name in data.split(b"\0") if name]
        if _SCRAM not in offered:
            raise LoginFailed(f"the database offers {', '.join(offered)}, but not {_SCRAM}")
        self._proven = False
        self._scram = ScramClient([_SCRAM], self._user, self._secret())
        first = self._scram.get_client_first().encode()
        return frontend.password(_SCRAM.encode() + b"\0" + len(first).to_bytes(4, "big") + first)

    def _continue_scram(self, data: bytes) -> bytes:
        scram = self._client()
        try:
            scram.set_server_first(data.decode())
            return frontend.password(scram.get_client_final().encode())
        except (ScramException, UnicodeDecodeError) as error:
            raise LoginFailed(f"SCRAM with the database failed: {error}") from error

    def _end_scram(self, data: bytes) -> bytes:
        try:
            self._client().set_server_final(data.decode())
        except (ScramException, UnicodeDecodeError) as error:
            raise LoginFailed(f"the database did not prove that it knows the password: {error}") from error
        self._proven = True
        return b""

    def _client(self) -> ScramClient:
        if self._scram is None:
            raise ProtocolViolation("the database went on with SASL that it had not begun")
        return self._scram
