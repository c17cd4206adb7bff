"""From text to plan: parsed with places, checked, compiled, digested."""

import time
from collections.abc import Iterator
from statistics import median

from bench.harness import Row
from bench.policies import text_of_lines
from bench.whole import whole_text
from ringfence.dsl.load import load_text


def rows() -> Iterator[Row]:
    """Measure 500 and 5,000 lines, by CPU time; the parser's own tables are made before."""
    load_text(text_of_lines(60), name="bench.fence")
    for kind, text_of in (("", text_of_lines), (" of the whole language", whole_text)):
        medians = {}
        for lines, goal, rounds in ((500, 80.0, 7), (5_000, 800.0, 3)):
            medians[lines] = median(_load_ns(text_of(lines)) for _ in range(rounds))
            yield Row(f"policy load, {lines:,} lines{kind}", medians[lines] / 1e6, "ms", goal)
        yield Row(f"the same, 5,000 lines{kind} against 500", medians[5_000] / medians[500], "x")


def _load_ns(text: str) -> int:
    start = time.thread_time_ns()
    loaded = load_text(text, name="bench.fence")
    taken = time.thread_time_ns() - start
    if loaded.plan is None:
        raise RuntimeError("\n".join(f"{found.code} {found.message}" for found in loaded.diagnostics[:5]))
    return taken
