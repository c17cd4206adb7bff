"""What a server must be and must be set to, before a budget is kept in it."""

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from ringfence.plugin import EngineError, StoreAwayError, StoreNote
from ringfence.plugins.redis.door import Door
from ringfence.plugins.redis.faults import Fault

_OLDEST: Final = (6, 0)

LOOK_EVERY_S: Final = 60.0

_AHEAD_US: Final = 24 * 3600 * 10**6
"""How far the store's time may stand ahead of the server's clock: less than that is waited out."""


async def server_fault(door: Door) -> Fault | None:
    """Return what keeps this server from being used, or None.

    Raises:
        StoreAwayError: It does not answer now.
        EngineError: It does not let us look.
    """
    said: Mapping[str, Any] = await door.ask(lambda client: client.info())
    return settings_fault(said, door.address.place)


def settings_fault(said: Mapping[str, Any], place: str) -> Fault | None:
    """Return what is wrong with a server of which `INFO` says this."""
    redis = f"the Redis at `{place}`"
    version = str(said.get("redis_version", "0"))
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", version)[:2])
    if numbers < _OLDEST:
        return Fault(f"{redis} is version {version}", "use version 6.0 or later, or a server that is like it")
    if str(said.get("role", "master")) != "master":
        return Fault(f"{redis} is a replica, which takes no charges", "name the primary in the URL")
    policy = str(said.get("maxmemory_policy", "unknown"))
    # SECURITY: a window that is evicted is an empty budget.
    if int(said.get("maxmemory", 1)) > 0 and policy != "noeviction":
        return Fault(
            f"{redis} throws keys away when its memory is full (`maxmemory-policy {policy}`), budgets too",
            "set `maxmemory-policy noeviction`, or use a server that keeps nothing else",
        )
    return None


class Watch:
    """Looks every minute whether the server is still set as it was when the store was opened."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._fine_until_s = time.monotonic() + LOOK_EVERY_S

    async def look(self) -> None:
        """Raise EngineError if a budget is not safe there any more, until it is again."""
        now_s = time.monotonic()
        if now_s < self._fine_until_s:
            return
        fault = await server_fault(self._door)
        if fault is not None:
            raise fault.as_engine_error()
        self._fine_until_s = now_s + LOOK_EVERY_S


async def notes(door: Door) -> list[StoreNote]:
    """Return what `ringfence doctor` says of this server: what it could lose, and what others could read."""
    said: Mapping[str, Any] = await door.ask(lambda client: client.info())
    found = [StoreNote(f"Redis {said.get('redis_version')}, keys under `{door.address.root}`")]
    if not said.get("aof_enabled"):
        found.append(
            StoreNote(
                "it writes no append-only file: a restart can forget budgets, orders and who obeyed them",
                "set `appendonly yes` and `appendfsync always`",
            )
        )
    else:
        found.append(await _written(door))
    if not door.address.private:
        found.append(
            StoreNote("its password and what it is told cross the network as plain text", "use `rediss://`")
        )
    return found


async def _written(door: Door) -> StoreNote:
    try:
        config: Mapping[Any, Any] = await door.ask(lambda client: client.config_get("appendfsync"))
    except StoreAwayError:
        raise
    except EngineError:  # only doctor asks: what it may not see, it says so
        return StoreNote("how often it writes its append-only file cannot be seen by this user")
    how = {_text(name): _text(value) for name, value in config.items()}.get("appendfsync", "unknown")
    if how == "always":
        return StoreNote("its append-only file is on disk before it answers")
    return StoreNote(
        f"its append-only file is not on disk when it answers (`appendfsync {how}`): a loss of power can"
        " forget the last charges",
        "set `appendfsync always`",
    )


def _text(said: str | bytes) -> str:
    return said.decode() if isinstance(said, bytes) else said


async def clock_fault(door: Door) -> Fault | None:
    """Return what is wrong if the store's time stands far ahead of its server's clock, or None."""
    now_us, server_us = await door.run(("now",))
    if now_us - server_us <= _AHEAD_US:
        return None
    days = (now_us - server_us) / _AHEAD_US
    return Fault(
        f"the clock of the Redis at `{door.address.place}` is {days:.1f} days behind the last time that the"
        " store saw: until it is there again nothing leaves a budget",
        "mend the clock; if it was ahead before, use another `?prefix=` to begin with empty budgets",
    )
