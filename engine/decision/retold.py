"""A call whose redacted values are not in the record, told by what the redactors gave in their place.

Every clause sees the redacted values alone, so a call with these values is decided the same, if its redactors
leave them as they are.  That is so, and recorded, unless a redaction has a condition, which looks at the
values as given, or has failed.
"""

from collections.abc import Mapping

from ringfence.dsl.canonical import canonical, loads_strict
from ringfence.dsl.plan import Json, Question, Redaction, ToolPlan
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import MARK, CallDecided, CallRequested
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.decision.watched import is_unconditional

_ASKED = '["redact '
"""How a question to a redactor begins."""

SHOWN = "$redacted"
"""Under this name, a request has its arguments with a mark in the place of what is hidden."""


def retold(
    tool: ToolPlan, given: Mapping[str, Json], decided: Mapping[str, Json], answers: Mapping[str, Json]
) -> dict[str, Json] | None:
    """Return the answers that a decision on the redacted values rests on; None: it would be another one.

    Args:
        given: The arguments of the call.
        decided: Those that it was decided on.
        answers: What plugins answered.
    """
    if not _unconditional(tool):
        return None
    gave: dict[str, Json] = {}
    for param, chain in _chains(tool, given).items():
        parameter = None if tool.parameters is None else tool.parameters.get(param)
        try:
            value = given[param] if parameter is None else parameter.canonical(given[param])
            for redactor in chain:
                how, answer = answers[_question(redactor, value)]
                if how != "gave":
                    return None
                value = answer if parameter is None else parameter.canonical(answer)
            if param not in decided or _question("", value) != _question("", decided[param]):
                return None
            for redactor in chain:
                gave[_question(redactor, value)] = ["gave", value]
        except Exception:  # fails closed: the values stay hidden, and nobody decides again
            return None
    # SECURITY: what redactors were asked holds values as they were given, or halfway.
    return {key: answer for key, answer in answers.items() if not key.startswith(_ASKED)} | gave


def shown_of(event: CallRequested) -> Json:
    """Return the arguments of a request as the record shows them: with marks, or what stands for them."""
    arguments = event.arguments
    shown = arguments.get(SHOWN) if event.withheld and isinstance(arguments, Mapping) else None
    return shown if isinstance(shown, Mapping) else arguments


def call_again(known: KnownCall, event: CallDecided, tool: ToolPlan | None) -> ToolCall | str:
    """Return the call as it can be decided again, or why it cannot.

    Args:
        event: Its recorded decision.
        tool: What the policy that decides now says of the tool; None: nothing.
    """
    request = known.decided_in(event)
    if known.withheld is None:
        # What a plugin answered is hidden, or why it failed: the decision rests on what is not there.
        return "secret" if event.redacted else request
    if known.withheld != "redacted" or event.redacted or not isinstance(event.arguments, Mapping):
        return known.withheld
    shown = request.arguments.get(SHOWN)
    given: Mapping[str, Json] = shown if isinstance(shown, Mapping) else request.arguments
    if tool is None:  # nobody looks at the arguments of a tool that is not declared
        return _with(request, given)
    decided, answers = event.arguments, event.facts.get("answers", {})
    chains = _chains(tool, given)
    if not _unconditional(tool):
        return known.withheld
    again: dict[str, Json] = {}
    for name in (name for name, value in given.items() if _is_marked(value)):
        # What no redactor was asked about is decided as it was given, and stands in the decision.
        if name not in chains and (name not in decided or _redactors_of(decided[name], answers)):
            return known.withheld
        again[name] = decided.get(name)
    for param, chain in chains.items():
        if param not in decided or set(chain) != set(_redactors_of(decided[param], answers)):
            return known.withheld
    return _with(request, {**given, **again, **{param: decided[param] for param in chains}})


def _is_marked(value: Json) -> bool:
    """Say whether something in a value may be hidden."""
    return MARK in canonical(value).decode()


def _unconditional(tool: ToolPlan) -> bool:
    return all(is_unconditional(clause.condition) for clause in tool.redactions)


def _chains(tool: ToolPlan, given: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the redactors of each parameter that is given, in the order in which they are applied."""
    due: list[Redaction] = [one for one in tool.redactions if not one.shadow and one.param in given]
    chains: dict[str, list[str]] = {}
    for param, redactor in sorted({(one.param, one.redactor) for one in due}):
        chains.setdefault(param, []).append(redactor)
    return chains


def _question(redactor: str, value: Json) -> str:
    return Question(f"redact {redactor}", (value,)).key


def _redactors_of(value: Json, answers: Mapping[str, Json]) -> set[str]:
    """Return the redactors that were asked about a value."""
    found = set()
    for key in answers:
        if key.startswith(_ASKED):
            asked, about = loads_strict(key)
            if canonical(about) == canonical(value):
                found.add(asked.removeprefix("redact "))
    return found


def _with(call: ToolCall, arguments: Mapping[str, Json]) -> ToolCall:
    return call._replace(arguments=dict(arguments))
