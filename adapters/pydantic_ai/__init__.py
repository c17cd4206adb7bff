"""Pydantic AI: `Agent(..., capabilities=[Guarded(guard)])`, or the same for one run."""

try:
    from pydantic_ai.capabilities import AbstractCapability as _Capability
except ImportError as error:
    raise ImportError(
        'the adapter for Pydantic AI needs its package: pip install "ringfence[pydantic-ai]"'
    ) from error
if not hasattr(_Capability, "prepare_model_request"):
    # SECURITY: an older version would never call the hook that hides what runs at the provider.
    raise ImportError('Pydantic AI is too old: pip install --upgrade "ringfence[pydantic-ai]"')

from ringfence.adapters.pydantic_ai.capability import Guarded
from ringfence.adapters.pydantic_ai.suspension import questions
from ringfence.engine.binding.questions import Question

del _Capability

__all__ = ["Guarded", "Question", "questions"]
