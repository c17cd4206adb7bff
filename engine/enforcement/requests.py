"""A call as it reached the guard: what is decided, and what of it may stand in the log."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from ringfence.dsl.canonical import LARGEST_INTEGER, canonical, loads_strict, plain_form
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall, key_base
from ringfence.engine.decision.events import CallDecided, CallRequested
from ringfence.engine.decision.records import requested
from ringfence.engine.decision.retold import SHOWN
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable

UNSAID: Final = frozenset({"keyed", "secret", "redacted"})
"""Why arguments that are known here are not in the record: what stands there tells equal ones."""


@dataclass(slots=True)
class Given:
    """A call with the form in which it is recorded."""

    call: ToolCall
    base: str
    withheld: str | None
    shown: Json
    named: ToolCall | None = None
    """The call as the record names it; None: as it is."""
    said: bytes | None = None
    """The canonical form of the arguments; None if they have none, or are not those."""
    lacking: str | None = None
    """What the host lacks to run it, so that it is denied; None: nothing."""

    @property
    def slot(self) -> tuple[str, str | None]:
        """Return what the call is held under: base and attempt, and what the base leaves out."""
        if self.withheld not in UNSAID or self.said is None:
            return self.base, self.call.attempt
        return f"{self.base}/{sha256(self.said).hexdigest()}", self.call.attempt

    def event(self, key: str, parent: str | None, *, ahead: bool = False) -> CallRequested:
        """Return the event that records it under `key`."""
        call = self.call if self.named is None else self.named
        return requested(key, call, parent, withheld=self.withheld, arguments=self.shown, ahead=ahead)


def given_inside(run: Run, call: ToolCall) -> Given:
    """Read a call that code in an isolate makes.

    SECURITY: its key is made otherwise than any id of a model makes one, or a model that foresees it would
    have the code go on with a call that people approved for the model itself.
    """
    found = given(run, call)
    found.base = sha256(f"inside an isolate|{found.base}".encode()).hexdigest()[: len(found.base)]
    return found


def given(run: Run, call: ToolCall) -> Given:
    """Read a call; total: what cannot be read is denied by its arguments, never raised.

    Arguments may be a JSON text, as a model writes them: a duplicate name or a NaN in it is refused.
    """
    arguments: Any = call.arguments
    most_bytes = run.opening.settings.limits.arguments_bytes
    # SECURITY: a text that is too long is not read: its values could take a hundred times its size, and
    # nothing else runs in this process while they are made.
    if isinstance(arguments, str) and len(arguments) <= most_bytes:
        try:
            arguments = loads_strict(arguments)
        except (ValueError, RecursionError):  # stays a text: no tool takes that
            pass
        else:
            call = call._replace(arguments=arguments)
    kept = _plain(arguments, most_bytes) if type(arguments) is dict else None
    if kept is not None:
        try:
            said = plain_form(kept)
        except ValueError:  # a lone surrogate: described below
            pass
        else:
            return _read(run, call, kept, said)
    if too_large(arguments, most_bytes):
        shown = sizes(arguments)
        # SECURITY: a stand-in is decided, not the megabytes; a lone text fits no tool at all.
        call = call._replace(arguments="too large")  # type: ignore[arg-type]
        return Given(call, key_base(call._replace(arguments=shown)), "too large", shown)
    try:
        # SECURITY: from here on the caller cannot change what is recorded, decided and run.
        kept = own(arguments)
        said = canonical(kept)
    except Exception:  # recorded by description, and denied
        kept = None
    if kept is None or not (type(arguments) is dict or isinstance(arguments, Mapping)):
        # SECURITY: what a policy redacts is known by its name, which a description cut short does not have.
        shown = jsonable(run.shown(arguments, tool=call.tool), hide=run.hide)
        if isinstance(arguments, Mapping):
            call = call._replace(arguments=dict(arguments))
        return Given(call, key_base(call._replace(arguments={"given": shown})), "not JSON", shown)
    return _read(run, call, kept, said)


def _read(run: Run, call: ToolCall, kept: dict[str, Json], said: bytes) -> Given:
    """Return a call whose arguments are JSON: `kept` are the guard's own, and `said` their canonical form."""
    call = ToolCall(call.tool, kept, call.call_id, call.task, call.attempt, call.schema_names)
    named, hidden = call, kept
    if run.hiding is not None:
        hidden = run.hiding.value(kept, tool=call.tool)
        named = run.hiding.named(call)  # after it: they may repeat what the arguments hide
    plan = run.plan.by_bound_name.get(call.tool)
    if plan is not None and plan.obligations.audit == "minimal":
        return Given(call, key_base(named._replace(arguments={})), "keyed", keyed(run, kept), named, said)
    if named is not call or hidden is not kept:
        shown = {**keyed(run, kept), SHOWN: hidden}
        secret = named is not call or run.hiding is None or run.hiding.finds_secret(kept)
        why = "secret" if secret else "redacted"
        return Given(call, key_base(named._replace(arguments={})), why, shown, named, said)
    return Given(call, key_base(call, said), None, None, None, said)


