"""`make bench-agentdojo`: replay the recorded runs under every guard, print the table, write results.json."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.agentdojo.guards import AllowAll, DenyAllWrites, policy_of, under_policy, under_policy_approved
from bench.agentdojo.recordings import Recording, read
from bench.agentdojo.replay import Make, outcomes
from bench.agentdojo.results import Replayed, record, rows, table

CORPUS = Path("../shared/corpus/agentdojo_workspace_banking.jsonl.xz")
RESULTS = Path(__file__).with_name("results.json")
TABLE = Path(__file__).parents[2] / "docs" / "agentdojo.md"
BEGIN, END = "<!-- the table begins; `make bench-agentdojo` writes it -->\n", "<!-- the table ends -->\n"


GUARDS: dict[str, Make] = {
    "allow all": AllowAll,
    "deny all writes": DenyAllWrites,
    "policy": under_policy,
    "approved": under_policy_approved,
}


def under_every_guard(recording: Recording) -> Replayed:
    """Replay one run under all guards."""
    return Replayed(recording, outcomes(recording, GUARDS))


def main(arguments: Sequence[str]) -> int:
    """Replay the runs; only a replay of all of them writes the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.agentdojo", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, default=CORPUS, help="the recorded runs (default: %(default)s)"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="N runs, evenly spread; nothing is written")
    parser.add_argument("--half", choices=["tune", "held out"], help="this half alone; nothing is written")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="(default: %(default)s)")
    chosen = parser.parse_args(arguments)
    if not chosen.corpus.is_file():
        print(f"{chosen.corpus} is not there: say where the recorded runs are with --corpus", file=sys.stderr)
        return 1

    left_out: Counter[str] = Counter()
    recordings = []
    for recording in read(chosen.corpus):
        if recording.kind not in ("attack", "benign"):
            left_out[recording.kind] += 1
        elif chosen.half in (None, recording.half):
            recordings.append(recording)
    recordings.sort(key=lambda one: one.environment)
    if chosen.sample:
        recordings = recordings[:: max(len(recordings) // chosen.sample, 1)]

    replayed = _replay(recordings, chosen.processes)
    print(table(rows(replayed)))
    print("left out: " + ", ".join(f"{count:,} {kind}" for kind, count in sorted(left_out.items())))
    if chosen.sample is None and chosen.half is None:
        policies = {suite: policy_of(suite).digest for suite in ("workspace", "banking")}
        corpus = "sha256:" + sha256(chosen.corpus.read_bytes()).hexdigest()
        results = record(replayed, left_out, policies, corpus)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        _write_table(table(rows(replayed)))
    return 0


def _replay(recordings: Sequence[Recording], processes: int) -> list[Replayed]:
    """Replay on several cores, runs of one environment together; the bar is on standard error."""
    bar = Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
    with bar, ProcessPoolExecutor(processes) as pool:
        task = bar.add_task("replay", total=len(recordings))
        replayed = []
        for one in pool.map(under_every_guard, recordings, chunksize=16):
            replayed.append(one)
            bar.advance(task)
    return replayed


def _write_table(text: str) -> None:
    page = TABLE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    TABLE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
