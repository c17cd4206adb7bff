"""From text to plan: parsed with places, checked, compiled, digested."""

import time
from collections.abc import Iterator
from statistics import median

from bench.harness import Row
from bench.policies import text_of_lines
from ringfence.dsl.load import load_text


def rows() -> Iterator[Row]:
    """Measure 500 and 5,000 lines, by CPU time; the parser's own tables are made before."""
    load_text(text_of_lines(60), name="bench.fence")
    for lines, goal, rounds in ((500, 80.0, 7), (5_000, 800.0, 3)):
        text = text_of_lines(lines)
        taken = []
        for _ in range(rounds):
            start = time.thread_time_ns()
            loaded = load_text(text, name="bench.fence")
            taken.append(time.thread_time_ns() - start)
            if loaded.plan is None:
                raise RuntimeError(f"the policy of {lines} lines does not load")
        yield Row(f"policy load, {lines:,} lines", median(taken) / 1e6, "ms", goal)
