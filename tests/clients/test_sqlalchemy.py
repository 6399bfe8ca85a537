"""SQLAlchemy over both of its usual drivers: tables made and reflected, units of work, streams, pools, refusals."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from pgguard.lab.lab import Lab

from .conftest import TRANSPORTS

WITHOUT_GSS_ENCRYPTION = ["plain", "tls"]
"""The transports that asyncpg has."""


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    about: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


Url = Callable[[str], sa.URL]


def _url(environment: dict[str, str], driver: str) -> sa.URL:
    """libpq's variables as an URL: in this process's environment they would be the lab's own psql's, too."""
    query = {"ssl": environment["PGSSLMODE"], "gsslib": "gssapi"}
    if driver == "psycopg":
        query = {"sslmode": environment["PGSSLMODE"], "gssencmode": environment["PGGSSENCMODE"]}
    where = {"host": environment["PGHOST"], "port": int(environment["PGPORT"])}
    who = {"username": environment["PGUSER"], "database": environment["PGDATABASE"]}
    return sa.URL.create(f"postgresql+{driver}", **where, **who, query=query)


def _take_ticket(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def url(client: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Url:
    """The lab's address for a driver."""
    _take_ticket(client, monkeypatch)
    return lambda driver: _url(client, driver)


@pytest.fixture
def engine(url: Url) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url("psycopg"))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_tables_are_made_and_found_again(engine: sa.Engine):
    found = sa.MetaData()
    found.reflect(engine, only=["authors", "books"])
    books = found.tables["books"]
    assert {column.name: str(column.type) for column in books.columns} == {
        "id": "INTEGER", "title": "VARCHAR", "author_id": "INTEGER",
    }  # fmt: skip
    assert [str(key.target_fullname) for key in books.foreign_keys] == ["authors.id"]
    inspector = sa.inspect(engine)
    assert [index["name"] for index in inspector.get_indexes("books")] == ["ix_books_title"]
    assert inspector.get_unique_constraints("authors")[0]["column_names"] == ["name"]


def test_a_unit_of_work(engine: sa.Engine):
    with Session(engine) as session, session.begin():
        session.add_all(
            Author(name=f"author {n}", tags=["a", f"{n}"], about={"n": n}, books=[Book(title=f"book {n}")])
            for n in range(100)
        )
    with Session(engine) as session:
        found = session.scalars(
            sa.select(Author).options(selectinload(Author.books)).where(Author.about["n"].as_integer() < 3)
        ).all()
        assert sorted((a.name, a.tags, a.books[0].title) for a in found) == [
            (f"author {n}", ["a", f"{n}"], f"book {n}") for n in range(3)
        ]
        assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 100


def test_errors_savepoints_and_upserts(engine: sa.Engine):
    with Session(engine) as session, session.begin():
        session.add(Author(name="one"))
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(sa.insert(Author).values(name="one"))
        statement = insert(Author).values(name="one", tags=["new"])
        statement = statement.on_conflict_do_update(index_elements=["name"], set_={"tags": statement.excluded.tags})
        assert session.execute(statement.returning(Author.tags)).scalar_one() == ["new"]
    with Session(engine) as session:
        assert session.scalars(sa.select(Author.name).with_for_update()).all() == ["one"]


def test_a_stream_isolation_levels_and_a_pool_that_asks_first(url: Url, open_lab: Lab):
    engine = sa.create_engine(url("psycopg"), pool_pre_ping=True, pool_size=1, isolation_level="SERIALIZABLE")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("show transaction_isolation")) == "serializable"
        streamed = connection.execution_options(yield_per=17).execute(sa.text("select generate_series(1, 100)"))
        assert streamed.scalars().all() == list(range(1, 101))
        pid = connection.scalar(sa.text("select pg_backend_pid()"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum items"))
    open_lab.postgres.run(f"select pg_terminate_backend({pid}, 5000)")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select pg_backend_pid()")) != pid
    engine.dispose()


async def _on_asyncpg(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(Author), [{"name": f"author {n}", "tags": ["ä"], "about": {"n": n}} for n in range(100)]
        )
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await connection.execute(sa.insert(Author).values(name="author 1"))
    async with engine.connect() as connection:
        rows = await connection.stream(sa.select(Author.about).order_by(Author.id))
        assert [about["n"] async for (about,) in rows] == list(range(100))
        indexes = await connection.run_sync(lambda sync: sa.inspect(sync).get_indexes("books"))
        assert [index["name"] for index in indexes] == ["ix_books_title"]


@pytest.mark.parametrize("client", WITHOUT_GSS_ENCRYPTION, indirect=True)
async def test_the_same_on_asyncpg(url: Url):
    engine = create_async_engine(url("asyncpg"))
    try:
        await _on_asyncpg(engine)
    finally:
        await engine.dispose()


@pytest.fixture
def ruled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """alice of the shop, under its rules and the baseline."""
    environment = {**lab.environment("alice"), **TRANSPORTS["gss"]}
    _take_ticket(environment, monkeypatch)
    engine = sa.create_engine(_url(environment, "psycopg"), pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def test_a_schema_is_reflected_under_the_baseline(ruled: sa.Engine):
    """An introspection that the baseline refused would end most applications at their start."""
    found = sa.MetaData()
    found.reflect(ruled, schema="sales", views=True)
    assert {"sales.customers", "sales.orders", "sales.products", "sales.revenue_by_city"} <= set(found.tables)
    assert [key.target_fullname for key in found.tables["sales.orders"].c.customer_id.foreign_keys] == [
        "sales.customers.id"
    ]


def test_a_refusal_is_an_error_of_the_driver_and_the_pool_goes_on(ruled: sa.Engine):
    customers = sa.Table("customers", sa.MetaData(), schema="sales", autoload_with=ruled)
    with Session(ruled) as session:
        pid = session.scalar(sa.text("select pg_backend_pid()"))
        with pytest.raises(ProgrammingError, match="card-numbers-stay-here") as refusal:
            session.execute(sa.select(customers.c.card_number))
        assert refusal.value.orig.sqlstate == "42501"
        with pytest.raises(DBAPIError, match="current transaction is aborted"):
            session.execute(sa.select(customers.c.name))
        session.rollback()
        assert session.scalar(sa.select(sa.func.count(customers.c.id))) > 0
    with Session(ruled) as session:
        assert session.scalar(sa.text("select pg_backend_pid()")) == pid
