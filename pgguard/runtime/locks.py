"""What the transaction of a held statement keeps locked, for those who are to decide: asked anew whenever they look.

While a statement waits, its transaction stays open in the database, and others may wait for what it has locked. The
question goes beside the session, by pgguard's own login, which needs pg_monitor for the transaction's age.
"""

import asyncio

import asyncpg
import msgspec

from pgguard.auth.settings import DatabaseSettings
from pgguard.holds.hold import Hold, in_words, shown
from pgguard.runtime.house import House
from pgguard.runtime.service_login import connect_as_service

_SECONDS = 3.0

_QUESTION = """
select extract(epoch from clock_timestamp() - a.xact_start)::float8 as age,
       a.backend_xid is not null as has_written,
       array(select distinct coalesce(format('%I.%I', n.nspname, c.relname), 'advisory') || ' ' || l.mode
             from pg_catalog.pg_locks l
             left join pg_catalog.pg_class c on c.oid = l.relation
             left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where l.pid = a.pid and l.granted
               and (l.locktype = 'advisory' or (c.relkind not in ('i', 'I') and n.nspname <> 'pg_catalog'))
             order by 1) as locks,
       (select count(distinct w.pid) from pg_catalog.pg_locks w
        where not w.granted and a.pid = any (pg_catalog.pg_blocking_pids(w.pid))) as waiting
from pg_catalog.pg_stat_activity a
where a.pid = $1 and a.datname = $2
"""


async def lock_rows(house: House, hold: Hold) -> tuple[tuple[str, str], ...]:
    """As SHOW HOLD tells it, a row each; none outside a transaction."""
    if not hold.in_transaction:
        return ()
    settings = house.config.database
    if hold.host not in settings.hosts:
        return (("locks", f'cannot be told: "{hold.host}" is no database host of this node'),)
    try:
        async with asyncio.timeout(_SECONDS):
            row = await _asked(house, msgspec.structs.replace(settings, host=hold.host), hold)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return (("locks", f"cannot be told: {error or 'the database does not answer'}"),)
    if row is None:
        return (("locks", "cannot be told: the database knows the session no more"),)
    locks = [*row["locks"], *(["rows that it has changed"] if row["has_written"] else [])]
    age = "its age is known to members of pg_monitor" if row["age"] is None else f"open for {in_words(row['age'])}"
    return (
        ("transaction", age),
        ("locks", f"{shown(', '.join(locks)) or 'none'}; kept while this waits"),
        ("waiting for them", f"{row['waiting']} session{'' if row['waiting'] == 1 else 's'}"),
    )


async def _asked(house: House, settings: DatabaseSettings, hold: Hold) -> asyncpg.Record | None:
    connection = await connect_as_service(settings, house.databases.tls, hold.database)
    try:
        return await connection.fetchrow(_QUESTION, hold.process, hold.database)
    finally:
        connection.terminate()
