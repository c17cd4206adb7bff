from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.decision.budgets import Members, Window

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


touches = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.lists(st.sampled_from("abcd"), max_size=3),
        st.sampled_from(["hold", "stamp", "release", "give back"]),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(touches, st.integers(1, 3), st.sampled_from([None, 3, 9]))
def test_members_are_counted_as_by_one_who_scans_all_touches(
    steps: list[tuple[int, list[str], str, int]], limit: int, period_ns: int | None
) -> None:
    window, now_ns = Members(), 0
    uses: list[tuple[list[str], int | None]] = []

    def inside(at_ns: int | None) -> bool:
        return at_ns is None or period_ns is None or at_ns > now_ns - period_ns

    for wait_ns, members, act, which in steps:
        now_ns += wait_ns
        there = {member for touched, at_ns in uses for member in touched if inside(at_ns)}
        room = not members or len(there | set(members)) <= limit
        assert window.has_room(members, limit, period_ns, now_ns=now_ns) is room
        if room:
            window.hold(members, period_ns, now_ns=now_ns)
            uses.append((members, None))
        else:
            free_ns = window.free_ns(members, limit, period_ns, now_ns=now_ns)
            if free_ns is not None:
                assert free_ns > 0
                assert not window.has_room(members, limit, period_ns, now_ns=now_ns + free_ns - 1)
                assert window.has_room(members, limit, period_ns, now_ns=now_ns + free_ns)
        if not uses:
            continue
        touched, at_ns = uses.pop(which % len(uses))
        if act == "stamp" and at_ns is None:
            window.stamp(touched, period_ns, at_ns=now_ns)
            uses.append((touched, now_ns))
        elif act == "release" and at_ns is None:
            window.release(touched)
        elif act == "give back" and at_ns is not None:
            window.give_back(touched, period_ns, at_ns=at_ns)
        else:
            uses.append((touched, at_ns))
        assert window.empty or uses


def test_touching_a_member_again_takes_no_place_and_renews_its_time() -> None:
    window = Members()
    for at_ns in (0, 6):
        assert window.has_room(["a"], 1, 10, now_ns=at_ns)
        window.hold(["a"], 10, now_ns=at_ns)
        window.stamp(["a"], 10, at_ns=at_ns)
    assert not window.has_room(["b"], 1, 10, now_ns=15)
    assert window.free_ns(["b"], 1, 10, now_ns=15) == 1
    window.give_back(["a"], 10, at_ns=6)
    assert window.has_room(["b"], 1, 10, now_ns=10)


def test_units_given_back_after_their_dispatch_make_room_and_those_that_left_do_not() -> None:
    window = filled(2, at_ns=100)
    window.give_back(2, 10, at_ns=100)
    assert window.empty
    window = filled(2, at_ns=100)
    window.hold(1, 10, now_ns=200)
    window.stamp(1, 10, at_ns=200)
    window.give_back(2, 10, at_ns=100)
    assert window.total == 1
    window = filled(2, at_ns=100, period_ns=None)
    window.give_back(2, None, at_ns=100)
    assert window.empty
