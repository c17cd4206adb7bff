"""Denials that the absence of a store caused: recorded like any other, and not held against the run.

A run that did nothing wrong is not halted for them.  Nothing starts meanwhile, so they give no room to probe:
a call that would be denied all the same counts as ever.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from ringfence.dsl.plan import Json, Reason

LOG_AWAY: Final = "the audit log's store is away"
LEDGER_AWAY: Final = "the ledger's store is away"
PRESENCE: Final = "presence: "
"""Begins to say why this process counts as gone."""

_DENYING: Final = frozenset({"deny", "unknown", "halt"})


def by_outage_alone(reasons: Iterable[Reason]) -> bool:
    """Say whether a call is denied for nothing but that a store is away."""
    return _alone((one.name, one.effect, one.detail) for one in reasons)


def recorded_by_outage_alone(reasons: Iterable[Mapping[str, Json]]) -> bool:
    """Say so of the reasons as they are recorded."""
    return _alone((one["name"], one["effect"], one["detail"]) for one in reasons)


def _alone(reasons: Iterable[tuple[Json, Json, Json]]) -> bool:
    found = False
    for name, effect, detail in reasons:
        if name == "engine!error":
            if not _is_outage(detail):
                return False
            found = True
        elif effect in _DENYING and not str(name).endswith("!error"):  # undecided: nobody could be asked
            return False
    return found


def _is_outage(detail: Json) -> bool:
    return isinstance(detail, str) and (detail in (LOG_AWAY, LEDGER_AWAY) or detail.startswith(PRESENCE))
