"""What of a run's events never reaches the log: secrets of the settings, and what its policy redacts.

The run's own fold takes the event as the log has it, so whoever decides again from the log knows no less.
What is hidden is remembered for as long as the run lives here (`MOST_VALUES`), and hidden where it comes back
in later texts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from math import isfinite
from typing import Any, Final

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import KINDS, CallDecided, RunEvent, RunStarted
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.secrets import MARK, Secrets

MOST_VALUES: Final = 256
"""Values of one run that are remembered; the first ones are kept."""
SHORTEST_VALUE: Final = 8
"""A shorter one is hidden where it stands, and not looked for elsewhere."""

_FREE: Final = frozenset(
    {
        "text",
        "messages",
        "arguments",
        "result",
        "error",
        "edited",
        "because",
        "message",
        "detail",
        "answers",
        "parameters",
    }
)
"""Fields that hold what people, models and tools say; the others are Ringfence's own words, or a policy's."""

_OWN: Final = frozenset(
    {
        "call",
        "parent",
        "run",
        "ticket",
        "tickets",
        "request",
        "digest",
        "policy_digest",
        "source",
        "session",
        "session_head",
        "continues",
        "seed",
        "output",
        "resume_of",
        "answers",
        "facts",
    }
)
_SHAPE = re.compile(
    r"[0-9a-f]{16}\.\d+|run-[0-9a-f]{16}|T-[0-9A-Z]{8}|(?:hmac-)?sha256:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{64}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""What Ringfence and frameworks make by chance or by digest: a pattern for keys must not break a chain."""

_CALL_PARTS: Final = ("args", "arguments", "input", "parameters")
_DEEPEST: Final = 200


class Hiding:
    """What is hidden of one run.

    Args:
        params: Framework's name of a tool -> its parameters whose values a policy redacts.
    """

    def __init__(self, secrets: Secrets, params: Mapping[str, frozenset[str]] | None = None) -> None:
        self.secrets = secrets
        self._params = params or {}
        self._values: tuple[str, ...] = ()
        """All that is looked for in later texts."""
        self._named: frozenset[str] = frozenset()
        """Those of them that stood under a name of the settings."""

    def text(self, text: str) -> str:
        """Return the text with what is secret in it hidden."""
        return self.secrets.text(text, values=self._values)

    def value(self, value: Any, *, tool: str | None = None) -> Json:
        """Return the value with what is secret in it hidden; the very same object if nothing is.

        Args:
            tool: They are the arguments of a call of this tool.
        """
        walk = _Walk(self, free=True)
        found = walk.arguments(value, self._params.get(tool, frozenset())) if tool else walk.value(value)
        self._remember(walk)
        return found if walk.found else value

    def finds(self, value: Any) -> bool:
        """Say whether something in the value is secret."""
        return self.value(value) is not value

    def finds_secret(self, value: Any) -> bool:
        """Say whether something in the value is secret by the settings, and not by the policy alone."""
        own = Hiding(self.secrets)
        own._values = tuple(one for one in self._values if one in self._named)
        return bool(self.secrets) and own.finds(value)

    def named(self, call: ToolCall) -> ToolCall:
        """Return the call with what is secret hidden in all but its arguments; the same if nothing is."""
        said = (call.tool, call.call_id, call.task, call.attempt)
        shown = tuple(part if part is None else self._own(part) for part in said)
        names = call.schema_names
        shown_names = None if names is None else frozenset(map(self._own, names))
        if shown == said and shown_names == names:
            return call
        tool, call_id, task, attempt = shown
        return ToolCall(tool or MARK, call.arguments, call_id, task, attempt, shown_names)

    def event(self, event: RunEvent) -> RunEvent:
        """Return the event as the log may have it: the very same if nothing in it is secret."""
        changed: dict[str, Json] = {}
        marks: list[str] = []
        for name in _FIELDS[event.kind]:
            value = getattr(event, name)
            shown = self._field(event, name, value, marks)
            if shown is not value:
                changed[name] = shown
        if not changed:
            return event
        if "redacted" in _ALL[event.kind]:
            changed["redacted"] = tuple(sorted({*changed, *marks}))
        elif event.kind == "CallRequested" and getattr(event, "withheld", None) is None:
            changed["withheld"] = "secret"
        return replace(event, **changed)

    def settled(self, event: CallDecided, arguments: Mapping[str, Json]) -> CallDecided:
        """Return the decision on a call that the policy redacts, with the arguments that it has from then on.

        What the policy left as it was is no longer hidden.
        """
        if event.verdict not in ("allow", "ask"):  # a redactor may have failed, and nothing be hidden in them
            return event
        left: list[str] = []
        _learn(dict(arguments), left)
        self._values = tuple(one for one in self._values if one not in left or one in self._named)
        return replace(event, arguments=dict(arguments))

    def _field(self, event: RunEvent, name: str, value: Any, marks: list[str]) -> Any:
        if value is None or type(value) in (bool, int):
            return value
        walk = _Walk(self, free=name in _FREE or name == "principal", shaped=name in _OWN)
        if isinstance(event, RunStarted) and name == "principal" and isinstance(value, Mapping):
            shown: dict[str, Json] = {}
            for key, part in value.items():
                said, before = walk.record({key: part}), len(shown)
                shown.update(said)
                if said != {key: part} or len(shown) == before:
                    marks.append(f"principal.{key}" if key in said else "principal")
            found: Any = shown
        elif name in ("reasons", "shadow") and isinstance(value, list):
            found = [self._reason(walk, record) for record in value]
        elif name == "facts" and isinstance(value, Mapping):
            found = walk.value(value)
            walk.free = True
            found["answers"] = walk.value(value.get("answers", {}))
        elif name == "arguments" and isinstance(tool := getattr(event, "tool", None), str):
            found = walk.arguments(value, self._params.get(tool, frozenset()))
        else:
            found = walk.value(value)
        self._remember(walk)
        if not walk.found:
            return value
        return tuple(found) if type(value) is tuple else found

    def _reason(self, walk: "_Walk", record: Json) -> Json:
        said = walk.value(record)
        if isinstance(said, dict) and isinstance(said.get("detail"), str):
            walk.free = True
            said = {**said, "detail": walk.value(said["detail"])}
            walk.free = False
        return said

    def _own(self, text: str) -> str:
        return text if _SHAPE.fullmatch(text) else self.secrets.text(text, free=False)

    def _remember(self, walk: "_Walk") -> None:
        found = [one for one in (*walk.named, *walk.redacted) if len(one) >= SHORTEST_VALUE]
        new = [one for one in dict.fromkeys(found) if one not in self._values]
        if found:
            self._values = (*self._values, *new)[:MOST_VALUES]
            self._named |= frozenset(walk.named) & frozenset(self._values)