def _plain(arguments: dict[str, Json], most_bytes: int) -> dict[str, Json] | None:
    """Return a copy of arguments that are texts, integers and lists of texts alone, in `most_bytes`.

    The quick way for what most calls are given, in one walk: what `too_large` lets pass, `own` copies and
    `is_plain` says of.  None: the long way finds out what they are.
    """
    left, kept = most_bytes, arguments.copy()
    for name, part in kept.items():
        if type(name) is not str or not name.isascii():
            return None
        kind = type(part)
        left -= len(name)
        if kind is str:
            left -= len(part)
        elif kind is int:
            if not -LARGEST_INTEGER <= part <= LARGEST_INTEGER:
                return None
        elif kind is list:
            part = kept[name] = part.copy()
            for element in part:
                if type(element) is not str:
                    return None
                left -= len(element) + 1
        elif part is not None and kind is not bool:
            return None
    return kept if left >= 0 else None


_COMPOUND = frozenset({list, dict, tuple})


def own(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Return a copy of JSON arguments that shares nothing that could be changed."""
    copy = arguments.copy() if type(arguments) is dict else dict(arguments.items())
    for name, part in copy.items():
        if type(part) in _COMPOUND:
            copy[name] = _owned(part)
    return copy


def _owned(value: Any) -> Json:
    """Return a copy of a list or a record, all the way down."""
    kind = type(value)
    if kind is tuple:
        return tuple([_owned(part) if type(part) in _COMPOUND else part for part in value])
    copy = value.copy()
    for place, part in copy.items() if kind is dict else enumerate(copy):
        if type(part) in _COMPOUND:
            copy[place] = _owned(part)
    return copy


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
            elif kind is list:
                for element in part:
                    if type(element) is str:
                        left -= len(element) + 1
                    else:
                        heap.append(element)
            elif kind is not int and kind is not bool and part is not None:
                heap.append(part)
            left -= len(name) if type(name) is str else 1
    while heap and left >= 0:
        part = heap.pop()
        left -= 1
        if isinstance(part, (str, bytes)):
            left -= len(part)
        elif isinstance(part, Mapping):
            heap.extend(part.keys())
            heap.extend(part.values())
        elif isinstance(part, (list, tuple)):
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


def decision_record(
    run: Run, call: ToolCall, event: CallDecided, decided_on: Mapping[str, Json]
) -> CallDecided:
    """Return the event of a decision with the values kept out that the policy keeps out."""
    known = run.state.calls.get(event.call)
    withheld = None if known is None or run.hiding is None else known.withheld
    tool = run.plan.by_bound_name.get(call.tool)
    keyed_only = tool is not None and tool.obligations.audit == "minimal"
    if withheld not in ("secret", "redacted") and not keyed_only:
        return event
    arguments: Json = None
    # Without a tool it repeats what was hidden elsewhere, and nothing was decided on it.
    if withheld == "redacted" and not keyed_only and run.hiding is not None and tool is not None:
        event, is_told = run.hiding.settled(tool, call, event, decided_on)
        if is_told:
            return event
        arguments = event.arguments
    kept = keyed(run, event.digest)
    facts = event.facts
    if facts.get("answers"):  # the questions hold values of the arguments
        answers = {
            keyed(run, key)["$keyed"]: [how, keyed(run, what) if how == "gave" else what]
            for key, (how, what) in facts["answers"].items()
        }
        facts = {**facts, "answers": answers}
    return replace(event, arguments=arguments, digest=kept["$keyed"], facts=facts)
