"""From the text of a policy to its plan: the stages, in order."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ringfence.dsl.checks import (
    across,
    bounds,
    calendars,
    clauses,
    counted,
    declared,
    isolates,
    layout,
    levels,
    people,
    warnings,
)
from ringfence.dsl.compile.policy import compile_policy
from ringfence.dsl.compose import compose, see
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.draft import Draft
from ringfence.dsl.headers import headers
from ringfence.dsl.names import declare
from ringfence.dsl.parse import parse
from ringfence.dsl.plan import Plan, TextFile
from ringfence.dsl.resolve import cover, resolve
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Document

Stage = Callable[[Draft], None]
"""Reads and fills in the draft, and reports; it never raises for a wrong policy."""

DECLARING: tuple[Stage, ...] = (headers, declare)
"""What each layer does alone; then `compose` joins what they share."""

STAGES: tuple[Stage, ...] = (
    resolve,
    see,
    cover,
    clauses.patterns_and_sets,
    calendars.check_calendars,
    declared.check_functions,
    clauses.tool_clauses,
    across.rule_clauses,
    across.order_clauses,
    across.guarantees,
    levels.label_results,
    counted.touched,
    counted.count_tools,
    counted.count_amounts,
    isolates.check_isolates,
    bounds.check_bounds,
    people.check_people,
    layout.check_layout,
)
"""Each is done for the policy first, then for every ceiling."""

WHOLE: tuple[Stage, ...] = (
    levels.readers_labelled,
    warnings.check_each_tool,
    warnings.check_whole_policy,
)
"""What is judged of the policy under all its ceilings."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The plan, unless the text has an error; and all that was found, sorted by place."""

    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...]


def load(path: str | Path) -> Loaded:
    """Load a policy file; raise OSError if it cannot be read."""
    return _load(Source.read(path))


def load_text(text: str, name: str = "policy.fence") -> Loaded:
    """Load a policy from its text; `name` is what diagnostics call it."""
    return _load(Source(name, text))


def _load(source: Source) -> Loaded:
    with _collector_paused():
        document, found = parse(source)
        return load_document(document, found)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cyclic collector away while a policy is built: all of it is alive, and it may be large."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_document(document: Document, found: list[Diagnostic] | None = None) -> Loaded:
    """Load a parsed policy; `found` is what the parser reported."""
    return load_drafts(Draft(document, list(found or ())), ())


def load_drafts(policy: Draft, ceilings: Sequence[Draft], files: tuple[TextFile, ...] = ()) -> Loaded:
    """Load a policy under its ceilings; each draft holds what the parser reported."""
    layers = (policy, *ceilings)
    for layer in layers:
        for stage in DECLARING:
            stage(layer)
    compose(policy, ceilings)
    for stage in STAGES:
        for layer in layers:
            stage(layer)
    for stage in WHOLE:
        stage(policy)
    found = {(report.span, report.code): report for layer in layers for report in layer.found}
    diagnostics = tuple(found[key] for key in sorted(found))
    return Loaded(None if policy.failed else compile_policy(policy, files), diagnostics)
