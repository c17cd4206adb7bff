"""Ways around the guard of a plain function: none of them runs what was not decided."""

import asyncio
import contextvars
import functools
import inspect
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import pytest

from ringfence.adapters.callables import guarded
from ringfence.engine.decision.events import CallRequested
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError
from tests.guards import ALICE, kinds_of, make_guard

POLICY = """
language 1
policy post
capability send is external
agent main { holds send  stop after 5 minutes }
tool mail {
  needs send
  takes to: text, copy: text optional
  allow when to in ["bob", "carol"] and (copy is missing or copy in ["bob", "carol"])
  rate 3 per run
}
tool spread { needs send  takes to: list of text  allow always }
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = make_guard(POLICY)
    yield made
    made.close()


class Later:
    """A type that string annotations name."""


def module_mail(to: "str", later: "Later | None" = None) -> str:
    """Mail something."""
    return to


# ---- values that nobody has decided ----------------------------------------------------------------


def _plain(to: str, copy: str | None = "eve") -> Any:
    return copy


def _positional(to: str, copy: str | None = "eve", /) -> Any:
    return copy


def _named(*, to: str, copy: str | None = "eve") -> Any:
    return copy


def _required(to: str, copy: str | None, /) -> Any:
    return copy


@pytest.mark.parametrize("function", [_plain, _positional, _required])
def test_none_does_not_become_a_default_that_nobody_has_decided(
    guard: Guard, function: Callable[..., Any]
) -> None:
    mail = guarded(guard, name="mail")(function)
    with guard.run(principal=ALICE, agent="main"):
        assert mail("bob", None) is None, "it was decided as missing"
        assert mail("bob", "carol") == "carol"
        if function is not _required:
            with pytest.raises(DeniedError):
                mail("bob")


async def test_nor_in_a_coroutine_function_and_by_name(guard: Guard) -> None:
    async def mail(to: str, copy: str | None = "eve") -> Any:
        return copy

    awaited, named = guarded(guard)(mail), guarded(guard, name="mail")(_named)
    held = guarded(guard, name="mail")(functools.partial(_named, copy=None))
    async with guard.run(principal=ALICE, agent="main"):
        assert await awaited("bob", copy=None) is None
        assert named(to="bob", copy=None) is None
        assert held(to="carol") is None


def test_a_default_that_can_change_is_decided_as_it_is_and_not_handed_over_itself(guard: Guard) -> None:
    names: list[str] = ["bob"]

    def spread(to: list[str] = names) -> list[str]:
        to.append("eve")
        return to

    made = guarded(guard)(spread)
    with guard.run(principal=ALICE, agent="main") as run:
        assert made() == ["bob", "eve"] and names == ["bob"]
        names.append("carol")
        assert made() == ["bob", "carol", "eve"]
    requested = [one.event for one in guard.runs.get(run.id).events if isinstance(one.event, CallRequested)]
    assert [one.arguments for one in requested] == [{"to": ["bob"]}, {"to": ["bob", "carol"]}]


@pytest.mark.parametrize("name", ["self", "tool", "guard", "args", "kwargs", "receiver", "run", "wait"])
def test_no_name_of_an_argument_is_one_of_the_guards_own(guard: Guard, name: str) -> None:
    def mail(to: str, **more: str) -> Any:
        raise AssertionError

    made = guarded(guard)(mail)
    with guard.run(principal=ALICE, agent="main") as run:
        with pytest.raises(TypeError, match="multiple values"):
            made("bob", **{"to": "eve"})
        with pytest.raises(AssertionError):
            made("bob", **{name: "x"})
    (requested,) = (
        one.event for one in guard.runs.get(run.id).events if isinstance(one.event, CallRequested)
    )
    assert requested.arguments == {"to": "bob", name: "x"}


# ---- the bare function -----------------------------------------------------------------------------


def test_who_unwraps_a_guarded_function_does_not_come_to_the_bare_one(guard: Guard) -> None:
    ran: list[str] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            ran.append("noted")
            return function(*args, **kwargs)

        return noted

    @noting
    @guarded(guard)
    @noting
    def mail(to: str) -> str:
        ran.append(to)
        return to

    unwrapped = inspect.unwrap(mail)
    with guard.run(principal=ALICE, agent="main"):
        with pytest.raises(DeniedError):
            unwrapped(to="eve")
        assert ran == []
        assert mail("bob") == "bob"
    assert ran == ["noted", "noted", "bob"]


async def test_what_a_framework_looks_at_is_still_there(guard: Guard) -> None:
    made = guarded(guard, name="mail")(module_mail)
    assert get_type_hints(made) == {"to": str, "later": Later | None, "return": str}
    assert inspect.signature(made) == inspect.signature(module_mail)
    assert (made.__name__, made.__doc__, made.__module__) == ("module_mail", "Mail something.", __name__)
    assert not hasattr(made, "__wrapped__")


def test_a_guarded_function_is_pickled_by_its_name_or_not_at_all(guard: Guard) -> None:
    made = guarded(guard, name="mail")(module_mail)
    with pytest.raises(pickle.PicklingError, match="not the same object"):
        pickle.dumps(made)


# ---- work that is still to be done -----------------------------------------------------------------


def test_a_body_that_would_run_after_its_call_does_not_run(guard: Guard) -> None:
    ran: list[str] = []

    async def later(to: str) -> str:
        ran.append(to)
        return to

    def lazily(to: str) -> Iterator[str]:
        ran.append(to)
        yield to

    with guard.run(principal=ALICE, agent="main") as run:
        functions: list[Callable[[str], Any]] = [lambda to: later(to), lambda to: lazily(to)]
        for function in functions:
            with pytest.raises(TypeError):
                list(guarded(guard, name="mail")(function)("bob"))
    assert ran == [] and kinds_of(guard, run).count("CallFailed") == 2


def test_each_call_of_a_function_that_calls_itself_is_decided(guard: Guard) -> None:
    ran: list[str] = []

    @guarded(guard)
    def mail(to: str) -> None:
        ran.append(to)
        mail("carol" if len(ran) < 2 else "eve")

    with guard.run(principal=ALICE, agent="main"), pytest.raises(DeniedError):
        mail("bob")
    assert ran == ["bob", "carol"]


def test_calls_of_its_kind_are_counted_however_deep(guard: Guard) -> None:
    ran: list[str] = []

    @guarded(guard)
    def mail(to: str) -> None:
        ran.append(to)
        mail(to)

    with guard.run(principal=ALICE, agent="main"), pytest.raises(DeniedError):
        mail("bob")
    assert len(ran) == 3


def test_a_thread_that_outlives_its_run_can_call_nothing(guard: Guard) -> None:
    over, told = threading.Event(), []

    @guarded(guard)
    def mail(to: str) -> str:
        return to

    def work() -> None:
        over.wait(30)
        try:
            mail("bob")
        except Exception as error:
            told.append(error)

    with guard.run(principal=ALICE, agent="main"):
        inside = contextvars.copy_context()
        thread = threading.Thread(target=inside.run, args=(work,))
        bare = threading.Thread(target=work)
        thread.start()
        bare.start()
    over.set()
    thread.join(30)
    bare.join(30)
    assert len(told) == 2 and not any(isinstance(one, DeniedError) for one in told)
    assert any(isinstance(one, EngineError) for one in told)


async def test_what_a_body_sets_in_its_context_is_not_the_callers(guard: Guard) -> None:
    word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="before")

    @guarded(guard)
    async def mail(to: str) -> str:
        assert word.get() == "given"
        word.set("changed")
        await asyncio.sleep(0)
        return to

    word.set("given")
    async with guard.run(principal=ALICE, agent="main"):
        await mail("bob")
    assert word.get() == "given"
