"""Who a framework's invocation acts for, and in which run, is read in one way for all adapters."""

from types import SimpleNamespace

import pytest

from ringfence.engine.binding.around import principal_of, run_around
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.current import inside
from tests.guards import ALICE, make_guard

BOB = Principal(user="bob")


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (None, None),
        (ALICE, ALICE),
        ({"principal": ALICE}, ALICE),
        (SimpleNamespace(principal={"user": "bob", "shoes": 44}), BOB),
        ({"user": "bob", "shoes": 44}, BOB),
        ({"shoes": 44}, None),
        (SimpleNamespace(user="bob"), None),
        ({"principal": "eve", "user": "bob"}, None),
    ],
)
def test_a_principal_is_what_the_host_says_it_is_and_nothing_else(
    context: object, said: Principal | None
) -> None:
    assert principal_of(context, make_guard().plan) == said


def test_a_run_that_is_over_or_another_guards_is_around_nothing() -> None:
    guard, other = make_guard(), make_guard()
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    with inside(run):
        assert run_around(guard) is run
        assert run_around(other) is None
        guard.end_run(run)
        assert run_around(guard) is None
    assert run_around(guard) is None
    guard.close()
    other.close()
