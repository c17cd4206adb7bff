"""From a plan's questions to the plugins that answer them, types compared.

What is missing or does not agree is said and left out: then the question has no answer, which never helps
the caller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ringfence.dsl.plan import Canonicaliser, FunctionPlan, Json, Plan, UnfitError
from ringfence.engine.seams.functions import PolicyFunction, agrees
from ringfence.engine.seams.registry import Registry

REDACT = "redact "
"""Before a redactor's name, in the questions of a plan."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answers one of the plan's questions."""

    name: str
    """The question's function: `is_customer`, `redact pii`."""
    source: str
    """The plugin's part: `acme_plugins:is_customer`.  Two policies may call it by different names."""
    call: Callable[..., Any]
    seconds: float
    """Later than that is no answer."""
    gives: Canonicaliser
    """Returns the answer as the one canonical value of its type, or raises `UnfitError`."""


def answerers(plan: Plan, registry: Registry) -> tuple[Mapping[str, Answerer], list[str]]:
    """Return who answers what, by the question's function, and in words what will not be answered."""
    found: dict[str, Answerer] = {}
    wrong: list[str] = []
    for name, declared in plan.functions.items():
        offered = registry.function(declared.plugin, _own_name(declared))
        why = _disagreement(declared, offered, registry)
        if why is None and offered is not None:
            found[name] = _answerer(name, offered, declared.gives.canonical)
        else:
            wrong.append(f"the function `{declared.name}` ({declared.place}) has no answer: {why}")
    for name in redactors(plan):
        offered = registry.redactor(name)
        if offered is not None:
            found[REDACT + name] = _answerer(REDACT + name, offered, _text)
        else:
            wrong.append(f"the redactor `{name}` has no answer: no active plugin brings it")
    return found, wrong


def redactors(plan: Plan) -> list[str]:
    """Return the redactors that the plan names."""
    return sorted({one.redactor for tool in plan.tools.values() for one in tool.redactions})


def _answerer(name: str, offered: PolicyFunction, gives: Canonicaliser) -> Answerer:
    source = f"{offered.plugin}:{offered.name}"
    return Answerer(name, source, offered.call, offered.timeout_ms / 1000, gives)


def _own_name(declared: FunctionPlan) -> str:
    """Return the name without the ceiling's that declares it."""
    return declared.name.rpartition("/")[2]


def _disagreement(declared: FunctionPlan, offered: PolicyFunction | None, registry: Registry) -> str | None:
    if offered is None:
        if not registry.has(declared.plugin):
            return f"the plugin `{declared.plugin}` is not active (see `ringfence plugins`)"
        return f"the plugin `{declared.plugin}` offers no such function"
    takes = [kind for _, kind in offered.takes]
    same = len(takes) == len(declared.parameters) and all(
        agrees(parameter.type, kind) for parameter, kind in zip(declared.parameters, takes, strict=True)
    )
    if same and agrees(declared.gives.type, offered.gives):
        return None
    return f"the plugin `{declared.plugin}` offers {offered.signature}, which is another type"


def _text(value: Json) -> Json:
    if type(value) is not str:
        raise UnfitError("it is no text")
    value.encode("utf-8")  # a lone surrogate is no text that could be sent
    return value
