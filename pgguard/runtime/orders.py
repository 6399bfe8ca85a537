"""What a worker and its supervisor say to each other.

The supervisor passes on to the other workers what concerns them, and answers for all of them. What is answered stands
with each order; where nothing stands it is only told.
"""

import msgspec

from pgguard.runtime.ledger import Place
from pgguard.runtime.metrics import Family


class SessionLine(msgspec.Struct, frozen=True):
    """An open session, as the console shows it."""

    session: str
    user: str
    principal: str
    database: str
    address: str | None
    transport: str
    doing: str
    statements: int


class Report(msgspec.Struct, frozen=True):
    """What a process has counted, and what keeps sessions that come now from working."""

    families: tuple[Family, ...] = ()
    troubles: tuple[str, ...] = ()


class _Order(msgspec.Struct, frozen=True, tag=True):
    pass


class Ready(_Order, frozen=True):
    """The worker serves."""


class Draining(_Order, frozen=True):
    """The worker takes no further connections: it ends when its sessions have."""


class Farewell(_Order, frozen=True):
    """The worker's last word: what it has counted."""

    report: Report


class Closed(_Order, frozen=True):
    """A connection that was handed to the worker is gone."""


class Enter(_Order, frozen=True):
    """May a session of this place begin? Answer: why not; empty: it may."""

    place: Place


class Leave(_Order, frozen=True):
    """A session that was let in has ended."""

    place: Place


class Cancel(_Order, frozen=True):
    """A CancelRequest, for the worker whose number its key carries."""

    process: int
    secret: bytes


class Sessions(_Order, frozen=True):
    """Answer: list[SessionLine], of all but the asking worker."""


class Terminate(_Order, frozen=True):
    """End this session, if it is one of `owner`'s (None: whose-ever). Answer: whether there was one."""

    session: str
    owner: str | None
    why: str


class Tell(_Order, frozen=True):
    """Answer: a Report; of all workers where a worker asks."""


class Reload(_Order, frozen=True):
    """Read anew what can be. Answer: why the rules stay as they were; empty: they do not, or nothing has changed."""


class HoldChanged(_Order, frozen=True):
    """A hold in the file that the workers share is another now."""

    number: int


Order = (
    Ready | Draining | Farewell | Closed | Enter | Leave | Cancel | Sessions | Terminate | Tell | Reload | HoldChanged
)
