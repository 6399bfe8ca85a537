"""How long a lost group still counts: from the change in LDAP to the refusal of the next statement.

    PYTHONPATH=. python bench/revocation.py [sessions]

Theory of operation. Fifty users hold the sessions, which are open through pgguard, with real tickets. Each round takes
the group from one user, and asks in one of their sessions again and again until the answer is a refusal; the time runs
from just before the change is sent to slapd. Then the user gets the group back, which is waited for. First with
polling alone (the default pace, 2 s), then with syncrepl.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg

from pgguard.lab.lab import Lab, Plan

_USERS = [f"user{number}" for number in range(50)]
_OTHER_GROUPS = 200
_ROUNDS = {"polling": 12, "syncrepl": 20}
_QUESTION = "select count(*) from sales.products"
_RULES = "rules: [{name: readers-read, who: {group: readers}, allow: select, on: sales.products}]"

Sessions = dict[str, list[asyncpg.Connection]]


def _plan(folder: Path, way: str, sessions: int) -> Plan:
    folder.mkdir()
    folder.chmod(0o755)
    rules = folder / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text(_RULES)
    people = folder / "people.yaml"
    people.write_text("users:\n" + "".join(f"  {user}: {{groups: [readers]}}\n" for user in _USERS))
    return Plan(
        folder / "lab",
        rules=rules,
        directory=people,
        db_role="app",
        settings=(f"directory.syncrepl={str(way == 'syncrepl').lower()}", f"limits.sessions={sessions + 10}"),
        postgres_settings={"max_connections": str(sessions + 50)},
    )


async def _open(lab: Lab, count: int) -> Sessions:
    opened: Sessions = {}
    for user in _USERS:
        os.environ.update(lab.environment(user))  # asyncpg takes the ticket from there
        place = {"host": lab.proxy.host, "port": lab.proxy.port, "user": user, "database": "shop"}
        logins = [asyncpg.connect(**place, gsslib="gssapi", timeout=60) for _ in range(count // len(_USERS))]
        opened[user] = list(await asyncio.gather(*logins))
    return opened


async def _until(session: asyncpg.Connection, *, allowed: bool) -> None:
    while True:
        try:
            await session.fetchval(_QUESTION)
            answer = True
        except asyncpg.InsufficientPrivilegeError:
            answer = False
        if answer is allowed:
            return
        await asyncio.sleep(0.005)


async def _round(lab: Lab, opened: Sessions) -> float:
    user = random.choice(_USERS)
    session = random.choice(opened[user])
    await asyncio.sleep(random.uniform(0, 2))  # anywhere between two polls
    await _until(session, allowed=True)
    began = time.perf_counter()
    change = asyncio.create_task(asyncio.to_thread(lab.slapd.remove_from_group, user, "readers"))
    await _until(session, allowed=False)
    took = time.perf_counter() - began
    await change
    await asyncio.to_thread(lab.slapd.add_to_group, user, "readers")
    await _until(session, allowed=True)
    return took


async def _measure(way: str, lab: Lab, count: int) -> None:
    members = [lab.slapd.user_dn(user) for user in _USERS]
    lab.slapd.add_many(
        (lab.slapd.group_dn(f"other-{n}"), {"objectClass": ["groupOfNames"], "member": members})
        for n in range(_OTHER_GROUPS)
    )
    opened = await _open(lab, count)
    times = sorted([await _round(lab, opened) for _ in range(_ROUNDS[way])])
    sessions = sum(map(len, opened.values()))
    figures = f"{median(times) * 1000:,.0f} | {times[0] * 1000:,.0f} | {times[-1] * 1000:,.0f}"
    print(f"| {way} | {sessions} | {len(times)} | {figures} |", flush=True)
    for sessions_of_user in opened.values():
        for session in sessions_of_user:
            session.terminate()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| way | open sessions | rounds | median ms | least ms | most ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for way in _ROUNDS:
        with tempfile.TemporaryDirectory(prefix="pgguard-bench-") as name:
            Path(name).chmod(0o755)
            with Lab(_plan(Path(name) / way, way, count)) as lab:
                asyncio.run(_measure(way, lab, count))


if __name__ == "__main__":
    main()
