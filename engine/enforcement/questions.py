"""The questions of a decision are put to plugins: on threads, in time, each once, and never twice at fault.

Everything here happens on the engine's loop and on daemon threads, never on the caller's event loop.  A
function that is past its time is left behind.  Of one function at most so many threads are taken, those left
behind among them: when all of them hang, it is asked no more until one ends.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextvars import Context
from typing import Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Plan, Question
from ringfence.engine.enforcement.current import inside_function
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.workers import run_in_worker
from ringfence.engine.seams.answerers import Answerer
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.loop import EngineLoop

QUESTIONS_AT_MOST: Final = 64
"""Questions that one decision may ask."""
ROUNDS_AT_MOST: Final = 8
"""Times that one decision may ask: an answer can lead to the next question."""
THREADS_AT_MOST: Final = 16
"""Threads that one function may hold, hanging ones among them."""
PATIENCE_S: Final = 10.0
"""All the time that the questions of one decision may take together."""
ANSWER_AT_MOST: Final = 1024 * 1024
"""Bytes of one answer, as canonical JSON: it is recorded with the decision."""
RECORDED_AT_MOST: Final = 4 * ANSWER_AT_MOST
"""Bytes of all questions, and of all answers, that one decision records."""

_log = logging.getLogger("ringfence")


class Questions:
    """Puts the questions of one guard's decisions to its plugins."""

    def __init__(self, loop: EngineLoop, extensions: Extensions) -> None:
        self._loop = loop
        self._extensions = extensions
        self._lock = threading.Lock()
        self._bound: dict[str, Mapping[str, Answerer]] = {}
        self._lines: dict[str, _Line] = {}
        self._pid = os.getpid()

    def bind(self, plan: Plan) -> Mapping[str, Answerer]:
        """Return who answers for this plan; what nobody answers is said once, loudly."""
        with self._lock:
            found = self._bound.get(plan.digest)
            if found is None:
                found, wrong = self._extensions.answerers(plan)
                self._bound[plan.digest] = found
                for one in wrong:
                    _log.warning("%s; whatever needs it is undecided, which never helps the caller", one)
            return found

    def ask(self, plan: Plan, wanted: Mapping[str, Question], *, seconds: float) -> Steps[dict[str, Json]]:
        """Return an answer for each question by its key, `["gave", value]` or `["failed", why]`."""
        bound = self.bind(plan)
        answers: dict[str, Json] = {}
        asked: dict[str, tuple[Answerer, Question]] = {}
        for key, question in wanted.items():
            answerer = bound.get(question.function)
            if answerer is None:
                answers[key] = _failed("no plugin answers it")
            else:
                asked[key] = (answerer, question)
        if asked:
            found: dict[str, Json] = yield self._loop.submit(self._ask(asked, seconds))
            answers |= found
        return answers

    async def _ask(self, asked: Mapping[str, tuple[Answerer, Question]], seconds: float) -> dict[str, Json]:
        tasks = {
            key: asyncio.ensure_future(self._answer(answerer, question))
            for key, (answerer, question) in asked.items()
        }
        await asyncio.wait(tasks.values(), timeout=seconds)
        answers = {}
        for key, task in tasks.items():
            if task.done():
                answers[key] = task.result()
            else:
                task.cancel()
                answers[key] = _failed("the decision's time for questions was up")
        return answers

    async def _answer(self, answerer: Answerer, question: Question) -> Json:
        line = self._line(answerer.source)
        token = object()
        if not await line.enter(token):
            return _failed("earlier questions to it have not ended")
        loop = asyncio.get_running_loop()

        def leave(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the guard is closed: nobody waits in this line
                loop.call_soon_threadsafe(line.leave, token)

        work = run_in_worker(Context(), lambda: _asked(answerer, question))
        work.add_done_callback(leave)
        arrived = asyncio.wrap_future(_quiet(work))
        try:
            await asyncio.wait({arrived}, timeout=answerer.seconds)
        finally:
            if not arrived.done():
                line.left_behind(token)
        if not arrived.done():
            return _failed(f"no answer within {answerer.seconds * 1000:g} ms")
        return arrived.result()

    def _line(self, source: str) -> "_Line":
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._lines.clear()
            self._pid = os.getpid()
        return self._lines.setdefault(source, _Line())


class Inquiry:
    """What one decision has asked so far: each question once, and not without end."""

    __slots__ = (
        "_ends_s",
        "_plan",
        "_questions",
        "_room_to_answer",
        "_room_to_ask",
        "_rounds",
        "_too_much",
        "answers",
    )

    def __init__(self, questions: Questions, plan: Plan) -> None:
        self._questions = questions
        self._plan = plan
        self._ends_s = time.monotonic() + PATIENCE_S
        self._rounds = 0
        self._room_to_ask = self._room_to_answer = RECORDED_AT_MOST
        self._too_much: set[str] = set()
        """Questions that are not asked because they could not be recorded."""
        self.answers: dict[str, Json] = {}
        """By the question's key: `["gave", value]` or `["failed", why]`."""

    def put(self, wanted: Mapping[str, Question]) -> Steps[bool]:
        """Ask what is wanted and was not asked yet; return False if that is nothing more."""
        new = self._recordable(wanted)
        left_s = self._ends_s - time.monotonic()
        if not new or self._rounds > ROUNDS_AT_MOST:
            return False
        self._rounds += 1
        room = QUESTIONS_AT_MOST - len(self.answers)
        why = f"more than {QUESTIONS_AT_MOST} questions in one decision"
        if self._rounds > ROUNDS_AT_MOST:
            room, why = 0, f"more than {ROUNDS_AT_MOST} rounds of questions in one decision"
        elif left_s <= 0:
            room, why = 0, "the decision's time for questions was up"
        asked = dict(list(new.items())[: max(room, 0)])
        if asked:
            given = yield from self._questions.ask(self._plan, asked, seconds=left_s)
            for key in asked:
                self.answers[key] = self._kept(given[key])
        for key in new.keys() - asked.keys():
            self.answers[key] = _failed(why)
        return True

    def _recordable(self, wanted: Mapping[str, Question]) -> dict[str, Question]:
        """Return the new questions that there is room for in the record; the others stay unanswered."""
        new = {}
        for key, question in wanted.items():
            if key in self.answers or key in self._too_much:
                continue
            size = len(key.encode())
            if size > self._room_to_ask:  # fails closed: unanswered is undecided
                self._too_much.add(key)
            else:
                self._room_to_ask -= size
                new[key] = question
        return new

    def _kept(self, answer: Json) -> Json:
        size = len(canonical(answer))
        if size > self._room_to_answer:
            return _failed("the answers to one decision are too large together")
        self._room_to_answer -= size
        return answer


class _Line:
    """Who stands in line for one function's threads; on the engine's loop alone."""

    __slots__ = ("_left_behind", "_taken", "_waiting")

    def __init__(self) -> None:
        self._taken: set[object] = set()
        self._left_behind: set[object] = set()
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, token: object) -> bool:
        """Take a thread, waiting for one if need be; return False if all of them hang."""
        while len(self._taken) >= THREADS_AT_MOST:
            if len(self._left_behind) >= THREADS_AT_MOST:
                return False
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(changed)
            await changed
        self._taken.add(token)
        return True

    def left_behind(self, token: object) -> None:
        """Say that one hangs."""
        if token in self._taken:
            self._left_behind.add(token)
            self._changed()

    def leave(self, token: object) -> None:
        """Give a thread back, be it late."""
        self._taken.discard(token)
        self._left_behind.discard(token)
        self._changed()

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)


