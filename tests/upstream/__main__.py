"""LangChain's own test suites as judges: `make test-upstream`.

Each suite runs unmodified, then with a policy inserted that allows every call, then with one that denies
every call.  The exit code is 0 if, with everything allowed, nothing fails that passes unmodified, but for
what is listed in `expected/`; and if, with everything denied, no tool body runs, and no bound cuts a test
that is not listed.
"""

import argparse
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.upstream.differences import ListError, list_for, listed_for, read
from tests.upstream.judging import Row, judged
from tests.upstream.results import ResultError, Results
from tests.upstream.running import run
from tests.upstream.sources import SourceError, source_of
from tests.upstream.suites import SUITES, Part, Suite, parts_of


def main(arguments: list[str] | None = None) -> int:
    """Run the suites that are named, all of them by default."""
    parser = argparse.ArgumentParser(prog="make test-upstream", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(s.name for s in SUITES)}")
    parser.add_argument("--scratch", type=Path, default=Path(sys.prefix) / "upstream")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true", help="the rows as JSON, to the standard output")
    said = parser.parse_args(arguments)
    if strange := sorted(set(said.suites) - {suite.name for suite in SUITES}):
        parser.error(f"there is no suite `{strange[0]}`")
    chosen = [suite for suite in SUITES if not said.suites or suite.name in said.suites]
    console = Console(stderr=said.json)
    if not console.is_terminal:
        console = Console(stderr=said.json, width=150)
    rows: list[Row] = []
    try:
        for suite in chosen:
            rows += _suite(suite, said.scratch, said.processes, console)
    except (SourceError, ListError, ResultError) as error:  # fails closed: what was not judged does not hold
        console.print(f"test-upstream: {error}", markup=False, style="red")
        return 2
    if said.json:
        print(json.dumps([row.plain() for row in rows], indent=2))
    else:
        console.print(_table(rows))
    return 0 if all(row.holds for row in rows) else 1


def _suite(suite: Suite, scratch: Path, processes: int, console: Console) -> list[Row]:
    installed = version(suite.package)
    file = list_for(suite.package, installed)
    differences = [] if file is None else read(file)
    if file is not None and file.stem != f"{suite.package}-{installed}":
        console.print(
            f"{suite.package} {installed} has no list of its own: {file.name} is used", markup=False
        )
    console.print(f"{suite.name}: {suite.package} {installed}", markup=False, style="bold")
    source = source_of(suite, scratch)
    unmodified: Results | None = None
    rows: list[Row] = []
    for part in parts_of(suite):
        results = _shown(part, source, scratch, processes, unmodified, console)
        listed = frozenset[str]()
        if part.way is not None and part.inserted != "nothing":
            listed = listed_for(differences, part.way, part.inserted)
        row = judged(part, installed, results, unmodified or results, listed)
        rows.append(row)
        for line in row.lines():
            console.print(f"  {line}", markup=False, soft_wrap=True)
        unmodified = unmodified or results
    return rows


def _shown(
    part: Part, source: Path, scratch: Path, processes: int, unmodified: Results | None, console: Console
) -> Results:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    if not console.is_terminal:
        console.print(f"  {part.title} ...", markup=False)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(part.title, total=len(unmodified.outcomes) if unmodified else None)
        results = run(
            part,
            source,
            scratch / "results" / part.title.replace(" ", "-"),
            processes,
            lambda done: bar.update(task, completed=done),
        )
        bar.update(task, completed=len(results.outcomes), total=len(results.outcomes))
    return results


def _table(rows: list[Row]) -> Table:
    table = Table(title="LangChain's own suites", title_justify="left")
    table.add_column("suite")
    table.add_column("guarded by")
    table.add_column("policy")
    for name in ("tests", "passed", "failed", "new", "listed", "cut", "calls", "bodies", "beside"):
        table.add_column(name, justify="right")
    table.add_column("holds")
    for row in rows:
        table.add_row(*row.cells(), style=None if row.holds else "bold red")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
