"""The commands of a replication connection: which text is one, and what it does.

Theory of operation (PostgreSQL docs, section 55.4; source, repl_scanner.l). On a replication connection the server
looks at the first token of a string: an upper-case keyword of the replication grammar makes all of it a command of that
grammar, which has no statement behind a semicolon; everything else is SQL, and for SQL only where the connection has a
database. The keywords here are those of PostgreSQL 18: on an older server one that it does not know begins no SQL
statement either, so that the server refuses it.

What is streamed cannot be judged row by row: each command is a `replicate` access, whatever it names.
"""

import re

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.control import CopyIn
from pgguard.model.facts import Facts

REPLICATE = Access(Privilege.REPLICATE, Kind.SERVER, ObjectName("*"))

COMMANDS = frozenset({
    "ALTER_REPLICATION_SLOT", "BASE_BACKUP", "CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT", "IDENTIFY_SYSTEM",
    "READ_REPLICATION_SLOT", "SHOW", "START_REPLICATION", "TIMELINE_HISTORY", "UPLOAD_MANIFEST",
})  # fmt: skip

_SENDS_DATA = frozenset({"START_REPLICATION", "UPLOAD_MANIFEST"})
"""The client sends CopyData behind these: in the first both sides do."""

_FIRST_WORD = re.compile(rb"[ \t\n\r\f\v]*([A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*)")


def replication_command(text: bytes) -> Facts | None:
    """What a command of the replication grammar does; None for what the server takes as SQL."""
    found = _FIRST_WORD.match(text)
    word = "" if found is None else found[1].decode("latin-1")
    if word not in COMMANDS:
        return None
    return Facts(word, (REPLICATE,), control=CopyIn() if word in _SENDS_DATA else None)
