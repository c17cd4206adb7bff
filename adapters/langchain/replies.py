"""What the model is told, in LangChain's own form: a tool message with an error status."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import uuid4

from langchain_core.messages import ToolMessage

from ringfence.dsl.plan import Plan, ToolPlan
from ringfence.engine.seams.errors import RingfenceError


def error_message(text: str, *, name: str, call_id: str) -> ToolMessage:
    """Return the answer to a call that did not run or failed."""
    return ToolMessage(content=text, name=name, tool_call_id=call_id, status="error")


def told(error: BaseException, plan: Plan, tool: str | None = None) -> str:
    """Return what the model may know of an error: the policy's words, else only what the policy opens.

    Args:
        tool: The tool that raised it, by the framework's name.
    """
    if isinstance(error, RingfenceError):
        return error.model_text if error.model_text is not None else (plan.responses.deny or "not authorized")
    constant = plan.responses.failure
    if constant is None and tool is not None and may_say(plan, tool):
        return f"{type(error).__name__}: {error}"
    return "the tool failed" if constant is None else constant


def may_say(plan: Plan, tool: str) -> bool:
    """Say whether a tool's own words on its failure may reach the model at all.

    SECURITY: they are limited by nothing and carry no label, so they may only where the policy neither
    limits nor labels what the tool says otherwise.
    """
    known = plan.by_bound_name.get(tool)
    return known is not None and not is_limited(known) and not known.labels


def is_limited(tool: ToolPlan) -> bool:
    """Say whether the policy may cut or pad the tool's results."""
    limits = tool.obligations
    return any(one is not None for one in (limits.max_rows, limits.max_bytes, limits.step_bytes))


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
