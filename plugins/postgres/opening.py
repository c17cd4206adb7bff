"""Opening one schema: looked at before it is changed, then made or led to this version under a lock."""

import re
from collections.abc import Iterator
from typing import Any, Final

from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.faults import ChangedSchemaError, ForeignSchemaError, NewerSchemaError
from ringfence.plugins.postgres.names import key
from ringfence.plugins.postgres.schema import STEPS, VERSION

_FUNCTION: Final = re.compile(r"CREATE FUNCTION \{s\}\.(\w+)\(.*?AS\s+\$\$(.*?)\$\$;", re.DOTALL)

_WITHIN_S: Final = 30.0
"""The most that opening may take, others' opening waited for."""


async def make_schema(door: Door) -> None:
    """Make the schema or lead it to this version; nothing is written if it is there already.

    Raises:
        EngineError: It cannot be used; the message says why and how to mend it.
    """
    schema = door.at.schema
    async with door.lent(within_s=max(door.within_s, _WITHIN_S)) as connection:
        if await _version_of(connection, schema) < VERSION:
            async with connection.transaction():
                # Two processes that open an empty database at once: the second finds it made.
                lock = int.from_bytes(key("ringfence schema", schema)[:8], "big", signed=True)
                await connection.execute("SELECT pg_advisory_xact_lock($1)", lock)
                version = await _version_of(connection, schema)
                if version == 0 and not await _exists(connection, schema):
                    await connection.execute(door.sql("CREATE SCHEMA {s}"))
                for script in STEPS[version:]:
                    await connection.execute(door.sql(script))
        await _refuse_changed(connection, door)


async def _exists(connection: Any, schema: str) -> bool:
    return bool(await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema))


async def _version_of(connection: Any, schema: str) -> int:
    """Return the version, 0 if the schema is empty or missing; raise if it is not ours or newer."""
    found = await connection.fetch(
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = $1"
        " UNION ALL SELECT proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"
        " WHERE nspname = $1",
        schema,
    )
    names = {row[0] for row in found}
    if not names:
        return 0
    if "ringfence_schema" not in names:
        raise ForeignSchemaError
    version = await connection.fetchval(f'SELECT max(version) FROM "{schema}".ringfence_schema')
    if not isinstance(version, int) or version < 1:
        raise ForeignSchemaError
    if version > VERSION:
        raise NewerSchemaError(version)
    return version


async def _refuse_changed(connection: Any, door: Door) -> None:
    """Raise if a function is not as we made it, or somebody added a trigger or a rule.

    SECURITY: one that was planted works for ever: it could empty each budget as it is filled.
    """
    schema = door.at.schema
    planted = await connection.fetchval(
        "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = $1 AND relkind IN ('r', 'p')"
        " AND (EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid) OR EXISTS"
        " (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal))",
        schema,
    )
    if planted:
        raise ChangedSchemaError("its tables have triggers or rules that Ringfence did not make")
    found = await connection.fetch(
        "SELECT proname, prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"
        " WHERE nspname = $1",
        schema,
    )
    if {(row[0], row[1]) for row in found} != {(name, door.sql(body)) for name, body in _functions()}:
        raise ChangedSchemaError("its functions are not those that Ringfence made")


def _functions() -> Iterator[tuple[str, str]]:
    """Return each function of this version with its body; a later step replaces those of an earlier one."""
    latest = {name: body for script in STEPS for name, body in _FUNCTION.findall(script)}
    yield from latest.items()
