"""What is refused before it reaches a body, and what the model is told of any refusal."""

from ringfence.adapter import RingfenceError, Run, ToolCall
from ringfence.adapters.openai_agents.invocations import Invocation


def unread_call(invocation: Invocation, name: str, call_id: str | None, text: str) -> ToolCall:
    """Return a call whose arguments are what a model wrote, read by nobody: it can only be refused."""
    return ToolCall(
        name,
        text,  # type: ignore[arg-type]
        call_id=call_id,
        task=call_id,
        attempt=invocation.attempt,
        schema_names=frozenset(),
    )


def refusal_text(run: Run, error: RingfenceError) -> str:
    """Return what the model may know of a refusal: the policy's words alone."""
    if error.model_text is not None:
        return error.model_text
    return run.plan.responses.deny or "not authorized"
