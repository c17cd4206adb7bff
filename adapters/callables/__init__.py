"""Guards plain Python functions: `@guarded(guard)`, sync and async."""

from ringfence.adapters.callables.guarded import guarded

__all__ = ["guarded"]
