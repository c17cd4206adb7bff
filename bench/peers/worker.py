"""One engine in its own process: builds, checks and times as it is told, a line of JSON for a line of JSON.

The director asks one worker after the other, so that they take turns; a worker that is not asked waits.
"""

import gc
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from bench.harness import spread
from bench.peers.workload import BLOCK, Call, Decide, calls_for, tools_of


class Worker:
    """What stands between two orders: the engine of one size, and its calls."""

    def __init__(self, module: str) -> None:
        self._module = importlib.import_module(f"bench.peers.engines.{module}")
        self._decide: Decide = _unbuilt
        self._calls: list[Call] = []

    def build(self, tools: int) -> dict[str, Any]:
        """Build the engine for so many tools, from nothing."""
        wanted = tools_of(tools)
        self._decide, self._calls = _unbuilt, calls_for(wanted)
        gc.collect()
        start = time.process_time()
        self._decide = self._module.build(wanted)
        return {"build_s": time.process_time() - start}

    def check(self, seconds: float) -> dict[str, Any]:
        """Compare the verdicts, on all calls or on as many as fit into the time, whole blocks of them."""
        checked, wrong = 0, 0
        end = time.monotonic() + seconds
        start = time.process_time()
        for block in _blocks(self._calls):
            wrong += sum(self._decide(call) is not call.allowed for call in block)
            checked += len(block)
            if time.monotonic() >= end:
                break
        return {"checked": checked, "wrong": wrong, "call_s": (time.process_time() - start) / checked}

    def round(self, calls: int) -> dict[str, Any]:
        """Time so many calls, once each by every clock."""
        some, decide = self._calls[:calls], self._decide
        taken = spread(decide, some, rounds=1)
        gc.collect()
        start = time.process_time()
        for call in some:
            decide(call)
        whole_s = time.process_time() - start
        return {
            "p50_us": taken.p50_ns / 1e3,
            "p99_us": taken.p99_ns / 1e3,
            "cpu_us": whole_s * 1e6 / len(some),
        }


def _unbuilt(call: Call) -> bool:
    raise RuntimeError("asked before anything was built")


def _blocks(calls: list[Call]) -> Iterator[list[Call]]:
    for begin in range(0, len(calls), BLOCK):
        yield calls[begin : begin + BLOCK]


def _answers() -> TextIO:
    """Return the way to the director; what a package prints goes to standard error from now on."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def main(module: str) -> None:
    """Do what is told until there is nothing more."""
    answers = _answers()
    logging.disable(logging.CRITICAL)
    worker: Worker | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            worker = worker or Worker(module)
            answer = getattr(worker, order.pop("do"))(**order)
        except Exception as error:  # closed: the engine gets no figure, and the page says why
            first = (str(error).splitlines() or [""])[0]
            answer = {"failed": f"{type(error).__name__}: {first}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