def hiding_of(secrets: Secrets, plan: Plan) -> Hiding | None:
    """Return what hides of a run under this plan; None: nothing is secret."""
    params = {
        tool.bound: frozenset(clause.param for clause in tool.redactions if not clause.shadow)
        for tool in plan.tools.values()
        if any(not clause.shadow for clause in tool.redactions)
    }
    return Hiding(secrets, params) if secrets or params else None


def in_policy(secrets: Secrets, plan: Plan) -> str | None:
    """Say where a policy holds what must not reach the log, which keeps its texts; None: nowhere."""
    for file in plan.files:
        for number, line in enumerate(file.text.splitlines(), 1):
            if secrets.text(line, free=False) != line:
                return f"{file.name}:{number}"
    return None


class _Walk:
    """One walk over one value."""

    def __init__(self, hiding: Hiding, *, free: bool, shaped: bool = False) -> None:
        self._hiding = hiding
        self._secrets = hiding.secrets
        self.free = free
        self._shaped = shaped
        self.found = False
        self.named: list[str] = []
        """What stood under a name of the settings."""
        self.redacted: list[str] = []
        """What the policy redacts."""
        self._depth = 0

    def value(self, value: Any) -> Json:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, int | float):
            return self._number(value)
        if self._depth >= _DEEPEST:  # fails closed: no honest value is as deep
            return self._hidden()
        self._depth += 1
        try:
            if issubclass(kind, dict):
                return self.record(value)
            if issubclass(kind, list | tuple):
                return [self.value(part) for part in value]
            if issubclass(kind, Mapping):
                return self.record(dict(value))
            return self.value(jsonable(value, hide=self._hide))
        finally:
            self._depth -= 1

    def record(self, record: Mapping[Any, Any]) -> Json:
        said: dict[Any, Json] = {}
        redacting = self._params_of(record)
        label = next((record[key] for key in ("name", "key") if isinstance(record.get(key), str)), None)
        for key, part in record.items():
            name = key if type(key) is str else None
            shown: Any = key if name is None else self._key(name, said)
            under = label if name == "value" else name
            if self.free and any(one is not None and self._secrets.is_name(one) for one in (name, under)):
                said[shown] = self._hide_whole(part)
            elif name in ("$keyed", "$digest") and isinstance(part, str) and _SHAPE.fullmatch(part):
                said[shown] = part
            elif name == "$items" and isinstance(part, list):
                said[shown] = [self._pair(one) for one in part]
            elif redacting and name in _CALL_PARTS:
                said[shown] = self.arguments(part, redacting)
            else:
                said[shown] = self.value(part)
        return said

    def arguments(self, arguments: Any, redacted: frozenset[str]) -> Json:
        """Return the arguments of a call, which may be a JSON text."""
        if isinstance(arguments, str):
            try:
                read = json.loads(arguments)
            except (ValueError, RecursionError):  # fails closed: what cannot be read is hidden as a whole
                return self._hide_whole(arguments, by_policy=True) if redacted else self.value(arguments)
            if not isinstance(read, dict):
                return self.value(arguments)
            before, self.found = self.found, False
            shown = self.arguments(read, redacted)
            changed, self.found = self.found, before or self.found
            return json.dumps(shown, ensure_ascii=False) if changed else arguments
        if not isinstance(arguments, Mapping) or not redacted:
            return self.value(arguments)
        hidden = {
            name: self._hide_whole(part, by_policy=True)
            for name, part in arguments.items()
            if name in redacted
        }
        shown = self.value({name: part for name, part in arguments.items() if name not in hidden})
        assert isinstance(shown, dict)
        return {**shown, **hidden}

    def _params_of(self, record: Mapping[Any, Any]) -> frozenset[str]:
        tool = record.get("name")
        return (
            self._hiding._params.get(tool, frozenset())
            if self.free and isinstance(tool, str)
            else frozenset()
        )

    def _pair(self, pair: Any) -> Json:
        named = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        if named and self.free and self._secrets.is_name(pair[0]):
            return [self._text(pair[0]), self._hide_whole(pair[1])]
        return self.value(pair)

    def _key(self, name: str, said: Mapping[Any, Json]) -> str:
        shown = self._text(name)
        if shown == name:
            return name
        number, own = 2, shown
        while own in said:  # two names that are hidden stay two
            own, number = f"{shown} {number}", number + 1
        return own

    def _text(self, text: str) -> str:
        if self._shaped and _SHAPE.fullmatch(text):
            return text
        values = self._hiding._values if self.free else ()
        said = self._inside(text) if self.free and text.lstrip()[:1] in ("{", "[") else text
        said = self._secrets.text(said, values=values, free=self.free)
        if said != text:
            self.found = True
        return said

    def _inside(self, text: str) -> str:
        """Return a text with what is secret hidden in the JSON that it is, if it is that."""
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):  # no JSON: looked at as a text
            return text
        before, self.found = self.found, False
        shown = self.value(read)
        changed, self.found = self.found, before or self.found
        return json.dumps(shown, ensure_ascii=False) if changed else text

    def _number(self, number: Any) -> Json:
        if isinstance(number, float):
            said = [repr(number)] if not isfinite(number) else [repr(number), f"{number:.0f}"]
        else:
            said = [str(number) if number.bit_length() <= 1024 else hex(number)]
        values = self._hiding._values if self.free else ()
        if any(self._secrets.text(one, values=values, free=self.free) != one for one in said):
            return self._hidden()
        return number

    def _hide(self, text: str) -> str:
        said = self._hiding.text(text)
        self.found = self.found or said != text
        return said

    def _hidden(self) -> str:
        self.found = True
        return MARK

    def _hide_whole(self, value: Any, *, by_policy: bool = False) -> Json:
        """Hide a value, and remember what it was; an empty one hides nothing."""
        if value is None or type(value) is bool or value == MARK:
            return value
        _learn(value, self.redacted if by_policy else self.named)
        return self._hidden()


def _learn(value: Any, learned: list[str]) -> None:
    """Add the texts and numbers in a value, as texts."""
    heap = [value]
    while heap and len(learned) < MOST_VALUES:
        part = heap.pop()
        if isinstance(part, str):
            learned.append(part)
        elif isinstance(part, Mapping):
            heap.extend(part.values())
        elif isinstance(part, list | tuple):
            heap.extend(part)
        elif isinstance(part, float) or (type(part) is int and part.bit_length() <= 1024):
            learned.append(str(part))


_ALL = {kind: tuple(field.name for field in fields(member)) for kind, member in KINDS.items()}
_FIELDS = {kind: tuple(name for name in names if name != "redacted") for kind, names in _ALL.items()}
