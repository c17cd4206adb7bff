"""Plain functions as tools."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from ringfence.adapters.callables import guarded
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError
from tests.guards import ALICE, kinds_of, make_guard


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = make_guard()
    yield made
    made.close()


def test_a_function_is_decided_by_its_name_and_its_parameters(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str = "nothing") -> str:
        """Look something up."""
        return f"saw {what}"

    assert (look.__name__, look.__doc__) == ("look", "Look something up.")
    assert str(inspect.signature(look)) == "(what: str = 'nothing') -> str"
    with guard.run(principal=ALICE, agent="main") as run:
        assert look("x") == look(what="x") == "saw x"
        assert look() == "saw nothing"
        with pytest.raises(DeniedError) as caught:
            look("secret")
        assert caught.value.rule == "look.allow"
    assert kinds_of(guard, run).count("CallFinished") == 3


async def test_a_coroutine_function_stays_one(guard: Guard) -> None:
    @guarded(guard, name="look")
    async def anything(what: str) -> str:
        return f"saw {what}"

    assert inspect.iscoroutinefunction(anything)
    async with guard.run(principal=ALICE, agent="main"):
        assert await anything("x") == "saw x"
        with pytest.raises(DeniedError):
            await anything(what="secret")


def test_the_function_gets_the_canonical_arguments(guard: Guard) -> None:
    seen: list[Any] = []

    @guarded(guard)
    def mail(to: str, /) -> None:
        seen.append(to)

    with guard.run(principal=ALICE, agent="main"):
        mail("Ann@ACME.example")
    assert seen == ["Ann@acme.example"]


def test_keyword_arguments_are_decided_one_by_one(guard: Guard) -> None:
    @guarded(guard)
    def free(**anything: Any) -> Any:
        return anything

    @guarded(guard)
    def look(**anything: Any) -> Any:
        return anything

    with guard.run(principal=ALICE, agent="main"):
        assert free(a=1, b="x") == {"a": 1, "b": "x"}
        with pytest.raises(DeniedError):
            look(what="secret")


def test_wrong_arguments_are_a_type_error_as_always(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str) -> None:
        raise AssertionError

    with guard.run(principal=ALICE, agent="main"), pytest.raises(TypeError):
        look(where="x")  # type: ignore[call-arg]


def test_what_cannot_be_guarded_is_refused_at_once(guard: Guard) -> None:
    with pytest.raises(TypeError, match="generator"):

        @guarded(guard)
        def rows() -> Iterator[int]:
            yield 1

    with pytest.raises(TypeError, match=r"\*what"):

        @guarded(guard)
        def look(*what: str) -> None:
            raise AssertionError


def test_outside_of_any_run_nothing_is_called(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str) -> None:
        raise AssertionError

    with pytest.raises(EngineError, match="outside of any run"):
        look("x")
