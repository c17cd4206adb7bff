"""Stores that several processes share, for tests of several processes: one row for each."""

import secrets
from pathlib import Path
from typing import Any, Final

import pytest

SHARED: Final = (
    pytest.param("sqlite"),
    pytest.param("redis", marks=pytest.mark.services),
    pytest.param("postgres", marks=pytest.mark.services),
)


def shared_settings(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """Return the settings that name a fresh store of the kind that a fixture's parameter says.

    With `redis` the budgets and the orders to stop are kept there, and the log in a file.
    """
    file = f"sqlite:///{folder}/ringfence.db"
    word = f"t{secrets.token_hex(6)}"
    match request.param:
        case "sqlite":
            return {"store": file}
        case "redis":
            server = request.getfixturevalue("redis_server")
            return {"store": file, "ledger": f"{server.url}?prefix={word}"}
        case _:
            server = request.getfixturevalue("postgres_server")
            return {"store": f"{server.url}?schema={word}"}
