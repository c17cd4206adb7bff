from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.decision.budgets import Window

steps = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.booleans()), max_size=60)


@given(steps, st.integers(1, 5), st.integers(1, 9))
def test_no_window_of_the_period_ever_holds_more_than_the_limit(
    taken: list[tuple[int, int, bool]], limit: int, period_ns: int
) -> None:
    window, now_ns = Window(), 0
    dispatched: list[tuple[int, int]] = []
    held: list[int] = []
    for wait_ns, amount, at_once in taken:
        now_ns += wait_ns
        if window.has_room(amount, limit, period_ns, now_ns=now_ns):
            window.hold(amount, period_ns, now_ns=now_ns)
            held.append(amount)
        if held and at_once:
            units = held.pop()
            window.stamp(units, period_ns, at_ns=now_ns)
            dispatched.append((now_ns, units))
        assert len(window.taken) <= limit
    for start_ns, _ in dispatched:
        inside = sum(units for at_ns, units in dispatched if start_ns <= at_ns < start_ns + period_ns)
        assert inside <= limit


@given(steps, st.integers(1, 5), st.integers(1, 9))
def test_room_is_there_exactly_when_it_was_promised(
    taken: list[tuple[int, int, bool]], limit: int, period_ns: int
) -> None:
    window, now_ns = Window(), 0
    for wait_ns, amount, _ in taken:
        now_ns += wait_ns
        if window.has_room(amount, limit, period_ns, now_ns=now_ns):
            window.hold(amount, period_ns, now_ns=now_ns)
            window.stamp(amount, period_ns, at_ns=now_ns)
            continue
        free_ns = window.free_ns(amount, limit, period_ns, now_ns=now_ns)
        if amount > limit:
            assert free_ns is None
            continue
        assert free_ns is not None and free_ns > 0
        assert not window.has_room(amount, limit, period_ns, now_ns=now_ns + free_ns - 1)
        assert window.has_room(amount, limit, period_ns, now_ns=now_ns + free_ns)


def filled(amount: int, *, at_ns: int, period_ns: int | None = 10) -> Window:
    window = Window()
    window.hold(amount, period_ns, now_ns=at_ns)
    window.stamp(amount, period_ns, at_ns=at_ns)
    return window


def test_a_window_is_half_open() -> None:
    window = filled(1, at_ns=100)
    assert not window.has_room(1, 1, 10, now_ns=109)
    assert window.has_room(1, 1, 10, now_ns=110)


def test_asking_for_room_changes_nothing() -> None:
    window = filled(2, at_ns=100)
    assert window.has_room(2, 2, 10, now_ns=10_000)
    assert window.total == 2
    assert not window.has_room(1, 2, 10, now_ns=105)


def test_what_is_held_counts_until_it_is_given_back_however_long() -> None:
    window = Window()
    window.hold(1, 10, now_ns=0)
    assert not window.has_room(1, 1, 10, now_ns=1_000_000)
    assert window.free_ns(1, 1, 10, now_ns=1_000_000) is None
    window.release(1)
    assert window.has_room(1, 1, 10, now_ns=1_000_000) and window.empty


def test_without_a_period_nothing_leaves() -> None:
    window = filled(3, at_ns=0, period_ns=None)
    assert not window.has_room(1, 3, None, now_ns=10**18)
    assert window.free_ns(1, 3, None, now_ns=10**18) is None
    assert not window.taken


def test_a_limit_of_nothing_and_a_negative_amount_never_fit() -> None:
    window = Window()
    assert not window.has_room(0, 0, 10, now_ns=0)
    assert not window.has_room(-1, 5, 10, now_ns=0)
    assert window.free_ns(-1, 5, 10, now_ns=0) is None


def test_a_clock_that_steps_back_frees_nothing_early() -> None:
    window = Window()
    for at_ns in (100, 50):
        window.hold(1, 10, now_ns=100)
        window.stamp(1, 10, at_ns=at_ns)
    assert list(window.taken) == [(100, 2)]
    assert not window.has_room(1, 2, 10, now_ns=109)
