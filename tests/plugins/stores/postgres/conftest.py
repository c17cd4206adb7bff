"""A schema of its own for every test, on the server that the tests share."""

import asyncio
import secrets
from collections.abc import Iterator

import asyncpg
import pytest

from tests.services import Postgres


@pytest.fixture
def url(postgres_server: Postgres) -> Iterator[str]:
    """The URL of a schema that does not exist yet; dropped in the end."""
    postgres_server.thaw()
    postgres_server.start()
    schema = f"test_{secrets.token_hex(6)}"
    yield f"{postgres_server.url}?schema={schema}"
    postgres_server.thaw()
    postgres_server.start()

    async def drop() -> None:
        connection = await asyncpg.connect(postgres_server.url)
        await connection.execute("SET client_min_messages = warning")
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await connection.close()

    asyncio.run(drop())
