"""Stores that several processes share, for tests of several processes: one row for each."""

from pathlib import Path
from typing import Any, Final

import pytest

SHARED: Final = ("sqlite",)


def shared_settings(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """Return the settings that name a fresh store of the kind that a fixture's parameter says."""
    kind = request.param
    assert kind in SHARED
    return {"store": f"sqlite:///{folder}/ringfence.db"}
