"""The policy's words, for a client."""

from ringfence.dsl.plan import Plan
from ringfence.engine.seams.errors import RingfenceError


def told(error: RingfenceError, plan: Plan) -> str:
    """Return what the client is told of a refusal: nothing but the policy's own text."""
    return error.model_text if error.model_text is not None else (plan.responses.deny or "not authorized")