def _asked(answerer: Answerer, question: Question) -> Json:
    """Ask, on the worker's thread; total: whatever goes wrong is no answer."""
    try:
        with inside_function():
            # SECURITY: own copies: what is decided and run cannot be changed by who is asked about it.
            value = answerer.call(*[_own(argument) for argument in question.arguments])
    except BaseException as error:  # fails closed: no answer; only the kind, its words may quote a value
        return _failed(f"it raised {type(error).__name__}")
    try:
        fit = answerer.gives(_own(value))
        if len(canonical(fit)) > ANSWER_AT_MOST:
            return _failed("its answer is too large")
    except Exception:  # fails closed: an answer of another type is none
        return _failed("its answer is not of the declared type")
    return ["gave", fit]


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _own(value: Json) -> Json:
    """Return a plain copy; raise TypeError for anything that is no plain JSON value."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_own(part) for part in value]
    if kind is dict:
        return {_own(name): _own(part) for name, part in value.items()}
    raise TypeError("no JSON value")


def _quiet(work: "Future[Json]") -> "Future[Json]":
    """Return a future that giving up does not reach the work behind: a thread cannot be cancelled."""
    shown: Future[Json] = Future()

    def tell(done: "Future[Json]") -> None:
        with contextlib.suppress(Exception):  # nobody waits any more
            shown.set_result(done.result())

    work.add_done_callback(tell)
    return shown


def _failed(why: str) -> Json:
    return ["failed", why]
