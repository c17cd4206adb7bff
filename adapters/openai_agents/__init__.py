"""Guards agents of the OpenAI Agents SDK: `GuardedRunner(guard)` in the place of `Runner`."""

try:
    import agents as _agents  # noqa: F401
except ImportError as error:
    raise ImportError(
        'the adapter for the OpenAI Agents SDK needs its package: pip install "ringfence[openai-agents]"'
    ) from error

from ringfence.adapters.openai_agents.invocations import NoRunError
from ringfence.adapters.openai_agents.questions import questions
from ringfence.adapters.openai_agents.runner import GuardedRunner
from ringfence.engine.binding.questions import Question

__all__ = ["GuardedRunner", "NoRunError", "Question", "questions"]
