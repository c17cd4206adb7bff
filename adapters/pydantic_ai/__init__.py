"""Pydantic AI: `Agent(..., capabilities=[Guarded(guard)])`, or the same for one run."""

try:
    import pydantic_ai as _framework
except ImportError as error:
    raise ImportError(
        'the adapter for Pydantic AI needs its package: pip install "ringfence[pydantic-ai]"'
    ) from error

from ringfence.adapters.pydantic_ai.capability import Guarded
from ringfence.adapters.pydantic_ai.suspension import Question, questions

del _framework

__all__ = ["Guarded", "Question", "questions"]
