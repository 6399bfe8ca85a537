"""The whole way with asyncpg: extended protocol, prepared statements, cursors and COPY through Kerberos."""

import asyncio
import json
from collections.abc import Callable

import asyncpg
import pytest

from pgguard.lab.lab import Lab

from .conftest import connected

AsUser = Callable[[str], None]


async def test_parameters_and_results(lab: Lab, as_user: AsUser):
    as_user("alice")
    async with connected(lab, "alice") as connection:
        assert (
            await connection.fetchval("select name from sales.products where price > $1 order by price desc", 50)
            == "desk lamp"
        )
        rows = await connection.fetch("select id, total from sales.orders where customer_id = any($1::int[])", [1, 2])
        assert len(rows) == 3


async def test_a_refused_parse_is_a_permission_error_and_the_session_goes_on(lab: Lab, as_user: AsUser):
    as_user("alice")
    async with connected(lab, "alice") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await connection.fetch("select card_number from sales.customers where id = $1", 1)
        assert "card-numbers-stay-here" in refusal.value.detail
        assert await connection.fetchval("select 1") == 1


async def test_a_refusal_inside_a_transaction_rolls_all_of_it_back(lab: Lab, as_user: AsUser):
    as_user("bob")
    async with connected(lab, "bob") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # noqa: PT012 -- the whole block is what fails
            async with connection.transaction():
                await connection.execute(
                    "insert into sales.orders (customer_id, product_id, total) values ($1, $2, $3)", 1, 1, 4321
                )
                await connection.execute("update sales.orders set total = 0 where id = $1", 1)
    assert lab.postgres.run("select count(*) from sales.orders where total = 4321", "shop") == "0\n"


async def test_a_savepoint_survives_a_refusal(lab: Lab, as_user: AsUser):
    as_user("bob")
    async with connected(lab, "bob") as connection, connection.transaction():
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.fetch("select * from hr.salaries")
        assert await connection.fetchval("select count(*) from sales.products") == 3


async def test_a_prepared_statement_is_judged_again_at_each_execution(lab: Lab, as_user: AsUser):
    lab.add_user("paula", groups=["analysts"])
    lab.postgres.run("create role paula login")
    as_user("paula")
    async with connected(lab, "paula") as connection:
        statement = await connection.prepare("select count(*) from sales.orders")
        assert await statement.fetchval() == 6
        lab.slapd.remove_from_group("paula", "analysts")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _keep_asking(statement)


async def test_each_repetition_of_a_statement_is_recorded_at_its_own_time(lab: Lab, as_user: AsUser):
    """The decision of the same second serves again; its record once took over the time of the first, too."""
    as_user("alice")
    async with connected(lab, "alice") as connection:
        statement = await connection.prepare("select count(*) + 4711 from sales.orders")
        for _ in range(20):
            await statement.fetchval()
    records = [json.loads(line) for line in lab.audit.read_text().splitlines() if "+ 4711" in line]
    binds = [record for record in records if record["moment"] == "bind"]
    assert len(binds) == 20
    assert len({record["context"]["at"] for record in binds}) < 20, "no decision has served again"
    assert len({record["at"] for record in binds}) == 20


async def test_a_cursor_reads_in_portions(lab: Lab, as_user: AsUser):
    as_user("alice")
    async with connected(lab, "alice") as connection, connection.transaction():
        seen = [row["id"] async for row in connection.cursor("select id from sales.orders order by id", prefetch=2)]
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_copy_out_and_in(lab: Lab, as_user: AsUser, tmp_path):
    as_user("dora")
    target = tmp_path / "products.csv"
    async with connected(lab, "dora") as connection:
        await connection.copy_from_query("select id, name from sales.products order by id", output=target, format="csv")
        assert target.read_text() == "1,field notebook\n2,fountain pen\n3,desk lamp\n"
        done = await connection.copy_records_to_table(
            "products", schema_name="sales", columns=["name", "price"], records=[("ink", 7), ("paper", 3)]
        )
        assert done == "COPY 2"
        assert (
            await connection.execute("delete from sales.products where name = any($1)", ["ink", "paper"]) == "DELETE 2"
        )


async def test_many_sessions_at_once(lab: Lab, as_user: AsUser):
    as_user("alice")

    async def one(number: int) -> int:
        async with connected(lab, "alice") as connection:
            return await connection.fetchval("select $1::int + count(*) from sales.orders where false", number)

    assert await asyncio.gather(*map(one, range(20))) == list(range(20))


async def _keep_asking(statement: asyncpg.prepared_stmt.PreparedStatement, seconds: float = 5.0) -> None:
    """Until it fails: groups are read in the background, within a bound."""
    async with asyncio.timeout(seconds):
        while True:
            await statement.fetchval()
            await asyncio.sleep(0.05)
