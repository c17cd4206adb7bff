"""Refusals and failures take alike long: the policy's floor, then a whole number of its steps.

SECURITY: how long a refusal takes would tell the model which rule refused, and whether a thing is there.
What is allowed takes as long as it takes.
"""

from ringfence.dsl.plan import Responses
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import PendingError

Passthrough = tuple[type[BaseException], ...]


def reached(run: Run) -> int:
    """Return the moment at which a call reached the guard, on the monotonic clock; -1: nothing is padded."""
    responses = run.plan.responses
    if responses.floor_ns <= 0 and responses.step_ns <= 0:
        return -1
    return run.opening.clock.monotonic_ns()


def end_ns(responses: Responses, reached_ns: int, now_ns: int) -> int:
    """Return when a refusal that is ready `now_ns` may be told: not before the floor, and on a step."""
    floor_ns = reached_ns + max(responses.floor_ns, 0)
    if now_ns <= floor_ns:
        return floor_ns
    step_ns = max(responses.step_ns, 0)
    if not step_ns:
        return now_ns
    return floor_ns + -(-(now_ns - floor_ns) // step_ns) * step_ns


def hold(run: Run, reached_ns: int) -> None:
    """Wait until the refusal may be told."""
    if reached_ns >= 0:
        clock = run.opening.clock
        clock.sleep_until(end_ns(run.plan.responses, reached_ns, clock.monotonic_ns()))


async def ahold(run: Run, reached_ns: int) -> None:
    """Like `hold`."""
    if reached_ns >= 0:
        clock = run.opening.clock
        await clock.asleep_until(end_ns(run.plan.responses, reached_ns, clock.monotonic_ns()))


def told(error: Exception, passthrough: Passthrough) -> bool:
    """Say whether an error tells of a refusal or failure; a pause is neither."""
    return not isinstance(error, (PendingError, *passthrough))
