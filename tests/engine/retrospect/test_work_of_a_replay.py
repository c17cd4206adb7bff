"""How much work it is to read a run and to decide it again, counted in calls of Python functions.

The ceilings stand about a tenth above what is counted today.
"""

from collections.abc import Callable

from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.replay import replay
from tests.logs import Recorder
from tests.plans import parameter, plan, tool
from tests.test_work import counted

PLAN = plan(tool("t", takes=[parameter("x", kind="integer")]))
MOST_TO_READ_AN_EVENT = 6
MOST_TO_DECIDE_A_CALL_AGAIN = 54


def run_of(calls: int) -> Recorder:
    run = Recorder(PLAN)
    for number in range(calls):
        run.call(f"k{number}.0", {"x": number})
    return run


def work(do: Callable[[], object]) -> int:
    with counted() as count:
        do()
    return count.calls


def test_an_event_is_read_with_few_functions() -> None:
    few, many = run_of(10).entries(), run_of(110).entries()
    more = work(lambda: RunRecord.read(many)) - work(lambda: RunRecord.read(few))
    assert more <= MOST_TO_READ_AN_EVENT * (len(many) - len(few))


def test_a_call_is_decided_again_with_few_functions() -> None:
    few, many = (RunRecord.read(run_of(calls).entries()) for calls in (10, 110))
    replay(few, PLAN)
    more = work(lambda: replay(many, PLAN)) - work(lambda: replay(few, PLAN))
    assert more <= MOST_TO_DECIDE_A_CALL_AGAIN * 100
