"""From the text of a policy to its plan: the stages, in order."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ringfence.dsl.checks import bounds, calendars, clauses, declared, people, warnings
from ringfence.dsl.compile.policy import compile_policy
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.draft import Draft
from ringfence.dsl.names import declare, headers, resolve
from ringfence.dsl.parse import parse
from ringfence.dsl.plan import Plan
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Document

Stage = Callable[[Draft], None]
"""Reads and fills in the draft, and reports; it never raises for a wrong policy."""

STAGES: tuple[Stage, ...] = (
    headers,
    declare,
    resolve,
    clauses.patterns_and_sets,
    calendars.check_calendars,
    declared.check_functions,
    clauses.tool_clauses,
    clauses.rule_clauses,
    bounds.check_bounds,
    people.check_people,
    warnings.check_each_tool,
    warnings.check_whole_policy,
)


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
    draft = Draft(document, list(found or ()))
    for stage in STAGES:
        stage(draft)
    diagnostics = tuple(sorted(draft.found, key=lambda report: (report.span, report.code)))
    return Loaded(None if draft.failed else compile_policy(draft), diagnostics)
