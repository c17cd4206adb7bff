"""What of a run's events never reaches the log: secrets of the settings, and what its policy redacts.

The run's own fold takes the event as the log has it, so whoever decides again from the log knows no less.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

from ringfence.dsl.plan import Json, Plan, ToolPlan
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import KINDS, MARK, CallDecided, RunEvent
from ringfence.engine.decision.retold import retold
from ringfence.engine.journal.fields import SAID, WORDS, Nature, nature_of
from ringfence.engine.journal.remembered import Remembered, Why, texts_of
from ringfence.engine.journal.secrets import Secrets
from ringfence.engine.journal.walk import Redacted, Redactions, Walk, is_made


class Hiding:
    """What is hidden of one run.

    Args:
        redactions: The parameters that its policy redacts.
        remembered: What was hidden in its session, in this process.
        tools: Those that its policy declares.
    """

    def __init__(
        self,
        secrets: Secrets,
        redactions: Redactions | None = None,
        remembered: Remembered | None = None,
        tools: frozenset[str] = frozenset(),
    ) -> None:
        self.secrets = secrets
        self.remembered = Remembered() if remembered is None else remembered
        self._redactions = redactions or {}
        self._tools = tools

    def text(self, text: str) -> str:
        """Return anybody's text with what is secret in it hidden."""
        shown: str = self._looked(text, lambda walk: walk.text(text), SAID)
        return shown

    def value(self, value: Any, *, tool: str | None = None) -> Json:
        """Return the value with what is secret in it hidden; the very same object if nothing is.

        Args:
            tool: They are the arguments of a call of this tool.
        """
        if tool is None:
            return self._looked(value, lambda walk: walk.value(value), SAID)
        redacted = self._redactions.get(tool)
        return self._looked(value, lambda walk: walk.arguments(value, redacted), SAID)

    def principal(self, values: Mapping[str, Json]) -> Json:
        """Return what a host says of whom a run is for; a memory that is full hides nothing of it."""
        return self._looked(values, lambda walk: walk.value(values), SAID, full=False)

    def finds(self, value: Any) -> bool:
        """Say whether something in the value is secret."""
        return self.value(value) is not value

    def finds_in_name(self, name: str) -> bool:
        """Say whether something secret stands in a name that the host gives."""
        return self.secrets.text(name, values=self.remembered.values) != name

    def finds_secret(self, value: Any) -> bool:
        """Say whether something in the value is secret by the settings, and not by the policy alone."""
        if not self.secrets:
            return False
        walk = Walk(self.secrets, {}, self.remembered.named, SAID)
        walk.value(value)
        return walk.found

    def named(self, call: ToolCall) -> ToolCall:
        """Return the call with what is secret hidden in all but its arguments; the same if nothing is."""
        said = (call.tool, call.call_id, call.task, call.attempt)
        # SECURITY: a model writes the name of a tool that does not exist, and the id of its call.
        free = (call.tool not in self._tools, True, False, False)
        shown = tuple(
            part if part is None else self._name(part, own) for part, own in zip(said, free, strict=True)
        )
        names = call.schema_names
        shown_names = None if names is None else frozenset(map(self._name, names))
        if shown == said and shown_names == names:
            return call
        tool, call_id, task, attempt = shown
        return ToolCall(tool or MARK, call.arguments, call_id, task, attempt, shown_names)

    def event(self, event: RunEvent) -> RunEvent:
        """Return the event as the log may have it: the very same if nothing in it is secret.

        What one field has of it is looked for in the others, too, whichever stands first.
        """
        before = None
        while before != (self.remembered.values, self.remembered.full):
            before = self.remembered.values, self.remembered.full
            shown = {
                name: said
                for name in _FIELDS[event.kind]
                if (said := self._field(event, name)) is not getattr(event, name)
            }
        marks = set(shown)
        if event.kind == "RunStarted":
            marks |= _hidden_of(getattr(event, "principal", None), shown.get("principal"))
        if not marks:
            return event
        if event.kind in _TELLING:
            shown["redacted"] = tuple(sorted(marks))
        elif event.kind == "CallRequested" and getattr(event, "withheld", None) is None:
            shown["withheld"] = "secret"
        return replace(event, **shown)

    def settled(
        self, tool: ToolPlan, call: ToolCall, event: CallDecided, decided_on: Mapping[str, Json]
    ) -> tuple[CallDecided, bool]:
        """Return the decision on a call that the policy redacts, with the arguments that it has from then on.

        Returns:
            The event, and whether it holds all that is needed to decide it again; if not, its digest and its
            answers still hold what was given.
        """
        told = retold(tool, call.arguments, decided_on, event.facts["answers"])
        if told is None and event.verdict not in ("allow", "ask"):
            # SECURITY: a redactor may have failed, and have hidden nothing.
            return replace(event, arguments=None), False
        arguments = dict(decided_on)
        redacted = self._redactions.get(call.tool)
        if redacted is not None:
            given = {name: value for name, value in call.arguments.items() if redacted.hides(name)}
            self.remembered.settled(given, arguments)
        event = replace(event, arguments=arguments)
        if told is None or self.finds(arguments):
            return event, False
        return replace(event, facts={**event.facts, "answers": told}), True

    def _field(self, event: RunEvent, name: str) -> Any:
        value = getattr(event, name)
        if value is None or type(value) in (bool, int):
            return value
        look = _LOOKS.get(name)
        if look is not None:
            return self._looked(value, lambda walk: look(self, walk, value), nature_of(name))
        if name == "principal":
            return self.principal(value)
        if event.kind == "CallRequested" and name == "arguments" and getattr(event, "withheld", None) is None:
            return self.value(value, tool=str(getattr(event, "tool", None)))
        nature = nature_of(name)
        if nature is WORDS and type(value) is str:  # as a walk looks at it: for the patterns alone
            return self.secrets.text(value, free=False)
        found = self._looked(value, lambda walk: walk.value(value), nature)
        return tuple(found) if type(value) is tuple and type(found) is list else found

    def _reasons(self, walk: Walk, reasons: Json) -> Json:
        """Hide what the details of reasons say; all else in them is a policy's, or Ringfence's."""
        if not isinstance(reasons, list | tuple):
            return walk.value(reasons)
        return [self._with(walk, reason, "detail") for reason in reasons]

    def _facts(self, walk: Walk, facts: Json) -> Json:
        """Hide what plugins were asked and said; all else in facts is a policy's, or Ringfence's."""
        return self._with(walk, facts, "answers")

    def _with(self, walk: Walk, record: Json, said: str) -> Json:
        """Walk over a record of which one part is anybody's text."""
        shown = walk.value(record)
        if isinstance(record, Mapping) and isinstance(shown, dict) and said in record:
            own = self.value(record[said])
            if own is not record[said]:
                walk.found = True
                shown[said] = own
        return shown

    def _looked(self, value: Any, look: Callable[[Walk], Any], nature: Nature, *, full: bool = True) -> Any:
        """Return what a walk shows of a value, once it finds nothing more to remember."""
        while True:
            remembered = self.remembered
            whole = full and remembered.full
            walk = Walk(self.secrets, self._redactions, remembered.values, nature, full=whole)
            shown = look(walk)
            learned = (walk.named or walk.redacted) and (
                self.remembered.take(walk.redacted, Why.GIVEN) | self.remembered.take(walk.named, Why.NAMED)
            )
            if not learned:
                return shown if walk.found else value

    def _name(self, text: str, free: bool = False) -> str:
        if is_made(text) and not (free and text in self.remembered.values):
            return text
        if free and (self.remembered.full or any(value in text for value in self.remembered.values)):
            return MARK
        return self.secrets.text(text, free=False)


