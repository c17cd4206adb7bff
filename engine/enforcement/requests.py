"""A call as it reached the guard: what is decided, and what of it may stand in the log."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from ringfence.dsl.canonical import canonical, loads_strict
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall, key_base
from ringfence.engine.decision.events import CallDecided, CallRequested
from ringfence.engine.decision.records import requested
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable


@dataclass(frozen=True, slots=True)
class Given:
    """A call with the form in which it is recorded."""

    call: ToolCall
    base: str
    withheld: str | None
    shown: Json
    said: bytes | None = None
    """The canonical form of the arguments; None if they have none, or are not those."""

    def event(self, key: str, parent: str | None) -> CallRequested:
        """Return the event that records it under `key`."""
        return requested(key, self.call, parent=parent, withheld=self.withheld, arguments=self.shown)


def given(run: Run, call: ToolCall) -> Given:
    """Read a call; total: what cannot be read is denied by its arguments, never raised.

    Arguments may be a JSON text, as a model writes them: a duplicate name or a NaN in it is refused.
    """
    arguments: Any = call.arguments
    if isinstance(arguments, str):
        try:
            arguments = loads_strict(arguments)
        except (ValueError, RecursionError):  # stays a text: no tool takes that
            pass
        else:
            call = replace(call, arguments=arguments)
    if too_large(arguments, run.opening.settings.limits.arguments_bytes):
        shown = sizes(arguments)
        # SECURITY: a stand-in is decided, not the megabytes; a lone text fits no tool at all.
        call = replace(call, arguments="too large")  # type: ignore[arg-type]
        return Given(call, key_base(replace(call, arguments=shown)), "too large", shown)
    said = said_of(arguments)
    if said is None:
        shown = jsonable(arguments)
        if isinstance(arguments, Mapping):
            call = replace(call, arguments=dict(arguments))
        return Given(call, key_base(replace(call, arguments={"given": shown})), "not JSON", shown)
    # SECURITY: what is decided now runs later; until then the caller may change what it has handed in.
    call = replace(call, arguments=own(arguments))
    if keeps_digests_only(run, call.tool):
        return Given(call, key_base(replace(call, arguments={})), "keyed", keyed(run, arguments))
    return Given(call, key_base(call, said), None, None, said)


def own(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of JSON arguments that shares nothing that could be changed."""
    return {
        name: value if type(value) in _FIXED else json.loads(json.dumps(value))
        for name, value in arguments.items()
    }


_FIXED = frozenset({str, int, float, bool, type(None)})


def said_of(arguments: Any) -> bytes | None:
    """Return the canonical form; None if JSON cannot say these arguments."""
    if not isinstance(arguments, Mapping):
        return None
    try:
        return canonical(dict(arguments))
    except (ValueError, TypeError, RecursionError):  # recorded by description, and denied
        return None


def too_large(value: Any, most_bytes: int) -> bool:
    """Say whether the texts in `value` alone are more than `most_bytes`; what is less is measured exactly."""
    left = most_bytes
    heap = [value]
    if type(value) is dict:
        heap = []
        for name, part in value.items():
            kind = type(part)
            if kind is str:
                left -= len(part)
            elif kind is not int and kind is not bool and part is not None:
                heap.append(part)
            left -= len(name) if type(name) is str else 1
    while heap and left >= 0:
        part = heap.pop()
        left -= 1
        if isinstance(part, str | bytes):
            left -= len(part)
        elif isinstance(part, Mapping):
            heap.extend(part.keys())
            heap.extend(part.values())
        elif isinstance(part, list | tuple):
            heap.extend(part)
    return left < 0


def sizes(value: Any) -> Json:
    """Return digest and size of what is too large to be recorded."""
    try:
        said = json.dumps(value, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, RecursionError):  # only the record is less precise
        said = repr(type(value)).encode()
    return {"$digest": "sha256:" + sha256(said).hexdigest(), "$size": len(said)}


# ---- audit minimal -------------------------------------------------------------------------------


def keeps_digests_only(run: Run, tool: str) -> bool:
    """Say whether the policy keeps the values of this tool's calls out of the log."""
    plan = run.plan.by_bound_name.get(tool)
    return plan is not None and plan.obligations.audit == "minimal"


def keyed(run: Run, value: Json) -> Json:
    """Return the keyed digest that stands for a value: equal values look equal, in this run only."""
    said = canonical(jsonable(value))
    return {"$keyed": "hmac-sha256:" + hmac.new(run.secret, said, "sha256").hexdigest()}


def decision_record(run: Run, call: ToolCall, event: CallDecided) -> CallDecided:
    """Return the event of a decision with the values kept out that the policy keeps out."""
    if not keeps_digests_only(run, call.tool):
        return event
    kept = keyed(run, event.digest)
    return replace(event, arguments=None, digest=kept["$keyed"])
