"""One V8 isolate, spoken to in strings alone.

mini-racer hands objects of JavaScript to Python if it is asked to, and touching one runs JavaScript that
nothing can interrupt.  So nothing but a string is ever looked at here, and no function of Python goes in.
"""

import asyncio
import json
import os
from collections.abc import Sequence

from py_mini_racer import JSEvalException, JSOOMException, JSParseException, MiniRacer, mini_racer


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
        if self.tell("drain") != "D1":
            raise RuntimeError("the prelude's own run came to nothing")

    def bound(self, memory_bytes: int) -> None:
        """Stop code that uses more of the heap than this."""
        self._racer.set_hard_memory_limit(memory_bytes)

    def begin(self, job: str, arguments: str, source: str, around: Sequence[tuple[str, str]]) -> None:
        """Have a source compiled inside of functions, and run if the parser read each as one from end to end.

        Args:
            job: What the prelude is told of the job, as JSON.
            around: What stands before and behind the source; the first function is the one that runs.

        Raises:
            JSEvalException: It cannot be compiled, or broke out of its function and threw.
        """
        first, *others = _functions(source, around)
        # in parentheses V8 compiles a function at once; the others only have to be read
        functions = ",".join((f"({first})", *others))
        texts = ",".join(map(json.dumps, (job, arguments, source)))
        # What this gives is not looked at: a text that breaks out could make it anything.
        # SECURITY: V8 names a function `a.b` after what it stands in a call of, and stacks say so; after a
        # comma it does not see our name, which nobody may learn, and which is another one in each run.
        self._racer.eval(f"{self._name}.begin({texts});(0,{self._name}.take)({functions})")

    def complaint(self, function: str) -> str | None:
        """Return what V8 finds wrong with a function, which is only read; None: nothing.

        What it may break out into comes after a `throw`, and does not run.
        """
        try:
            self._racer.eval(f"throw 0;({function})")
        except JSParseException as error:
            return str(error)
        except JSOOMException:
            raise
        except JSEvalException:  # ours
            pass
        return None

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


def _functions(source: str, around: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{opening}{source}{closing}" for opening, closing in around]


def evaluated_afresh(text: str) -> object:
    """Run a text of ours in an isolate of its own, without the prelude."""
    with mini_racer() as racer:
        return racer.eval(text)


class Ground:
    """An isolate in which nothing ever runs.

    While one is open, V8 keeps what all share and none can write (its read-only heap), so that the others
    are made in two thirds of the time.
    """

    def __init__(self) -> None:
        self._opened = mini_racer()
        self._racer: MiniRacer = self._opened.__enter__()

    def version(self) -> str:
        """Return V8's version."""
        return self._racer.v8_version

    def heap_limit_bytes(self) -> int:
        """Return the heap limit that V8 has set itself."""
        limit = self._racer.heap_stats().get("heap_size_limit", 0)
        return limit if type(limit) is int else 0