def hiding_of(secrets: Secrets, plan: Plan, remembered: Remembered | None = None) -> Hiding | None:
    """Return what hides of a run under this plan; None: nothing is secret."""
    redactions, tools = _read(_Own(plan))
    return Hiding(secrets, redactions, remembered, tools) if secrets or redactions else None


class _Own:
    """A plan that is the same as itself alone."""

    __slots__ = ("plan",)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return id(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Own) and other.plan is self.plan


@lru_cache(maxsize=16)
def _read(own: _Own) -> tuple[Redactions, frozenset[str]]:
    """Return what a plan redacts, and its tools; remembered, since every run of a guard asks for it."""
    redactions = {
        tool.bound: Redacted(
            frozenset(clause.param for clause in tool.redactions if not clause.shadow),
            frozenset(tool.parameters or ()),
        )
        for tool in own.plan.tools.values()
        if any(not clause.shadow for clause in tool.redactions)
    }
    return redactions, frozenset(own.plan.by_bound_name)


def in_policy(secrets: Secrets, plan: Plan) -> str | None:
    """Say where a policy holds what must not reach the log, which keeps its texts; None: nowhere."""
    for file in plan.files:
        for number, line in enumerate(file.text.splitlines(), 1):
            if secrets.text(line, free=False) != line:
                return f"{file.name}:{number}"
    return None


def _hidden_of(said: Json, shown: Json) -> set[str]:
    """Return `principal.NAME` for each value of which something is hidden, now or when it was put away.

    SECURITY: a stand-in must never be compared with anything, or `deny when principal.ward == …` were false.
    """
    if not isinstance(said, Mapping):
        return set()
    record = said if not isinstance(shown, Mapping) else shown
    marks = {f"principal.{name}" for name, value in record.items() if _is_marked(value, said.get(name))}
    return marks | ({"principal"} if record.keys() != said.keys() else set())


def _is_marked(shown: Json, said: Json) -> bool:
    return shown != said or any(MARK in text for text in texts_of(shown))


_LOOKS: Mapping[str, Callable[[Hiding, Walk, Any], Any]] = {
    "reasons": Hiding._reasons,
    "shadow": Hiding._reasons,
    "facts": Hiding._facts,
}
_ALL = {kind: tuple(field.name for field in fields(member)) for kind, member in KINDS.items()}
_TELLING = frozenset(kind for kind, names in _ALL.items() if "redacted" in names)
"""Kinds of events that say of which fields something was hidden."""
_FIELDS = {kind: tuple(name for name in names if name != "redacted") for kind, names in _ALL.items()}
