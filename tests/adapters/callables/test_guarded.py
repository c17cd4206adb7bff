"""Plain functions as tools."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ringfence.adapters.callables import guarded
from ringfence.engine.decision.events import CallRequested
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError
from tests.guards import ALICE, kinds_of, make_guard


def calls(guard: Guard, run: str) -> list[CallRequested]:
    """Return the calls of a run."""
    events = [stamped.event for stamped in guard.runs.get(run).events]
    return [event for event in events if isinstance(event, CallRequested)]


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


# ---- what else can be called ---------------------------------------------------------------------


def test_what_a_partial_holds_is_decided_with_the_rest(guard: Guard) -> None:
    seen: list[str] = []

    def look(what: str, how: str = "closely", /) -> str:
        seen.append(f"{what} {how}")
        return seen[-1]

    def ask(*, what: str) -> str:
        return look(what)

    half = functools.partial(look, "secret")
    made = guarded(guard)(half)
    named = guarded(guard, name="look")(functools.partial(ask, what="secret"))
    with guard.run(principal=ALICE, agent="main"):
        with pytest.raises(DeniedError):
            made()
        with pytest.raises(DeniedError):
            made("at length")
        with pytest.raises(DeniedError):
            named()
        assert named(what="x") == "x closely"
        assert guarded(guard)(functools.partial(functools.partial(look, "y"), "twice"))() == "y twice"
    assert seen == ["x closely", "y twice"]
    assert str(inspect.signature(made)) == "(how: str = 'closely', /) -> str"


async def test_a_partial_of_a_coroutine_function_is_awaited(guard: Guard) -> None:
    async def look(what: str) -> str:
        return f"saw {what}"

    made = guarded(guard)(functools.partial(look, what="x"))
    async with guard.run(principal=ALICE, agent="main"):
        assert await made() == "saw x"


class Shelf:
    """Things to look at."""

    def __init__(self, guard: Guard, item: str) -> None:
        self.item = item
        self.bound = guarded(guard)(self.look)

    def look(self, what: str) -> str:
        return f"saw {what} beside {self.item}"

    @classmethod
    def free(cls) -> str:
        return cls.__name__

    def __call__(self, what: str) -> str:
        return f"called for {what} with {self.item}"


class AsyncShelf:
    """The same, awaited."""

    async def __call__(self, what: str) -> str:
        return f"saw {what}"


def test_bound_methods_and_classmethods_keep_what_they_are_bound_to(guard: Guard) -> None:
    shelf = Shelf(guard, "a lamp")
    with guard.run(principal=ALICE, agent="main") as run:
        assert shelf.bound("x") == "saw x beside a lamp"
        with pytest.raises(DeniedError):
            shelf.bound(what="secret")
        assert guarded(guard)(Shelf.free)() == "Shelf"
        assert guarded(guard)(shelf.free)() == "Shelf"
    assert [one.tool for one in calls(guard, run.id)] == ["look", "look", "free", "free"]


async def test_an_object_that_can_be_called_is_called_as_its_class(guard: Guard) -> None:
    shelf = Shelf(guard, "a lamp")
    look = guarded(guard, name="look")(shelf)
    awaited = guarded(guard, name="look")(AsyncShelf())
    async with guard.run(principal=ALICE, agent="main") as run:
        assert look("x") == "called for x with a lamp"
        assert await awaited("x") == "saw x"
        with pytest.raises(DeniedError):
            await awaited("secret")
        with pytest.raises(DeniedError) as caught:
            guarded(guard)(shelf)("x")
    assert caught.value.model_text == "tool not found"
    assert [one.tool for one in calls(guard, run.id)] == ["look", "look", "look", "Shelf"]
    assert not hasattr(look, "item"), "what the object holds is not copied"


def test_in_the_body_of_a_class_the_object_is_no_argument(guard: Guard) -> None:
    class Desk:
        item = "a lamp"

        @guarded(guard)
        def look(self, what: str, how: str = "closely") -> str:
            return f"saw {what} beside {self.item} {how}"

        @classmethod
        @guarded(guard)
        def free(cls) -> str:
            return cls.item

        @staticmethod
        @guarded(guard, name="mine")
        def own(what: str) -> str:
            return what

    desk = Desk()
    with guard.run(principal=ALICE, agent="main") as run:
        assert desk.look("x", how="twice") == "saw x beside a lamp twice"
        with pytest.raises(DeniedError):
            desk.look("secret")
        assert Desk.free() == desk.free() == "a lamp"
        assert Desk.own("alice") == desk.own("alice") == "alice"
        unbound: Callable[..., Any] = Desk.look
        with pytest.raises(TypeError, match="on an object"):
            unbound(self=desk, what="x")
    assert [one.arguments for one in calls(guard, run.id)][:2] == [
        {"what": "x", "how": "twice"},
        {"what": "secret", "how": "closely"},
    ]


def test_a_function_outside_of_a_class_has_no_receiver(guard: Guard) -> None:
    @guarded(guard)
    def look(self: str, what: str = "x") -> str:
        raise AssertionError("`self` is an argument here, and the policy takes none of that name")

    with guard.run(principal=ALICE, agent="main") as run, pytest.raises(AssertionError):
        look("lamp")
    assert calls(guard, run.id)[0].arguments == {"self": "lamp", "what": "x"}


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_the_guard_stands_below_what_makes_a_method(guard: Guard, kind: Any) -> None:
    with pytest.raises(TypeError, match=f"@{kind.__name__}. above"):
        guarded(guard)(kind(lambda what: what))


def test_one_name_for_two_values_is_refused(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str, /, **more: str) -> str:
        raise AssertionError

    with guard.run(principal=ALICE, agent="main"), pytest.raises(TypeError, match="two values for `what`"):
        look("x", **{"what": "secret"})


def test_what_is_guarded_is_not_guarded_again(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str) -> str:
        return what

    for again in (look, functools.partial(look, "x")):
        with pytest.raises(ValueError, match="guarded already"):
            guarded(guard)(again)


def test_what_says_nothing_of_its_arguments_is_refused(guard: Guard) -> None:
    with pytest.raises(TypeError, match="no signature"):
        guarded(guard)(max)


def test_calls_inside_a_body_are_calls_of_the_same_run(guard: Guard) -> None:
    @guarded(guard)
    def look(what: str) -> str:
        return what

    @guarded(guard)
    def free() -> str:
        assert look("x") == "x"
        with pytest.raises(DeniedError):
            look("secret")
        return "done"

    with guard.run(principal=ALICE, agent="main") as run:
        assert free() == "done"
    requested = calls(guard, run.id)
    assert [one.tool for one in requested] == ["free", "look", "look"]
    assert [one.parent for one in requested] == [None, requested[0].call, requested[0].call]


def test_a_guard_of_another_policy_cannot_take_part_in_a_run(guard: Guard) -> None:
    other = make_guard()

    @guarded(other)
    def look(what: str) -> str:
        raise AssertionError

    with guard.run(principal=ALICE, agent="main"), pytest.raises(EngineError):
        look("x")
    other.close()


def test_a_function_that_the_policy_does_not_declare_is_named_where_it_is_decorated(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    @guarded(guard, name="burn_down")
    def burn() -> None:
        raise AssertionError("it ran")

    said = capsys.readouterr().err
    assert "declares no tool `burn_down`" in said and "init --tools python:MODULE:NAMES" in said
    with guard.run(principal=ALICE, agent="main"), pytest.raises(DeniedError):
        burn()
