"""What a model's answer asks for that cannot be made: names that it was not offered, arguments that are none.

The SDK would raise for most of these, and say their names to whoever reads it.  Here each is a recorded
refusal, and the model is told the policy's constant text.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents import FunctionTool
from openai.types.responses import ResponseFunctionToolCall

from ringfence.adapters.openai_agents.arguments import UnfitError, read_object
from ringfence.adapters.openai_agents.tools import name_of
from ringfence.adapters.openai_agents.values import json_of

_CALLS: Final = frozenset(
    [
        "custom_tool_call",
        "shell_call",
        "local_shell_call",
        "computer_call",
        "apply_patch_call",
        "mcp_approval_request",
    ]
)
"""Items that ask the SDK to do something on this machine, or to let the provider go on."""
_LITELLM: Final = "json_tool_call"
"""A call that is an answer in the form of the agent's output type."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is refused before the SDK looks at it."""

    name: str
    text: str
    call_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Names:
    """What a model was offered."""

    functions: tuple[tuple[str | None, str, str], ...]
    """Namespace, name, and the name by which the policy knows it."""
    handoffs: frozenset[str]
    hosted: frozenset[str]
    """The types of those that are no functions."""
    has_output_type: bool

    @classmethod
    def of(cls, tools: Sequence[Any], handoffs: Sequence[Any], output_schema: Any) -> "Names":
        """Read what is about to be offered."""
        functions = [
            (getattr(one, "_tool_namespace", None), one.name, name_of(one))
            for one in tools
            if isinstance(one, FunctionTool)
        ]
        hosted = {str(getattr(one, "type", one.name)) for one in tools if not isinstance(one, FunctionTool)}
        labels = {
            one.tool_config.get("server_label")
            for one in tools
            if isinstance(getattr(one, "tool_config", None), dict)
        }
        return cls(
            tuple(functions),
            frozenset(one.tool_name for one in handoffs),
            frozenset(hosted | {str(label) for label in labels if label}),
            output_schema is not None,
        )

    def settled(self, item: Any) -> tuple[Any, Refused | None]:
        """Return an item of an answer as the SDK is to see it, and what of it is refused; pure."""
        kind = _part(item, "type")
        if kind == "function_call":
            return self._function(item)
        if kind not in _CALLS or self._is_offered(str(kind), item):
            return item, None
        said = json_of(item)
        text = json.dumps(said, ensure_ascii=False, default=repr)
        name = _part(item, "name") or str(kind).removesuffix("_call")
        call_id = str(_part(item, "call_id") or _part(item, "id") or "")
        call = ResponseFunctionToolCall(
            type="function_call", name=_unknown(str(name)), call_id=call_id or "call", arguments=text
        )
        return call, Refused(str(name), text, call.call_id, "no tool of this kind is offered")

    def _function(self, item: Any) -> tuple[Any, Refused | None]:
        name, text = str(_part(item, "name")), str(_part(item, "arguments") or "")
        call_id, namespace = str(_part(item, "call_id") or ""), _part(item, "namespace")
        caller = _part(item, "caller")
        if caller is not None and _part(caller, "type") != "direct":
            # A program at the provider would make it, and none is offered: the SDK would raise.
            seen = item.model_copy(update={"caller": None, "name": f"unknown_{name}"})
            return seen, Refused(name, text, call_id, "no program is offered that could call it")
        if name in self.handoffs or (name == _LITELLM and self.has_output_type):
            return item, None
        known = [
            full for own, bare, full in self.functions if bare == name and namespace in (own, None, bare)
        ]
        if not known:
            called = name if namespace in (None, name) else f"{namespace}.{name}"
            seen = item if _unknown(name) == name else item.model_copy(update={"name": _unknown(name)})
            return seen, Refused(called, text, call_id, "no tool of this name is offered")
        try:
            read_object(text)
        except UnfitError as error:
            # What the SDK cannot read it would have people approve; it never reaches the tool.
            return item.model_copy(update={"arguments": "{}"}), Refused(known[0], text, call_id, str(error))
        return item, None

    def _is_offered(self, kind: str, item: Any) -> bool:
        if kind == "mcp_approval_request":
            return str(_part(item, "server_label")) in self.hosted
        return kind.removesuffix("_call") in self.hosted


def _unknown(name: str) -> str:
    """Return the name under which the SDK answers for a tool that there is not.

    A call of a patch editor it would take for one of its own kind, whatever kind it is of, and raise.
    """
    return f"unknown_{name}" if "apply_patch" in name.lower() else name


def _part(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
