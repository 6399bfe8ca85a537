"""`pgguard.principal`, the setting by which the database can tell who asks.

Policies and triggers of the database may rely on it, so no rule can allow a client to change it, nor does observation
let it pass. RESET gives it its value of the login again, and stays allowed. A set_config() whose setting only the
running statement knows is left to the rules (pg_dump needs one): it takes a rule that allows `set` on every setting.
"""

from pgguard.model.access import Access, Kind, Privilege
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState

PRINCIPAL_SETTING = "pgguard.principal"

PRINCIPAL_IS_FIXED = Refusal(SqlState.INSUFFICIENT_PRIVILEGE, f'parameter "{PRINCIPAL_SETTING}" cannot be changed')


def may_set_principal(access: Access) -> bool:
    return (
        access.privilege is Privilege.SET
        and access.kind is Kind.SETTING
        and access.object.name.lower() == PRINCIPAL_SETTING
    )
