"""What a session remembers beyond what the naive model shows: forks, joins, bounds, and what is not known."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from ringfence.dsl.plan import Condition, Happening, Origin, Plan, Scope, Truth, Watch
from ringfence.engine.decision.events import (
    CallDecided,
    CallFailed,
    CallFinished,
    CallRequested,
    CallStarted,
    PromptGiven,
    RunEnded,
    RunEvent,
    RunHalted,
    Stamped,
    SubrunJoined,
)
from ringfence.engine.decision.recall import moments, watches
from ringfence.engine.decision.recall.recall import Recall
from ringfence.engine.decision.state import State, apply, start
from tests.plans import SECOND_NS, T0, parameter, plan, run_started, tool
from tests.sessions import LEVELS, TOOLS, Maker

HOUR_NS = 3600 * SECOND_NS
X = parameter("x", kind="integer")


def happening(name: str, where: Condition | None = None) -> Happening:
    return Happening({name: where})


WATCHES = {
    "after": Watch("after", "after", (happening("read"),)),
    "lately": Watch("lately", "after", (happening("read"),), within_ns=10 * SECOND_NS),
    "here": Watch("here", "after", (happening("read"),), in_run=True),
    "secret": Watch("secret", "after", (Happening({}, 2),)),
    "again": Watch("again", "after", (Happening({}, 1),), within_ns=10 * SECOND_NS),
    "since": Watch("since", "since", (happening("read"), happening("send"))),
    "calls": Watch("calls", "calls", (happening("read"),)),
    "hourly": Watch("hourly", "calls", (happening("read"),), within_ns=HOUR_NS),
    "odd": Watch("odd", "calls", (happening("read", lambda scope: scope.arguments["x"] % 2 == 1),)),
    "order": Watch("order", "order", (happening("read"), happening("send")), same="y"),
}
OF = plan(
    *(tool(name, takes=[X, parameter("y", optional=True)]) for name in TOOLS),
    watches=WATCHES,
    levels=LEVELS,
    traces=True,
)


class Story:
    """One run, told event by event."""

    def __init__(self, of: Plan = OF, recall: Recall | None = None, at_ns: int = T0, name: str = "") -> None:
        began = run_started(of, at_ns=at_ns)
        if name:
            began = Stamped(1, at_ns, began.event.__class__(**{**_fields(began.event), "parent": "r1"}))
        self.state: State = start(of, began, recall)
        self.now_ns, self.seq, self.number = at_ns, 1, 0

    @property
    def recall(self) -> Recall:
        return self.state.recall

    def tell(self, event: RunEvent) -> None:
        self.seq += 1
        apply(self.state, Stamped(self.seq, self.now_ns, event))

    def asked(self, name: str, *, x: int = 0, y: str = "a", label: str | None = None, **more: Any) -> str:
        self.number += 1
        key = f"k{self.number}.0"
        self.tell(CallRequested(key, name, {"x": x, "y": y}, None, None, None, **more))
        self.tell(CallDecided(key, "allow", [], [], None, "", [], (), {}, label))
        return key

    def ran(self, name: str, result: Any = "done", **more: Any) -> None:
        key = self.asked(name, **more)
        self.tell(CallStarted(key))
        self.tell(CallFinished(key, result, None, 1))

    def after(self, watch: str) -> Truth:
        return self.recall.after(watch, now_ns=self.now_ns)

    def counted(self, watch: str) -> tuple[int, int | None]:
        return self.recall.counted(watch, now_ns=self.now_ns)


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


def test_a_call_in_flight_or_failed_leaves_after_undecided_and_a_denied_one_does_not() -> None:
    story = Story()
    key = story.asked("read")
    assert story.after("after") is None
    story.tell(CallStarted(key))
    story.tell(CallFailed(key, "raised", "ValueError", 1))
    assert story.after("after") is None
    denied = Story()
    denied.tell(CallRequested("k1.0", "read", {"x": 0}, None, None, None))
    denied.tell(CallDecided("k1.0", "deny", [], [], None, "", [], (), {}))
    assert denied.after("after") is False


def test_an_extent_is_half_open() -> None:
    story = Story()
    story.ran("read")
    story.now_ns += 10 * SECOND_NS - 1
    assert story.after("lately") is True
    story.now_ns += 1
    assert story.after("lately") is False


def test_a_message_whose_origin_nobody_said_is_of_the_highest_level_and_matches_no_source() -> None:
    story = Story()
    story.tell(PromptGiven("user", "hello"))
    story.tell(PromptGiven("host", "alpha"))
    assert story.after("secret") is True and story.recall.carries(2) is True
    assert story.recall.comes_from("alpha", Origin("user")) is False
    assert story.recall.comes_from("hello", Origin("user")) is True


def test_a_result_without_a_level_carries_the_sessions_at_its_dispatch() -> None:
    story = Story()
    key = story.asked("note")
    story.tell(CallStarted(key))
    story.ran("read", label="mid")
    story.now_ns += 20 * SECOND_NS
    assert story.after("again") is False
    story.tell(CallFinished(key, "old", None, 1))  # dispatched while the session was low
    assert story.after("again") is False
    story.ran("note")
    assert story.after("again") is True and story.recall.label == 1


def test_a_failed_read_shows_nothing_and_one_in_flight_may() -> None:
    story = Story()
    key = story.asked("read", label="high")
    assert story.after("secret") is None and story.recall.carries(2) is False
    story.tell(CallStarted(key))
    story.tell(CallFailed(key, "raised", "ValueError", 1))
    assert story.after("secret") is False and story.recall.carries(2) is False


def test_a_result_that_was_in_flight_when_its_run_died_may_have_been_read() -> None:
    story = Story()
    story.tell(PromptGiven("user", "hello"))
    key = story.asked("read", label="high")
    story.tell(CallStarted(key))
    story.tell(RunHalted("unclean end", None, "the process that ran it is gone"))
    story.tell(RunEnded("halted", "the process that ran it is gone"))
    later = Story(recall=story.recall.fork(child=True)).recall
    assert later.carries(2) is True
    assert later.after("secret", now_ns=story.now_ns) is None
    assert later.comes_from("x", Origin("tool", "read")) is None
    assert later.comes_from("x", Origin("tool", "read", only=True)) is None
    assert later.comes_from("x", Origin("model")) is None


def test_arguments_that_are_withheld_may_be_any() -> None:
    story = Story()
    story.ran("read", x=1, withheld="keyed")
    assert story.counted("odd") == (0, 1)
    assert story.counted("calls") == (1, 1)
    story.ran("send", y="b", withheld="keyed")
    assert story.recall.ordered("order", "b") is None
    assert story.recall.comes_from("done", Origin("tool", "read")) is None


def test_more_times_than_are_kept_leave_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MOST_TIMES", 3)
    story = Story()
    for _ in range(5):
        story.now_ns += SECOND_NS
        story.ran("read")
    assert story.counted("hourly") == (3, None)
    story.now_ns += HOUR_NS - 3 * SECOND_NS
    assert story.counted("hourly") == (3, 3)  # what was given up has left by now


def test_of_more_values_than_are_kept_the_oldest_is_not_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MOST_VALUES", 2)
    story = Story()
    for value in ("a", "b", "c"):
        story.ran("read", y=value)
        story.ran("send", y=value)
    assert [story.recall.ordered("order", value) for value in "abc"] == [False, True, True]


def test_what_ended_unseen_leaves_everything_undecided() -> None:
    story = Story()
    story.tell(CallFinished("k9.0", "who knows", None, 1))
    assert story.recall.unknown
    assert story.after("after") is None and story.counted("calls") == (0, None)
    assert story.recall.carries(0) is None and story.recall.ordered("order", "a") is None
    assert story.recall.comes_from("alpha", Origin("user")) is None


def test_within_this_run_is_forgotten_in_the_next_and_the_session_is_not() -> None:
    first = Story()
    first.ran("read")
    second = Story(recall=first.recall.fork(child=False))
    assert second.after("here") is False and second.after("after") is True
    assert first.after("here") is True


def sub_run(parent: Story) -> Story:
    return Story(recall=parent.recall.fork(child=True), at_ns=parent.now_ns, name="child")


def join(parent: Story, child: Story) -> None:
    parent.state.joining["r2"] = child.recall
    parent.tell(SubrunJoined("r2", None, child.seq))


def test_a_sub_run_begins_with_what_its_parent_remembers_and_gives_it_back() -> None:
    parent = Story()
    parent.ran("read", "see alpha", label="mid")
    child = sub_run(parent)
    assert child.recall.label == 1 and child.after("here") is True
    child.ran("read", "and beta", label="high")
    assert parent.recall.label == 1 and parent.counted("calls") == (1, 1)
    join(parent, child)
    assert parent.recall.label == 2 and parent.counted("calls") == (2, 2)
    assert parent.after("secret") is True
    assert parent.recall.comes_from("beta", Origin("tool", "read")) is True


def test_a_sub_run_that_cannot_be_found_leaves_everything_undecided() -> None:
    parent = Story()
    parent.tell(SubrunJoined("r2", None, 7))
    assert parent.recall.unknown


def test_the_order_of_what_parent_and_sub_run_did_meanwhile_is_not_known() -> None:
    parent = Story()
    child = sub_run(parent)
    child.ran("send")
    parent.ran("read")
    join(parent, child)
    assert parent.after("since") is None
    assert parent.recall.ordered("order", "a") is not True
    parent.ran("read")
    assert parent.after("since") is True


def test_a_sub_run_whose_parent_waited_stands_in_order() -> None:
    parent = Story()
    parent.ran("read")
    child = sub_run(parent)
    child.ran("send")
    join(parent, child)
    assert parent.after("since") is False
    assert parent.recall.ordered("order", "a") is True


@pytest.mark.parametrize("seed", range(60))
def test_a_sub_run_whose_parent_waited_leaves_what_the_same_calls_in_the_parent_would(seed: int) -> None:
    random = Random(seed)
    of = Maker(random).plan()

    def acts() -> list[Callable[[Story], None]]:
        made: list[Callable[[Story], None]] = []
        for _ in range(random.randint(1, 6)):
            name, x, y = random.choice(TOOLS), random.randint(0, 5), random.choice("ab")
            label, fails, later = random.choice([None, *LEVELS]), random.random() < 0.2, random.choice([0, 1])

            def act(
                story: Story, name: str = name, x: int = x, y: str = y, label: str | None = label,
                fails: bool = fails, later: int = later,
            ) -> None:  # fmt: skip
                story.now_ns += later * SECOND_NS
                key = story.asked(name, x=x, y=y, label=label)
                story.tell(CallStarted(key))
                story.tell(CallFailed(key, "raised", "", 1) if fails else CallFinished(key, y, None, 1))

            made.append(act)
        return made

    before, inside, behind = acts(), acts(), acts()
    whole, parent = Story(of), Story(of)
    for act in (*before, *inside, *behind):
        act(whole)
    for act in before:
        act(parent)
    child = sub_run_of(of, parent)
    for act in inside:
        act(child)
    parent.now_ns = child.now_ns
    join(parent, child)
    for act in behind:
        act(parent)
    assert parent.recall.label == whole.recall.label
    for key, watch in of.watches.items():
        if watch.kind == "calls":
            assert parent.counted(key) == whole.counted(key)
        elif watch.kind == "order":
            for value in "ab":
                assert parent.recall.ordered(key, value) is whole.recall.ordered(key, value)
        else:
            assert parent.after(key) is whole.after(key)


def sub_run_of(of: Plan, parent: Story) -> Story:
    return Story(of, recall=parent.recall.fork(child=True), at_ns=parent.now_ns, name="child")


def test_a_plan_that_asks_nothing_remembers_nothing() -> None:
    story = Story(plan(*(tool(name, takes=None) for name in TOOLS)))
    story.ran("read")
    assert not story.recall.active and story.recall.position == 0


def test_a_where_that_breaks_may_have_held() -> None:
    def broken(scope: Scope) -> Truth:
        raise RuntimeError

    watch = Watch("odd", "calls", (happening("read", broken),))
    story = Story(plan(tool("read", takes=None), watches={"odd": watch}))
    story.ran("read")
    assert story.counted("odd") == (0, 1)
