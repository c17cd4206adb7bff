"""`make bench`: measure everything, print the table, write bench/results.json."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import (
    around_langchain,
    around_mcp,
    around_openai_agents,
    around_pydantic_ai,
    around_python,
    begun,
    decisions,
    guarded,
    isolated,
    killed,
    large,
    loading,
    logged,
    remembered,
    reserved,
)
from bench.harness import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "decisions": decisions.rows,
    "remembered": remembered.rows,
    "loading": loading.rows,
    "guarded": guarded.rows,
    "begun": begun.rows,
    "python": around_python.rows,
    "logged": logged.rows,
    "large": large.rows,
    "reserved": reserved.rows,
    "killed": killed.rows,
    "isolated": isolated.rows,
    "langchain": around_langchain.rows,
    "mcp": around_mcp.rows,
    "pydantic_ai": around_pydantic_ai.rows,
    "openai_agents": around_openai_agents.rows,
}
RESULTS = Path(__file__).with_name("results.json")


def main(names: list[str]) -> int:
    """Measure the parts named, or all of them; only a whole run writes the results."""
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"there is no part `{unknown[0]}`; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or PARTS:
        start = time.perf_counter()
        for row in PARTS[name]():
            rows.append(row)
            print(_line(row), flush=True)
        print(f"({name} took {time.perf_counter() - start:.0f} s)", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f}")
    if not names:
        RESULTS.write_text(json.dumps({"rows": [_record(row) for row in rows]}, indent=2) + "\n", "utf-8")
    return 0


def _record(row: Row) -> dict[str, str | float | bool | None]:
    value = float(f"{row.value:.4g}")
    return {"name": row.name, "value": value, "unit": row.unit, "goal": row.goal, "met": row.met}


def _line(row: Row) -> str:
    sign = ">=" if row.at_least else "<="
    goal = "" if row.goal is None else f"  goal {sign} {row.goal:,g}  {'met' if row.met else 'NOT MET'}"
    return f"{row.name:<62} {row.value:>10,.2f} {row.unit:<4}{goal}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
