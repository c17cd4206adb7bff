"""Wakes: each loop once for all that is told together, in order, and a closed one stops nobody."""

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from ringfence.engine.seams.wakes import gathered, soon


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often another thread wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def call_soon_threadsafe(self, *given: Any, **named: Any) -> Any:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(*given, **named)


def told(*loops: asyncio.AbstractEventLoop, together: bool) -> list[tuple[int, int]]:
    """Tell each loop three things in turn, from another thread; return what was called, in order."""
    called: list[tuple[int, int]] = []

    def tell() -> None:
        for number in range(3):
            for which, loop in enumerate(loops):
                soon(loop, partial(called.append, (which, number)))

    def tell_together() -> None:
        with gathered(), gathered():
            tell()
            assert not called

    other = threading.Thread(target=tell_together if together else tell)
    other.start()
    other.join()
    for loop in loops:
        if not loop.is_closed():
            loop.run_until_complete(asyncio.sleep(0))
    return called


@pytest.mark.parametrize("together", [False, True])
def test_all_of_it_is_called_in_order_and_what_is_told_together_wakes_a_loop_once(together: bool) -> None:
    one, other = CountingLoop(), CountingLoop()
    called = told(one, other, together=together)
    assert [number for which, number in called if which == 0] == [0, 1, 2]
    assert [number for which, number in called if which == 1] == [0, 1, 2]
    assert one.wakes == other.wakes == (1 if together else 3)
    one.close()
    other.close()


@pytest.mark.parametrize("together", [False, True])
def test_a_loop_that_is_closed_is_passed_over(together: bool) -> None:
    gone, here = CountingLoop(), CountingLoop()
    gone.close()
    assert told(gone, here, together=together) == [(1, 0), (1, 1), (1, 2)]
    here.close()


def test_what_is_told_after_an_error_still_arrives() -> None:
    loop = CountingLoop()
    called: list[str] = []
    with pytest.raises(KeyError), gathered():
        soon(loop, lambda: called.append("before"))
        raise KeyError
    soon(loop, lambda: called.append("after"))
    loop.run_until_complete(asyncio.sleep(0))
    assert called == ["before", "after"]
    loop.close()
