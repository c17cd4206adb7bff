"""A policy language and a runtime guard for every tool call of an AI agent.

The names below are loaded at their first use, so that `import ringfence` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringfence.engine.decision.calls import Principal, ToolCall
    from ringfence.engine.enforcement.current import current_run
    from ringfence.engine.enforcement.guard import Guard
    from ringfence.engine.seams.errors import (
        DeniedError,
        EngineError,
        PendingError,
        PolicyError,
        RingfenceError,
        RunHaltedError,
        SettingsError,
        TakenOverError,
        ToolFailedError,
    )

__version__ = "0.1.0"

__all__ = [
    "DeniedError",
    "EngineError",
    "Guard",
    "PendingError",
    "PolicyError",
    "Principal",
    "RingfenceError",
    "RunHaltedError",
    "SettingsError",
    "TakenOverError",
    "ToolCall",
    "ToolFailedError",
    "current_run",
]

_HOMES = {
    "Guard": "ringfence.engine.enforcement.guard",
    "Principal": "ringfence.engine.decision.calls",
    "ToolCall": "ringfence.engine.decision.calls",
    "current_run": "ringfence.engine.enforcement.current",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ringfence' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "ringfence.engine.seams.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
