"""One V8 isolate, spoken to in strings alone.

mini-racer hands objects of JavaScript to Python if it is asked to, and touching one runs JavaScript that
nothing can interrupt.  So nothing but a string is ever looked at here, and no function of Python goes in.
"""

import asyncio
import json
import os
from collections.abc import Sequence

from py_mini_racer import MiniRacer, mini_racer


def stand_in_loop() -> None:
    """Make mini-racer answer on this thread, without an event loop and its descriptors.

    It asks which loop is running; a loop that can do nothing is enough, as no call of ours is cancelled.
    """
    # its methods all raise, and none of them is called
    asyncio._set_running_loop(asyncio.AbstractEventLoop())  # type: ignore[abstract]


class Isolate:
    """A fresh isolate with the prelude in it."""

    def __init__(self, prelude: str) -> None:
        self._opened = mini_racer()
        self._racer: MiniRacer = self._opened.__enter__()
        # SECURITY: a name at the top of a script is in no list that code can ask for; it would have to guess.
        self._name = f"_{os.urandom(16).hex()}"
        self._racer.eval(f"'use strict'; const {self._name} = {prelude}")

    def bound(self, memory_bytes: int) -> None:
        """Stop code that uses more of the heap than this."""
        self._racer.set_hard_memory_limit(memory_bytes)

    def begin(self, source: str, around: Sequence[tuple[str, str]], *texts: str) -> None:
        """Have a source compiled inside of functions, and run if the parser read each as one from end to end.

        Args:
            around: What stands before and behind the source; the first function is the one that runs.
            texts: What else the prelude begins with.

        Raises:
            JSEvalException: It cannot be compiled, or broke out of its function and threw.
        """
        said = [json.dumps(text) for text in (*texts, source)]
        functions = self._functions(source, around)
        # What this gives is not looked at: a text that breaks out could make it anything.
        name = self._name
        self._racer.eval(f"{name}.begin({','.join(said)},{json.dumps(around)});{name}.take({functions})")

    def compile(self, source: str, around: Sequence[tuple[str, str]]) -> None:
        """Have a source compiled inside of functions; none of them runs.

        Raises:
            JSEvalException: As for `begin`.
        """
        self._racer.eval(f"{self._name}.take({self._functions(source, around)})")

    def _functions(self, source: str, around: Sequence[tuple[str, str]]) -> str:
        return ",".join(f"{opening}{source}{closing}" for opening, closing in around)

    def tell(self, method: str, *texts: str) -> str:
        """Call one method of the prelude; a text goes in as a literal, which is ASCII and JSON."""
        arguments = ",".join(json.dumps(text) for text in texts)
        answer = self._racer.eval(f"{self._name}.{method}({arguments})")
        if type(answer) is not str:
            raise TypeError("only strings leave V8")
        return answer

    def close(self) -> None:
        """End it."""
        self._opened.__exit__(None, None, None)


def evaluated_afresh(text: str) -> object:
    """Run a text of ours in an isolate of its own, without the prelude."""
    with mini_racer() as racer:
        return racer.eval(text)


def version_and_heap_limit() -> tuple[str, int]:
    """Return V8's version and the heap limit that it has set itself."""
    with mini_racer() as racer:
        limit = racer.heap_stats().get("heap_size_limit", 0)
        return racer.v8_version, limit if type(limit) is int else 0
