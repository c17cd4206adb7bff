"""What keeps the store from being opened is said with how to mend it, and never with the password."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ringfence.engine.seams.settings import Settings
from ringfence.plugin import EngineError, StoreAwayError
from ringfence.plugins.postgres.schema import VERSION
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.stores import entries
from tests.plugins.stores.postgres.opened import opened, verified
from tests.services import Postgres


def schema_of(url: str) -> str:
    return url.partition("schema=")[2]


@pytest.fixture
async def admin(postgres_server: Postgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_server.url)
    await connection.execute("SET client_min_messages = warning")
    yield connection
    await connection.close()


async def refused(url: str, *, away: bool = False) -> str:
    store = PostgresStore(url)
    with pytest.raises((RuntimeError, StoreAwayError)) as caught:
        await store.open()
    await store.close()
    assert isinstance(caught.value, StoreAwayError) is away
    assert "secret" not in str(caught.value) and "secret" not in store.url
    return f"{caught.value}; {getattr(caught.value, 'help', '')}"


async def test_what_is_wrong_with_the_address(postgres_server: Postgres, url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    said = await refused(f"postgresql://ringfence:secret@127.0.0.1:{free}/postgres", away=True)
    assert "cannot be reached" in said and "check that the server runs" in said
    said = await refused(postgres_server.url.replace("/postgres", "/missing").replace("@", ":secret@"))
    assert "does not exist" in said and "createdb" in said
    said = await refused(postgres_server.url.replace("ringfence@", "nobody:secret@"))
    assert "does not let this user in" in said
    for wrong in (f"{url}x-y", f"{url}%00", url.replace("schema=", "schema=pg_"), f"{url}{'x' * 60}"):
        with pytest.raises(ValueError, match="no name of a schema"):
            PostgresStore(wrong)


async def test_a_wrong_password_is_refused_and_not_shown(
    postgres_server: Postgres, url: str, admin: asyncpg.Connection
) -> None:
    role = schema_of(url)
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right' IN ROLE pg_monitor")
    access = postgres_server.folder / "data" / "pg_hba.conf"
    before = access.read_text()
    access.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{before}")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    try:

        async def asked() -> bool:
            try:
                await (await asyncpg.connect(postgres_server.url.replace("ringfence@", f"{role}@"))).close()
            except asyncpg.InvalidPasswordError:
                return True
            return False

        async with asyncio.timeout(60):
            while not await asked():
                await asyncio.sleep(0.02)
        with_password = url.replace("ringfence@", f"{role}:secret@")
        assert "does not let this user in" in await refused(with_password)
        async with opened(PostgresStore(with_password.replace("secret", "right"))) as it:
            await it.log.append(entries(2))
            assert ":right" not in it.store.url
    finally:
        access.write_text(before)
        await admin.execute("SELECT pg_reload_conf()")
        await admin.execute(f"DROP OWNED BY {role} CASCADE")
        await admin.execute(f"DROP ROLE {role}")


async def test_a_role_needs_the_right_to_make_the_schema_once(url: str, admin: asyncpg.Connection) -> None:
    role = schema_of(url)
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    as_role = url.replace("ringfence@", f"{role}@")
    try:
        said = await refused(as_role)
        assert "GRANT CREATE ON DATABASE" in said and f"CREATE SCHEMA {role} AUTHORIZATION" in said
        async with opened(PostgresStore(url)):
            pass
        assert "may not do this" in await refused(as_role)
        await admin.execute(f"GRANT USAGE ON SCHEMA {role} TO {role}")
        rights = "SELECT, INSERT, UPDATE, DELETE"
        await admin.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA {role} TO {role}")
        async with opened(PostgresStore(as_role)) as it:
            await it.log.append(entries(2))
            assert await verified(it.log) == {"run-1": 2}
    finally:
        await admin.execute(f"DROP OWNED BY {role} CASCADE")
        await admin.execute(f"DROP ROLE {role}")


async def test_a_schema_of_another_program_is_left_alone(url: str, admin: asyncpg.Connection) -> None:
    schema = schema_of(url)
    await admin.execute(f"CREATE SCHEMA {schema}")
    await admin.execute(f"CREATE TABLE {schema}.customer (name text)")
    assert "belongs to another program" in await refused(url)
    assert await admin.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = $1", schema) == 1
    await admin.execute(f"DROP TABLE {schema}.customer")
    async with opened(PostgresStore(url)) as it:
        assert await it.log.head() is None


async def test_a_newer_schema_is_refused(url: str, admin: asyncpg.Connection) -> None:
    async with opened(PostgresStore(url)):
        pass
    await admin.execute(f"INSERT INTO {schema_of(url)}.ringfence_schema VALUES ({VERSION + 1})")
    assert f"version {VERSION + 1}" in await refused(url) and "upgrade" in await refused(url)


async def test_a_planted_trigger_or_another_function_is_refused(url: str, admin: asyncpg.Connection) -> None:
    async with opened(PostgresStore(url)):
        pass
    schema = schema_of(url)
    await admin.execute(f"CREATE VIEW {schema}.report AS SELECT run FROM {schema}.run")
    async with opened(PostgresStore(url)):
        pass
    rule = f"CREATE RULE quiet AS ON INSERT TO {schema}.kill_order DO INSTEAD NOTHING"
    await admin.execute(rule)
    assert "triggers or rules" in await refused(url)
    await admin.execute(f"DROP RULE quiet ON {schema}.kill_order")
    await admin.execute(
        f"CREATE OR REPLACE FUNCTION {schema}.slide(which bigint, at_ns bigint) RETURNS void"
        f" LANGUAGE sql AS $$ UPDATE {schema}.budget_window SET taken = 0 $$"
    )
    assert "its functions are not" in await refused(url)


async def test_many_that_open_at_once_make_one_schema(url: str, admin: asyncpg.Connection) -> None:
    stores = [PostgresStore(url) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    versions = await admin.fetch(f"SELECT version FROM {schema_of(url)}.ringfence_schema")
    assert [row[0] for row in versions] == list(range(1, VERSION + 1))
    await asyncio.gather(*(store.close() for store in stores))


async def test_closing_twice_and_opening_again(url: str) -> None:
    store = PostgresStore(url)
    await store.close()
    for _ in range(2):
        await store.open()
        await store.open()
        assert await store.now_ns() is not None
        await store.close()
        await store.close()


async def test_a_forked_child_is_refused_and_leaves_the_connections_alone(url: str) -> None:
    async with opened(PostgresStore(url)) as it:
        await it.log.append(entries(1))
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:  # no await before the exit: the loop belongs to the parent
            said = b"nothing was raised"
            try:
                it.log.append(entries(2)).send(None)
            except EngineError as error:
                said = str(error).encode()
            except BaseException as error:
                said = repr(error).encode()
            os.write(writer, said)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            assert b"before the process forked" in answer.read()
        await asyncio.to_thread(os.waitpid, child, 0)
        await it.log.append(entries(2))
        assert await verified(it.log) == {"run-1": 2}


async def test_parameters_of_the_url_go_to_the_server(url: str) -> None:
    given = f"{url}&application_name=mine&statement_cache_size=0"
    async with opened(PostgresStore(given)) as it:
        assert await it.store._door.value("SELECT current_setting('application_name')") == "mine"  # type: ignore[union-attr]
        assert it.store.url == url
        for _ in range(3):
            assert await it.log.head() is None


async def test_a_socket_of_the_host_may_be_named(url: str, postgres_server: Postgres) -> None:
    given = f"postgresql:///postgres?user=ringfence&password=secret&host={postgres_server.folder}"
    store = PostgresStore(f"{given}&port={postgres_server.port}&schema={schema_of(url)}")
    assert store.url == f"postgresql:///postgres?schema={schema_of(url)}"
    async with opened(store) as it:
        assert await it.log.head() is None


async def test_doctor_is_told_what_is_risky(url: str, admin: asyncpg.Connection) -> None:
    store = PostgresStore(f"{url}&synchronous_commit=off")
    assert await store.examined() == ()
    async with opened(store):
        version, *risks = await store.examined()
        assert version.found.startswith("PostgreSQL ") and not version.help
        said = {note.found: note.help for note in risks}
        assert {"`fsync` is off", "`synchronous_commit` is off"} <= set(said)
        assert "the role is a superuser, who may change every record" in said
        assert all(said.values()) and "`full_page_writes` is off" not in said


def test_a_guard_finds_the_store_by_its_scheme() -> None:
    from ringfence._builtins import builtins
    from ringfence.engine.seams.dispatch import Extensions

    extensions = Extensions.assemble(Settings(), builtins=builtins())
    for scheme in ("postgresql", "postgres"):
        assert isinstance(extensions.open_store(f"{scheme}://u@127.0.0.1/db"), PostgresStore)
