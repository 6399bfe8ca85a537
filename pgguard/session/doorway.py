"""The door's rules: what a client may ask before it is known, and what its startup packet says. Pure.

Theory of operation (PostgreSQL docs, sections 55.2.1, 55.2.10, 55.2.13). A client may ask for TLS and for GSS
encryption, in either order while the answer is no, and for neither once a connection is encrypted. What lies behind
such a request was sent before the answer: whoever could stuff it there could speak in the client's name
(CVE-2021-23214), so that the connection ends. Then comes one startup packet, or a CancelRequest. Nothing of the packet
reaches the database as it is: it is read into a `Startup`, and what it sets is listed for judgement.
"""

from enum import Enum

import msgspec

from pgguard.model.context import Replication, Transport
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.wire.constants import PROTOCOL_3_0, PROTOCOL_3_2
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.startup import CancelRequest, FirstPacket, GssEncRequest, SslRequest, StartupMessage

_OPTIONAL = "_pq_."
_OWN = frozenset({"user", "database", "options", "replication", "application_name", "client_encoding"})
_NEVER_OPTIONS = _OWN - {"application_name", "client_encoding"}
PHYSICAL = "replication"
"""What stands for the database of a connection for physical replication (PostgreSQL docs, section 20.1)."""

_ENCODINGS = {"utf8": "UTF8", "unicode": "UTF8", "sqlascii": "SQL_ASCII"}


class NotAdmitted(Exception):  # noqa: N818  # it says what happened
    """The client is turned away with this FATAL error; `log` may say more than the client is told.

    `user`, `database`: what it asked for; `principal`: who it had proven to be; empty where it had not come to that.
    """

    def __init__(self, refusal: Refusal, log: str = "", *, principal: str = "") -> None:
        super().__init__(log or refusal.message)
        self.refusal = refusal
        self.principal = principal
        self.user = ""
        self.database = ""


class Next(Enum):
    """What to do about a request for encryption."""

    ANSWER_NO = "answer_no"
    START_TLS = "start_tls"
    START_GSS = "start_gss"


class Startup(msgspec.Struct, frozen=True):
    """What a startup packet says.

    `settings`: every run-time setting that it asks for but application_name and client_encoding, by its name in lower
    case, each name once, with the value that the database would let count (the packet's over that of `options`); each
    is a `set` access (or `become`, for role) to be judged.
    `replication`: the client wants a replication connection (a `replicate` access); a physical one has no database, and
    goes by the name that pg_hba.conf has for it. `version`: the protocol version agreed on; `refused_options` are the
    protocol options that it asked for and pgguard has not. `negotiate`: a NegotiateProtocolVersion tells the client so.
    """

    user: str
    database: str
    version: int
    application_name: str = ""
    client_encoding: str = "UTF8"
    settings: tuple[tuple[str, str], ...] = ()
    replication: Replication = Replication.NONE
    refused_options: tuple[str, ...] = ()
    negotiate: bool = False


class Doorway:
    """One client's way through the door: feed it each untyped packet, do what it says.

    `tls`: whether there is TLS; `certified`: whether only clients with a certificate may come in, which TLS has asked
    for.
    """

    def __init__(self, *, tls: bool, certified: bool = False) -> None:
        self._tls = tls
        self._certified = certified
        self.transport = Transport.PLAIN

    def take(self, packet: FirstPacket, behind: int) -> Next | CancelRequest | Startup:
        """What a packet asks for; `behind`: how many bytes were received after it already.

        Raises ProtocolViolation where nobody can be answered any more, NotAdmitted with what to answer.
        """
        match packet:
            case CancelRequest():
                return packet
            case StartupMessage():
                if self._certified and self.transport is not Transport.TLS:
                    raise _turned_away("connection requires a valid client certificate")  # as PostgreSQL says
                return read_startup(packet)
            case SslRequest():
                return self._encryption("SSLRequest", behind, Next.START_TLS if self._tls else Next.ANSWER_NO)
            case GssEncRequest():
                return self._encryption("GSSENCRequest", behind, Next.ANSWER_NO if self._certified else Next.START_GSS)

    def _encryption(self, request: str, behind: int, answer: Next) -> Next:
        if self.transport is not Transport.PLAIN:
            raise ProtocolViolation(f"{request} inside an encrypted connection")
        if behind:
            raise ProtocolViolation(f"received unencrypted data after {request}")
        if answer is Next.START_TLS:
            self.transport = Transport.TLS
        elif answer is Next.START_GSS:
            self.transport = Transport.GSS
        return answer


