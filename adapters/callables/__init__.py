"""Guards plain Python functions: `@guarded(guard)`; `isolated(guard, name)` has no function at all."""

from ringfence.adapters.callables.guarded import guarded
from ringfence.adapters.callables.isolated import IsolatedTool, isolated

__all__ = ["IsolatedTool", "guarded", "isolated"]
