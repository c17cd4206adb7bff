"""From the text of a policy to its plan: the stages, in order."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.dsl.checks import (
    across,
    asks,
    bounds,
    calendars,
    clauses,
    counted,
    declared,
    edges,
    isolates,
    layout,
    leaks,
    levels,
    people,
    tests,
    warnings,
)
from ringfence.dsl.compile.policy import compile_policy
from ringfence.dsl.compose import compose, see
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.draft import Draft, Installed
from ringfence.dsl.headers import headers
from ringfence.dsl.layers import Gathered, Shelf, gather
from ringfence.dsl.names import declare
from ringfence.dsl.plan import Plan, TextFile
from ringfence.dsl.resolve import cover, resolve
from ringfence.dsl.shelves import Disk, Read, Reading, Recorded
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import PolicyTest

if TYPE_CHECKING:
    from ringfence.dsl.live.tools import LiveTool

Stage = Callable[[Draft], None]
"""Reads and fills in the draft, and reports; it never raises for a wrong policy."""

Live = Mapping[str, "LiveTool"]
"""Real tools by their names in the framework."""


def _against_live(draft: Draft) -> None:
    if draft.live is not None:
        from ringfence.dsl.checks.live import check_live  # nobody has shown any, most often

        check_live(draft)


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
    tests.check_tests,
    warnings.check_each_tool,
    warnings.check_whole_policy,
    asks.check_asks,
    leaks.check_leaks,
    edges.check_edges,
    _against_live,
)
"""What is judged of the policy under all its ceilings."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The plan, unless the text has an error; and all that was found, sorted by place."""

    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...]
    source: Source
    """The texts, in which spans have their places."""
    tests: tuple[PolicyTest, ...] = ()
    """The test blocks of the file itself: not those of the files that it uses."""

    @property
    def valid(self) -> bool:
        """True if there is no error; a ceiling alone is valid and has no plan."""
        return not any(report.is_error for report in self.diagnostics)


def load(
    path: str | Path,
    *,
    ceilings: Sequence[str | Path] = (),
    installed: Installed | None = None,
    live: Live | None = None,
) -> Loaded:
    """Load a policy file, what it uses, and the ceilings over it.

    Args:
        ceilings: The files that the host pins.
        installed: Says whether a plugin, or a redactor of one, is there; None: nobody knows.
        live: The real tools, which the policy is then compared with; None: nobody has shown them.
    Raises:
        OSError: the policy or a pinned ceiling cannot be read.  What the text itself names and cannot be
            read is a diagnostic.
    """
    shelf = Disk()
    return _load(str(path), shelf.text(str(path)), shelf, ceilings, installed, live)


def load_text(
    text: str,
    name: str = "policy.fence",
    *,
    ceilings: Sequence[str | Path] = (),
    read: Read | None = None,
    installed: Installed | None = None,
    live: Live | None = None,
) -> Loaded:
    """Load a policy from its text; `name` is what diagnostics call it.

    Args:
        ceilings: Names of the ceilings that the host pins, found by `read` as well.
        installed: As for `load`.
        live: As for `load`.
        read: Gives the text of each file that is named, by a path beside `name`.
    Raises:
        OSError, LookupError: a pinned ceiling cannot be read.
    """
    return _load(name, text, Reading(read), ceilings, installed, live)


def load_files(files: Sequence[TextFile]) -> Loaded:
    """Make a plan again from `Plan.files`, the policy first; nothing is read from disk."""
    policy, *others = files
    ceilings = [file.name for file in others if file.role == "ceiling"]
    return _load(policy.name, policy.text, Recorded(files), ceilings)


def _load(
    name: str,
    text: str,
    shelf: Shelf,
    ceilings: Sequence[str | Path],
    installed: Installed | None = None,
    live: Live | None = None,
) -> Loaded:
    with _collector_paused():
        return load_gathered(gather(name, text, shelf, [str(path) for path in ceilings]), installed, live)


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


def load_gathered(gathered: Gathered, installed: Installed | None = None, live: Live | None = None) -> Loaded:
    """Load a parsed policy under the ceilings over it."""
    policy, *ceilings = (
        Draft(layer.document, list(layer.found), installed=installed, live=live)
        for layer in (gathered.policy, *gathered.ceilings)
    )
    return load_drafts(policy, ceilings, gathered.files)


def load_drafts(policy: Draft, ceilings: Sequence[Draft], files: tuple[TextFile, ...]) -> Loaded:
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
    found = {(report.span, report.code, report.message): report for layer in layers for report in layer.found}
    diagnostics = tuple(found[key] for key in sorted(found))
    document, plan = policy.document, None
    alone = policy.header is None or policy.header.is_ceiling
    if not alone and not any(report.is_error for report in diagnostics):
        plan = replace(compile_policy(policy, files), text=files[0].text)
    own = tuple(
        node
        for node in document.declarations
        if isinstance(node, PolicyTest) and document.file.start <= node.span.start < document.file.end
    )
    return Loaded(plan, diagnostics, document.source, own)
