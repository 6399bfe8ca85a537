"""Every statement that is no query: each class of the grammar to the accesses that the rule language gives it.

docs/statements.md lists them. `UTILITIES` is the whole table; a class that is not in it cannot be judged.
"""

from pgguard.sql.utility.commands import SESSION
from pgguard.sql.utility.names import Collector
from pgguard.sql.utility.objects import OBJECTS
from pgguard.sql.utility.routines import ROUTINES
from pgguard.sql.utility.tables import TABLES, create_table_as

UTILITIES: dict[type, Collector] = SESSION | TABLES | OBJECTS | ROUTINES

__all__ = ["UTILITIES", "create_table_as"]
