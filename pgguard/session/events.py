"""What a session tells the runtime besides bytes."""

import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """How one statement ended. `number`: its request's; `index`: which statement of the string, from 0.

    `tag`: the command tag with its count, None where it failed or never ran. `rows` were sent to the client;
    `copied`: bytes of COPY data. `sqlstate`: of the error; None for success, and where the database skipped it.
    """

    number: int
    index: int
    tag: str | None
    rows: int = 0
    sqlstate: str | None = None
    copied: int = 0


class CancelWanted(msgspec.Struct, frozen=True):
    """Cancel what the database runs now (a result grew too long), and call `Session.cancelled` when that is over."""


class WaitsInVain(msgspec.Struct, frozen=True):
    """`Session.waiting` will not run, since the database skips it: give its judgement up, and `resolve` it."""


class ParameterChanged(msgspec.Struct, frozen=True):
    name: str
    value: str


class Ended(msgspec.Struct, frozen=True):
    """The session is over: write out what is left to each side, and close both."""


Event = Outcome | CancelWanted | WaitsInVain | ParameterChanged | Ended
