"""What was allowed just now, as a case by which the same statement is allowed again, in the same circumstances.

Theory of operation. A statement that is allowed at once, since its decision is known (recent.py), makes a case. It
keeps all that led from the statement to its record: what the text means and by what that was told, the decision with
its circumstances, the form of the record. While none of this has changed, at most to the end of the second, a
repetition needs to find none of it again.

# INVARIANT: what a case allows `Approval.at_once` would allow, with the same record.
"""

from pgguard.audit.encoding import Form
from pgguard.runtime.recent import Held
from pgguard.runtime.understanding import Understood
from pgguard.session.judgement import Precedent, TransactionStatus


class Case(Precedent, frozen=True):
    """`binds`: it was allowed at its Bind, and so is its Execute. `needs_told`: the rules look at what the session must
    tell. `inert`: it changes nothing by which later ones are understood.
    """

    judged: Held
    understood: Understood
    status: TransactionStatus
    binds: bool
    formats: tuple[int, ...]
    needs_told: bool
    inert: bool
    form: Form
