"""What `ringfence doctor` says of the server: its version, and what could lose or give away something."""

from typing import Final

from ringfence.plugin import StoreNote
from ringfence.plugins.postgres.door import Door

_RISKS: Final = {
    "fsync": "a crash of the host may lose or damage everything: set `fsync = on`",
    "full_page_writes": "a crash of the host may damage everything: set `full_page_writes = on`",
    "synchronous_commit": "a crash may lose the last events and charges: set `synchronous_commit = on`",
}
"""Settings that must not be off."""


async def notes(door: Door) -> list[StoreNote]:
    """Return the server's version and each risky setting."""
    (said,) = await door.ask(
        "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,"
        " coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,"
        " coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,"
        " coalesce(host(inet_client_addr()) NOT IN ('127.0.0.1', '::1'), false) AS far"
    )
    found = [StoreNote(f"PostgreSQL {said['version']}, schema `{door.at.schema}`")]
    settings = await door.ask(
        "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) ORDER BY name", list(_RISKS)
    )
    found += [StoreNote(f"`{name}` is off", _RISKS[name]) for name, setting in settings if setting == "off"]
    if said["standby"]:
        found.append(StoreNote("it is a standby: nothing can be written", "name the primary"))
    if said["far"] and not said["encrypted"]:
        found.append(
            StoreNote("what it is told crosses the network as plain text", "add `?sslmode=verify-full`")
        )
    if said["superuser"]:
        found.append(
            StoreNote(
                "the role is a superuser, who may change every record", "give Ringfence a role of its own"
            )
        )
    return found
