"""Step 3 of a decision: the values of redacted parameters, as redactors give them."""

from collections.abc import Mapping
from itertools import combinations
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

MOST_UNSURE = 4
"""Redactions of one call that may be undecided at once: each doubles what is decided on."""


class Redacted(NamedTuple):
    """What came of the redactions of one call."""

    arguments: Mapping[str, Json]
    failures: tuple[Reason, ...]
    """Not empty: the call is denied, since what should be hidden may stand in the arguments."""
    shadow: tuple[Reason, ...]
    otherwise: tuple[Mapping[str, Json], ...] = ()
    """The arguments as they would be if redactions whose condition is undecided were not due.  The call is
    decided on these as well: what hides a value must not hide it from a `deny` (law 3)."""


def redacted(tool: ToolPlan, scope: Scope, schema_names: frozenset[str] | None) -> Redacted:
    """Redact what must be; conditions are asked about the values as given, and hold on anything but false.

    Several redactors of one parameter follow one another by name, each once, so that the order of the clauses
    changes nothing.
    """
    due: dict[tuple[str, str], Redaction] = {}
    sure: set[tuple[str, str]] = set()
    shadow: list[Reason] = []
    for clause in tool.redactions:
        if clause.param not in scope.arguments:
            continue
        truth = True if clause.condition is None else clause.condition(scope)
        if truth is False:
            continue
        if clause.shadow:
            shadow.append(Reason(clause.name, "redact", clause.place))
            continue
        key = (clause.param, clause.redactor)
        due.setdefault(key, clause)
        if truth is True:
            sure.add(key)
    arguments, failures = _applied(tool, scope, due, schema_names)
    otherwise: list[Mapping[str, Json]] = []
    unsure = sorted(due.keys() - sure)
    if len(unsure) > MOST_UNSURE:
        failures.append(_failure(due[unsure[0]], "too many redactions are undecided at once"))
    elif not failures:
        for count in range(1, len(unsure) + 1):
            for left_out in combinations(unsure, count):
                fewer = {key: clause for key, clause in due.items() if key not in left_out}
                variant, why = _applied(tool, scope, fewer, schema_names)
                otherwise.append(variant)
                failures.extend(why)
    return Redacted(arguments, tuple(failures), tuple(shadow), tuple(otherwise))


def _applied(
    tool: ToolPlan,
    scope: Scope,
    due: Mapping[tuple[str, str], Redaction],
    schema_names: frozenset[str] | None,
) -> tuple[dict[str, Json], list[Reason]]:
    """Return the arguments with these redactions, and what went wrong."""
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
    return arguments, failures


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
