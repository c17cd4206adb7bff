"""Who is asked about a call, whom they pass the question on to, and for how long that may take."""

from collections.abc import Iterable
from typing import Final

from ringfence.dsl.plan import Plan

DISPATCHED_WITHIN_NS: Final = 60 * 10**9
"""How long it may take from an allow to its dispatch."""


def chain(plan: Plan, approver: str) -> list[str]:
    """Return the approver and those it passes the question on to, in order."""
    names: list[str] = []
    following: str | None = approver
    while following is not None and following not in names and following in plan.approvers:
        names.append(following)
        following = plan.approvers[following].otherwise_ask
    return names


def lease_ns(plan: Plan, asks: Iterable[str]) -> int | None:
    """Return how long a call may hold what it has reserved: until the last of those it asks has let its time
    pass, and it was dispatched.  None: one of them may answer whenever it likes.
    """
    longest_ns = 0
    for approver in asks:  # they are asked at once
        answered_ns = 0
        for name in chain(plan, approver):
            within_ns = plan.approvers[name].within_ns
            if within_ns is None:
                return None
            answered_ns += within_ns
        longest_ns = max(longest_ns, answered_ns)
    return longest_ns + DISPATCHED_WITHIN_NS
