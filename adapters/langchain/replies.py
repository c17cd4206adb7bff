"""What the model is told, in LangChain's own form: a tool message with an error status."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import uuid4

from langchain_core.messages import ToolMessage

from ringfence.dsl.plan import Plan
from ringfence.engine.seams.errors import RingfenceError


def error_message(text: str, *, name: str, call_id: str) -> ToolMessage:
    """Return the answer to a call that did not run or failed."""
    return ToolMessage(content=text, name=name, tool_call_id=call_id, status="error")


def told(error: BaseException, plan: Plan) -> str:
    """Return what the model may know of an error: the policy's words, else only what the policy opens."""
    if isinstance(error, RingfenceError):
        return error.model_text if error.model_text is not None else (plan.responses.deny or "not authorized")
    constant = plan.responses.failure
    return constant if constant is not None else f"{type(error).__name__}: {error}"


def with_id(call: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """Return the tool call with an id: some models leave it out, and LangChain cannot answer without one.

    The made-up id is the same each time the same task makes the same call.
    """
    if call.get("id"):
        return dict(call)
    if task is None:
        return {**call, "id": f"call_{uuid4().hex}"}
    said = repr((task, call.get("name"), call.get("args")))
    return {**call, "id": f"call_{sha256(said.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}"}
