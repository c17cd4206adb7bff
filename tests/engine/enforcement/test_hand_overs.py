"""How often the engine's loop is asked for a run and for a call, counted: no clock is asked.

Each hand-over takes the interpreter from whoever makes it, and each round of the loop costs a look at the
system.  The ceilings stand about a tenth above what is counted today; of several times the least counts, for
what else a guard does now and then (its heart, its look for orders) falls into some of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import PendingError
from tests.guards import ALICE, make_guard
from tests.loops import CountingLoop, Counts, counting
from tests.test_work import counted

POLICY = """
language 1
policy work
capability work is read
agent main { holds work stop after 10 hours }
tool look { needs work takes what: text allow when what != "secret" }
approver lead { group "leads" answer within 1 hour otherwise deny }
tool asked { needs work takes what: text allow always ask lead }
tool rated { needs work takes what: text allow when what != "secret" rate 1000000 per hour }
"""
TIMES = 25
WITHIN_S = 30
MOST_OF_A_RUN = 780
"""Python functions that a run which begins and ends calls in its own thread."""


class Desk:
    """A guard over SQLite, in which one run goes on."""

    def __init__(self, folder: Path) -> None:
        self.guard: Guard = make_guard(POLICY, store=f"sqlite:///{folder}/work.db", approvals={"default": []})
        self.loop: CountingLoop = counting(self.guard)
        self.run = self.guard.begin_run(principal=ALICE)
        self._numbers = count()

    def least(self, work: Callable[[], object]) -> Counts:
        """Return the least that one `work` asks of the loop."""
        work()
        found = []
        for _ in range(TIMES):
            self.guard.opening.ready.journal.flush().result(WITHIN_S)  # what an earlier one has left
            before = replace(self.loop.counts)
            work()
            found.append(self.loop.counts - before)
        return min(found, key=lambda counts: counts.callbacks)

    def live(self, **about: str) -> None:
        """Begin and end a run."""
        self.guard.end_run(self.guard.begin_run(principal=ALICE, **about))  # type: ignore[arg-type]

    def call(self, tool: str) -> None:
        """Make a call of the run."""
        made = ToolCall(tool, {"what": "x"}, call_id=f"c{next(self._numbers)}")
        assert self.guard.execute(self.run, made, lambda _: "ran") == "ran"

    def asked(self) -> None:
        """Make a call that a person approves."""
        made = ToolCall("asked", {"what": "x"}, call_id=f"c{next(self._numbers)}")
        with pytest.raises(PendingError) as pending:
            self.guard.execute(self.run, made, lambda _: "ran", wait=False)
        self.guard.approve(pending.value.tickets[0], by="dana")
        assert self.guard.execute(self.run, made, lambda _: "ran") == "ran"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.guard.close()


def test_a_run_begins_and_ends_with_few_hand_overs(desk: Desk) -> None:
    counts = desk.least(desk.live)
    assert counts.submits <= 2, "one looks up all that it must know, one gives the session back"
    assert counts.wakes <= 5 and counts.answers <= 6
    assert counts.rounds <= 29 and counts.callbacks <= 39


def test_a_run_in_a_session_with_others_before_it_does_so_too(desk: Desk) -> None:
    early = desk.least(lambda: desk.live(session="s"))
    for _ in range(40):
        desk.live(session="s")
    late = desk.least(lambda: desk.live(session="s"))
    for counts in (early, late):
        assert counts.submits <= 3
    assert early.callbacks <= 42, "the session's last runs are read with the rest"


def test_runs_that_follow_each_other_do_not_stir_the_heart(desk: Desk) -> None:
    desk.guard.end_run(desk.run)
    counts = desk.least(desk.live)
    assert counts.wakes <= 5 and counts.callbacks <= 39


def test_a_call_without_a_wider_budget_waits_for_nobody(desk: Desk) -> None:
    counts = desk.least(lambda: desk.call("look"))
    assert counts.submits == 0 and counts.wakes <= 1


def test_a_call_with_a_rate_asks_the_ledger_beside_the_loop(desk: Desk) -> None:
    counts = desk.least(lambda: desk.call("rated"))
    assert counts.submits == 0 and counts.wakes <= 1
    assert counts.rounds <= 3 and counts.callbacks <= 4


def test_a_call_that_people_are_asked_about_hands_over_few_times(desk: Desk) -> None:
    counts = desk.least(desk.asked)
    # Put, and read when it is made again; for the answer found and taken; used up.
    assert counts.submits == 5 and counts.wakes <= 11


def test_the_loop_counts(desk: Desk) -> None:
    async def nothing() -> None:
        pass

    counts = desk.least(lambda: desk.guard.opening.loop.submit(nothing()).result())
    assert (counts.submits, counts.wakes) == (1, 1) and 1 <= counts.rounds <= counts.callbacks <= 4


def test_a_run_is_as_much_work_among_many_tools(tmp_path: Path) -> None:
    found = []
    for tools in (10, 1_000):
        more = "".join(f"tool t{n} {{ needs work allow always }}\n" for n in range(tools))
        guard = make_guard(POLICY + more)
        for _ in range(3):  # what is read once is read by now
            guard.end_run(guard.begin_run(principal=ALICE))
        least = []
        for _ in range(TIMES):
            with counted() as count:
                guard.end_run(guard.begin_run(principal=ALICE))
            least.append(count.calls)
        found.append(min(least))
        guard.close()
    few, many = found
    assert few <= MOST_OF_A_RUN and many <= few + 12
