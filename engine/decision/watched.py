"""A condition that is watched: it answers as its clause's own does, and says what that is.

Some of the decision asks whether a clause has a condition at all, which whoever watches must not change.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ringfence.dsl.plan import Condition, Scope, Truth


@dataclass(frozen=True, slots=True)
class Watched:
    """The condition of a clause, with somebody who is told each answer."""

    own: Condition | None
    """None: the clause always holds."""
    told: Callable[[Truth], None]

    def __call__(self, scope: Scope) -> Truth:
        """Answer as the clause's own condition does."""
        truth = True if self.own is None else self.own(scope)
        self.told(truth)
        return truth


def is_unconditional(condition: Condition | None) -> bool:
    """Say whether a clause with this condition, watched or not, always holds."""
    return condition is None or (isinstance(condition, Watched) and condition.own is None)
