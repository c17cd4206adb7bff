"""What a run costs before and after its calls, and what a conversation that grows costs to record.

A run is begun and ended, one after another, beside one that goes on.  The CPU of the whole process counts,
for the store works on threads of its own: the least of the rounds is what it takes, their median what a
machine with other work makes of it.  A model is asked with so many messages, all but the last two of which
it was asked with before; the record has all of them each time.
"""

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from bench.harness import Row
from bench.looking_up import ALICE, POLICY
from ringfence import Guard
from ringfence.adapters.langchain.capture import WITNESS

_RUNS, _ROUNDS = 40, 8
_REQUESTS = 8


def rows() -> Iterator[Row]:
    """Measure the stores that need no server, then the record of a conversation."""
    for name in ("memory", "sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bench.fence"
            file.write_text(POLICY, "utf-8")
            guard = Guard.load(file, store="memory:" if name == "memory" else f"sqlite:///{folder}/bench.db")
            yield from _begun(name, guard)
            if name == "memory":
                yield from _asked(guard)
            guard.close()


def _begun(name: str, guard: Guard) -> Iterator[Row]:
    other = guard.begin_run(principal=ALICE)
    cpu: list[float] = []
    wall: list[float] = []
    for each in range(_ROUNDS + 1):
        gc.collect()
        begun, started = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(_RUNS):
            guard.end_run(guard.begin_run(principal=ALICE))
        if each > 0:  # the first round fills caches
            cpu.append((time.process_time_ns() - begun) / _RUNS / 1000)
            wall.append((time.perf_counter_ns() - started) / _RUNS / 1000)
    guard.end_run(other)
    yield Row(f"a run begun and ended, {name}, CPU, least", min(cpu), "us")
    yield Row(f"a run begun and ended, {name}, CPU, median", median(cpu), "us")
    yield Row(f"a run begun and ended, {name}, median (wall)", median(wall), "us")


def _asked(guard: Guard) -> Iterator[Row]:
    for count in (20, 200):
        with guard.run(principal=ALICE):
            messages = _conversation(count)
            taken = [_asking_us(messages)]
            for _ in range(_REQUESTS):
                messages += _conversation(2)
                taken.append(_asking_us(messages))
        yield Row(f"a model request of {count} messages that are new, recorded, CPU", taken[0], "us")
        yield Row("the same with two more, CPU, median", median(taken[1:]), "us")


def _asking_us(messages: list[AnyMessage]) -> float:
    gc.collect()
    begun = time.thread_time_ns()
    WITNESS.on_chat_model_start(None, [messages], run_id=uuid4(), metadata={}, invocation_params={})
    return (time.thread_time_ns() - begun) / 1000


def _conversation(count: int) -> list[AnyMessage]:
    messages: list[AnyMessage] = [HumanMessage("look them all up")]
    while len(messages) < count + 1:
        call = {"name": "look_up", "args": {"table": "users", "limit": 9}, "id": uuid4().hex}
        messages.append(AIMessage("", tool_calls=[call], response_metadata={"finish_reason": "tool_calls"}))
        messages.append(ToolMessage("9 rows of users " * 20, tool_call_id=call["id"], name="look_up"))
    return messages[1:]
