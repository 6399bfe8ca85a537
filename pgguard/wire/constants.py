"""The protocol's numbers and letters (PostgreSQL docs, section 55.7 "Message Formats")."""

from enum import IntEnum


class Frontend(IntEnum):
    """Message types that a client sends."""

    BIND = ord("B")
    CLOSE = ord("C")
    COPY_DATA = ord("d")
    COPY_DONE = ord("c")
    COPY_FAIL = ord("f")
    DESCRIBE = ord("D")
    EXECUTE = ord("E")
    FLUSH = ord("H")
    FUNCTION_CALL = ord("F")
    PARSE = ord("P")
    PASSWORD = ord("p")
    """PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share this letter."""
    QUERY = ord("Q")
    SYNC = ord("S")
    TERMINATE = ord("X")


class Backend(IntEnum):
    """Message types that a server sends."""

    AUTHENTICATION = ord("R")
    BACKEND_KEY_DATA = ord("K")
    BIND_COMPLETE = ord("2")
    CLOSE_COMPLETE = ord("3")
    COMMAND_COMPLETE = ord("C")
    COPY_BOTH_RESPONSE = ord("W")
    COPY_DATA = ord("d")
    COPY_DONE = ord("c")
    COPY_IN_RESPONSE = ord("G")
    COPY_OUT_RESPONSE = ord("H")
    DATA_ROW = ord("D")
    EMPTY_QUERY_RESPONSE = ord("I")
    ERROR_RESPONSE = ord("E")
    FUNCTION_CALL_RESPONSE = ord("V")
    NEGOTIATE_PROTOCOL_VERSION = ord("v")
    NO_DATA = ord("n")
    NOTICE_RESPONSE = ord("N")
    NOTIFICATION_RESPONSE = ord("A")
    PARAMETER_DESCRIPTION = ord("t")
    PARAMETER_STATUS = ord("S")
    PARSE_COMPLETE = ord("1")
    PORTAL_SUSPENDED = ord("s")
    READY_FOR_QUERY = ord("Z")
    ROW_DESCRIPTION = ord("T")


class Authentication(IntEnum):
    """The request codes of Authentication messages."""

    OK = 0
    CLEARTEXT_PASSWORD = 3
    MD5_PASSWORD = 5
    GSS = 7
    GSS_CONTINUE = 8
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


class RequestCode(IntEnum):
    """What stands in the place of the protocol version in a packet without a type."""

    CANCEL = 80877102
    SSL = 80877103
    GSSENC = 80877104


PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = 3 << 16 | 2

MAX_STARTUP = 10_000
"""Largest startup packet (PostgreSQL source: MAX_STARTUP_PACKET_LENGTH)."""

MAX_MESSAGE = 0x3FFFFFFF
"""Largest message of any kind: 1 GB less one (PostgreSQL source: PQ_LARGE_MESSAGE_LIMIT)."""

MAX_SMALL_MESSAGE = 10_000
"""Largest of the messages that carry no user data (PostgreSQL source: PQ_SMALL_MESSAGE_LIMIT)."""
