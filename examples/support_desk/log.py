"""What the log is worth: the timeline of a run, its replay, and a byte that somebody changes."""

import sqlite3
from contextlib import closing
from pathlib import Path

from examples.support_desk.held import command
from examples.support_desk.stage import Stage
from ringfence.engine.retrospect.record import RunRecord


def tell(run: RunRecord, code: RunRecord | None, store: str, folder: Path, stage: Stage) -> None:
    """Show the run, replay it, verify the log, change one byte in a copy and verify that.

    Args:
        code: A run that made calls from an isolate; None where none can run.
    """
    stage.act("The log: what happened, provably")
    stage.scene(f"ringfence show {run.run}")
    for line in command("show", run.run, store=store).splitlines():
        stage.note(line)
    stage.scene("ringfence replay: every decision made again from the record")
    again = _first(command("replay", run.run, store=store))
    stage.judge(again, holds=again.startswith("identical"))
    if code is not None:
        stage.scene("ringfence replay --isolates: the model's JavaScript runs again, in another process")
        said = command("replay", code.run, "--isolates", store=store).splitlines()
        for line in said or ["(nothing was said)"]:
            stage.judge(line, holds=line.startswith("identical"))
    stage.scene("ringfence verify")
    whole = _first(command("verify", store=store))
    stage.judge(whole, holds=whole.startswith("intact"))
    forged = folder / "forged.db"
    change_one_byte(folder / "ringfence.db", forged, run.run)
    stage.scene("One byte of the log is changed, and verify again")
    found = _first(command("verify", store=f"sqlite:///{forged}"))
    stage.judge(found, holds=found.startswith("changed"))


def change_one_byte(log: Path, forged: Path, run: str) -> None:
    """Copy the log and change one letter in the body of a decision: a denial that reads as something else."""
    with closing(sqlite3.connect(log)) as whole, closing(sqlite3.connect(forged)) as copy:
        whole.backup(copy)
        with copy:
            position, body = copy.execute(
                "SELECT event.position, body FROM event JOIN run ON run.id = run_id"
                " WHERE run.run = ? AND kind = 'CallDecided' AND instr(body, ?) LIMIT 1",
                (run, b'"verdict":"deny"'),
            ).fetchone()
            copy.execute(
                "UPDATE event SET body = ? WHERE position = ?", (body.replace(b"deny", b"dent"), position)
            )


def _first(said: str) -> str:
    return next((line for line in said.splitlines() if line.strip()), "(nothing was said)")
