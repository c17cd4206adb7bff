"""Fifty writers are killed at random points: the log verifies, runs are told, sessions can be taken over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision.events import RunEnded
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.errors import RunHaltedError
from tests.guards import ALICE, POLICY, call, make_guard

ROOT = Path(__file__).parent.parent.parent


def test_fifty_processes_killed_at_random_leave_a_log_that_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.riddled", str(tmp_path), "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    children = [json.loads(line) for line in done.stdout.splitlines()]
    assert [child["status"] for child in children] == [9] * 50
    store = tmp_path / "ringfence.db"

    assert main(["verify", "--store", str(store)]) == 0
    assert capsys.readouterr().out.startswith("intact")

    ended = {
        line.removeprefix("run ")
        for child in children
        for line, *after in (child["said"][i:] for i in range(len(child["said"])))
        if line.startswith("run ") and "ended" in after
    }
    guard = make_guard(POLICY, store=f"sqlite:///{store}")
    rows = guard.runs.list()
    assert rows and ended <= {row.run for row in rows}
    for row in rows:
        record = guard.runs.get(row.run)
        assert isinstance(record, RunRecord) and record.steps is not None
        assert record.replay(guard.plan).divergence is None
        ends = [one.event.status for one in record.events if isinstance(one.event, RunEnded)]
        assert row.status == (ends[0] if ends else "running")
        if row.run in ended:
            assert row.status == "done", "what was said to have ended did"
    # Each process has ended the runs of those that died before it; the last one's may still be there.
    dead = [row for row in rows if row.status in ("halted", "running")]
    assert dead
    for row in dead[:10]:
        with pytest.raises(RunHaltedError, match="unclean"):
            guard.resume_run(row.run)
        again = guard.begin_run(principal=ALICE, agent="main", session=row.session)
        assert guard.execute(again, call("look", what="x"), lambda _: "ran") == "ran"
        guard.end_run(again)
    halted = {row.run for row in guard.runs.list() if row.status == "halted"}
    assert halted == {row.run for row in dead}
    guard.close()
    assert main(["show", dead[0].run, "--store", str(store)]) == 0
    assert "unclean end" in capsys.readouterr().out
    assert main(["verify", "--store", str(store)]) == 0
