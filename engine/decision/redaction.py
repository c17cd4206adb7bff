"""Step 3 of a decision: the values of redacted parameters, as redactors give them."""

from collections.abc import Mapping
from typing import NamedTuple

from ringfence.dsl.plan import (
    Json,
    Question,
    Reason,
    Redaction,
    Scope,
    ToolPlan,
    UnansweredError,
    UnfitError,
)
from ringfence.engine.decision.arguments import Takes, canonical_arguments


class Redacted(NamedTuple):
    """What came of the redactions of one call."""

    arguments: Mapping[str, Json]
    failures: tuple[Reason, ...]
    """Not empty: the call is denied, since what should be hidden may stand in the arguments."""
    shadow: tuple[Reason, ...]


def redacted(tool: ToolPlan, scope: Scope, schema_names: frozenset[str] | None) -> Redacted:
    """Redact what must be; conditions are asked about the values as given, and hold on anything but false.

    Several redactors of one parameter follow one another by name, each once, so that the order of the clauses
    changes nothing.
    """
    due: dict[tuple[str, str], Redaction] = {}
    shadow: list[Reason] = []
    for clause in tool.redactions:
        if clause.param not in scope.arguments:
            continue
        if clause.condition is not None and clause.condition(scope) is False:
            continue
        if clause.shadow:
            shadow.append(Reason(clause.name, "redact", clause.place))
        else:
            due.setdefault((clause.param, clause.redactor), clause)
    arguments = dict(scope.arguments)
    failures: list[Reason] = []
    for (param, redactor), clause in sorted(due.items(), key=lambda item: item[0]):
        try:
            arguments[param] = _redact(tool, clause, arguments[param], scope)
        except UnansweredError:
            failures.append(_failure(clause, f"`{redactor}` has not redacted `{param}`"))
        except UnfitError as error:
            failures.append(_failure(clause, f"`{redactor}` gave what does not fit `{param}`: {error}"))
        except Exception as error:  # fails closed: what is not redacted is not sent
            failures.append(_failure(clause, f"`{redactor}` failed on `{param}` ({type(error).__name__})"))
    if due and not failures:
        try:
            arguments = canonical_arguments(_takes(tool), tool.required, arguments, schema_names)
        except Exception as error:  # fails closed: what does not fit any more is denied
            why = str(error) if isinstance(error, UnfitError) else type(error).__name__
            failures.append(_failure(next(iter(due.values())), f"the redacted arguments do not fit: {why}"))
    return Redacted(arguments, tuple(failures), tuple(shadow))


def _redact(tool: ToolPlan, clause: Redaction, value: Json, scope: Scope) -> Json:
    given = scope.ask(Question(f"redact {clause.redactor}", (value,)))
    parameter = None if tool.parameters is None else tool.parameters.get(clause.param)
    return given if parameter is None else parameter.canonical(given)


def _takes(tool: ToolPlan) -> Takes | None:
    if tool.parameters is None:
        return None
    return {
        one.name: (one.canonical, one.optional, one.as_is, 40 + len(one.name))
        for one in tool.parameters.values()
    }


def _failure(clause: Redaction, detail: str) -> Reason:
    return Reason(f"{clause.name}!error", "deny", clause.place, None, detail)
