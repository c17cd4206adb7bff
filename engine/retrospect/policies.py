"""The policies that runs began with, made again of their records and kept for the runs that follow."""

from functools import lru_cache

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.events import RunStarted
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.retrospect.replay import compiled

_POLICIES = 32
"""So many policies are kept compiled."""


def policy_of(begun: RunStarted) -> Plan | None:
    """Return the policy that a run began with; None: it does not load in this version."""
    return _policy(_Texts(begun))


class _Texts:
    """The beginning of a run, as nothing but the texts of its policy."""

    def __init__(self, begun: RunStarted) -> None:
        self.begun = begun

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Texts) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self.begun.policy_text)

    @property
    def _all(self) -> tuple[Json, ...]:
        return self.begun.policy_file, self.begun.policy_text, self.begun.files


@lru_cache(maxsize=_POLICIES)
def _policy(texts: _Texts) -> Plan | None:
    try:
        return compiled(texts.begun, "")
    except RecordError:  # recorded by another version: nothing is known of it
        return None