def read_startup(packet: StartupMessage) -> Startup:
    """Raises NotAdmitted."""
    given = packet.parameters
    user = given.get("user", "")
    if not user:
        raise _turned_away("no PostgreSQL user name specified in startup packet")
    version, refused, negotiate = _negotiate(packet)
    rest = tuple((k, v) for k, v in given.items() if k not in _OWN and not k.startswith(_OPTIONAL))
    names = [name.lower() for name, _ in rest]
    for name in names:
        if name in _OWN or names.count(name) > 1:
            raise _invalid(f'startup packet names "{name}" twice or in an unusual spelling')
    options = _read_options(given.get("options", ""))
    # what both give counts as in the packet: the database applies it after the options
    named = {name.lower(): value for name, value in options} | given
    replication = _replication(given.get("replication", "false"))
    physical = replication is Replication.PHYSICAL
    return Startup(
        user=user,
        database=PHYSICAL if physical else given.get("database") or user,
        version=version,
        application_name=named.get("application_name", ""),
        client_encoding=_encoding(named.get("client_encoding", "UTF8")),
        settings=_merged((*options, *rest)),
        replication=replication,
        refused_options=refused,
        negotiate=negotiate,
    )


def _merged(settings: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Each name once, in lower case, with its last value: names compare without case in the database."""
    # INVARIANT: no name stands twice in different spellings, so that what is judged is what takes effect
    return tuple({name.lower(): value for name, value in settings if name.lower() not in _OWN}.items())


def _negotiate(packet: StartupMessage) -> tuple[int, tuple[str, ...], bool]:
    """The version to speak, what is not supported, and whether the client has to be told.

    3.0 and 3.2 are spoken; 3.1 was never given out; what is newer is answered with 3.2. A message that changes nothing
    is an error for libpq 18 (field notes, section 1).
    """
    version = PROTOCOL_3_2 if packet.version >= PROTOCOL_3_2 else PROTOCOL_3_0
    refused = tuple(name for name in packet.parameters if name.startswith(_OPTIONAL))
    return version, refused, packet.version != version or bool(refused)


def _encoding(name: str) -> str:
    """PostgreSQL's spelling of an encoding's name; it compares letters and digits only (pg_char_to_encoding)."""
    found = _ENCODINGS.get("".join(c for c in name.lower() if c.isascii() and c.isalnum()))
    if found is None:
        raise _invalid(
            f'client_encoding "{name}" is not supported by pgguard',
            "Statements are judged as UTF-8: set client_encoding (or PGCLIENTENCODING) to UTF8.",
        )
    return found


def _replication(value: str) -> Replication:
    """What the packet asks for: `database`, or a boolean in any of its spellings (PostgreSQL docs, section 55.4)."""
    if value == "database":
        return Replication.DATABASE
    word = value.lower()
    if word in {"on", "1"} or (word and ("true".startswith(word) or "yes".startswith(word))):
        return Replication.PHYSICAL
    if word in {"of", "off", "0"} or (word and ("false".startswith(word) or "no".startswith(word))):
        return Replication.NONE
    raise _invalid(f'invalid value for parameter "replication": "{value}"')


def _read_options(text: str) -> tuple[tuple[str, str], ...]:
    """The settings of `options`: `-c name=value` and `--name=value` (PostgreSQL docs, section 34.1.2)."""
    words = iter(_split_options(text))
    settings = []
    for word in words:
        if word == "-c":
            pair = next(words, "")
        elif word.startswith(("--", "-c")):
            pair = word[2:]
        else:
            raise _invalid(f'"{word}" in options is not supported by pgguard', "Use -c name=value or --name=value.")
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise _invalid(f'"{pair}" in options is not name=value')
        name = name.replace("-", "_")
        if name.lower() in _NEVER_OPTIONS:
            raise _invalid(f'"{name}" is no setting that options can give')
        settings.append((name, value))
    return tuple(settings)


def _split_options(text: str) -> list[str]:
    """Words by white space; a backslash takes the next character as it is (PostgreSQL source, pg_split_opts)."""
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(text)
    for character in characters:
        if character in " \t\n\r\v\f":
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = word if word is not None else []
        word.append(next(characters, "") if character == "\\" else character)
    return words if word is None else [*words, "".join(word)]


def _turned_away(message: str) -> NotAdmitted:
    return NotAdmitted(Refusal(SqlState.INVALID_AUTHORIZATION_SPECIFICATION, message))


def _invalid(message: str, hint: str | None = None) -> NotAdmitted:
    return NotAdmitted(Refusal(SqlState.INVALID_PARAMETER_VALUE, message, hint=hint))
