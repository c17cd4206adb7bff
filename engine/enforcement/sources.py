"""Where the arguments of a call were found, in words for the people who are asked about it."""

from collections.abc import Mapping
from typing import Final

from ringfence.dsl.plan import Origin
from ringfence.engine.enforcement.runs import Held, Run

_SHOWN_AT_MOST: Final = 8
_LONGEST: Final = 100


def sources_of(run: Run, held: Held) -> Mapping[str, tuple[str, ...]]:
    """Return each argument's sources; nothing where the policy keeps no provenance."""
    recall = run.state.recall
    if recall.traces is None:
        return {}
    known = run.state.calls.get(held.key)
    edited = frozenset() if known is None else known.edited
    found = {}
    for name, value in held.decision.arguments.items():
        names = ["approver"] if name in edited else [_said(one) for one in recall.sources_of(value)]
        # Fields are named by whoever wrote the result: short, and not without end.
        more = ["…"] if len(names) > _SHOWN_AT_MOST else []
        found[run.hide(name)] = (*map(run.hide, names[:_SHOWN_AT_MOST]), *more)
    return found


def _said(origin: Origin) -> str:
    """Return a source as a policy writes it."""
    if origin.tool is None:
        return origin.kind
    return ".".join([origin.tool, *origin.path])[:_LONGEST]
