"""Writes runs until it is killed, two hundred times over: `python -m tests.faults.riddled FOLDER SEED`.

One process imports everything and forks; a child tells through a pipe how far it is, and dies at a random
point of it, so no time is waited for.  Ten children in a row share one store, and each ends the runs of those
before it.  After each death what is on the disk is copied, before anybody opens it.  Prints one JSON line for
each child.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence._assembly import _plan, assemble
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import PendingError, RingfenceError
from ringfence.engine.seams.settings import Settings
from tests.guards import ALICE, GROUPS, call

CHILDREN = 200
IN_A_ROW = 10
FULL = frozenset({"wire", "wide", "pay"})
"""The tools under `audit full`."""
POLICY = """
language 1
policy riddled
capability read_data is read
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds read_data, send at most 100 calls }
tool look { needs read_data takes what: text allow when what != "secret" rate 1000 per run }
tool free { needs read_data allow always }
tool wire { needs send takes amount: integer allow always audit full }
tool wide { needs send takes amount: integer allow always rate 1000000 per hour audit full }
tool pay { needs send takes amount: integer allow always ask lead audit full }
"""
PLAN = _plan(load_text(POLICY), "the policy of the riddled")
MADE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("look", {"what": "x" * 400}),
    ("wire", {"amount": 5}),
    ("look", {"what": "secret"}),
    ("wide", {"amount": 5}),
    ("free", {}),
    ("pay", {"amount": 5}),
    ("wire", {"amount": 6}),
)
PARTS = ("ringfence.db", "ringfence.db-wal", "marks")


def guard_at(folder: Path) -> Guard:
    """Return a guard on the store of a folder."""
    chosen = Settings.of({"store": f"sqlite:///{folder}/ringfence.db", "groups": GROUPS})
    return assemble(PLAN, chosen)


class Writer:
    """A child: makes calls, says each on a pipe, and marks each body that starts on the disk."""

    def __init__(self, folder: Path, out: int, number: int) -> None:
        self.guard = guard_at(folder)
        self.out = out
        self.number = number
        self.marks = os.open(folder / "marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, what: str) -> None:
        os.write(self.out, f"{what}\n".encode())

    def body(self, arguments: Mapping[str, Any]) -> str:
        """Mark on the disk that it has started, before anything else."""
        inside = current_call()
        assert inside is not None
        run, key = inside
        os.write(self.marks, (json.dumps([run.id, key, run.state.calls[key].request.tool]) + "\n").encode())
        os.fsync(self.marks)
        self.say("effect")
        return "done"

    async def abody(self, arguments: Mapping[str, Any]) -> str:
        """The same for calls that are awaited; it gives way in between, so that others go on."""
        await asyncio.sleep(0)
        done = self.body(arguments)
        await asyncio.sleep(0)
        return done

    def calls(self) -> list[ToolCall]:
        return [call(tool, f"c{step}", **arguments) for step, (tool, arguments) in enumerate(MADE)]

    def make(self, run: Run, asked: ToolCall) -> None:
        try:
            self.guard.execute(run, asked, self.body, wait=False)
        except PendingError as pending:
            self.guard.approve(pending.tickets[0], by="dana")
            self.guard.execute(run, asked, self.body, wait=False)
        except RingfenceError as error:
            self.say(type(error).__name__)

    def one_by_one(self) -> None:
        while True:
            run = self.guard.begin_run(principal=ALICE, agent="main", session=f"s{self.number}")
            self.say(f"run {run.id}")
            for asked in self.calls():
                self.make(run, asked)
            self.guard.end_run(run)
            self.say("ended")

    async def amake(self, run: Run, asked: ToolCall) -> None:
        try:
            await self.guard.aexecute(run, asked, self.abody, wait=False)
        except PendingError as pending:
            await self.guard.aapprove(pending.tickets[0], by="dana")
            await self.guard.aexecute(run, asked, self.abody, wait=False)
        except RingfenceError as error:
            self.say(type(error).__name__)

    async def at_once(self) -> None:
        while True:
            run = await self.guard.abegin_run(principal=ALICE, agent="main", session=f"s{self.number}")
            self.say(f"run {run.id}")
            await asyncio.gather(*(self.amake(run, asked) for asked in self.calls()))
            await self.guard.aend_run(run)
            self.say("ended")

    def write(self) -> None:
        """Write runs until somebody ends this process: every second child awaits its calls."""
        if self.number % 2:
            asyncio.run(self.at_once())
        else:
            self.one_by_one()


def die_somewhere(folder: Path, number: int, chance: random.Random) -> dict[str, object]:
    """Fork a writer, read a random number of bytes of what it says, and kill it there."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        errors = os.open(folder / f"stderr-{number}", os.O_WRONLY | os.O_CREAT)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        try:
            Writer(folder, theirs, number).write()
        finally:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(theirs)
    left, said = chance.choice((0, *(chance.randint(1, 150) for _ in range(9)))), b""
    further = chance.randint(0, 20_000 if left else 400_000)  # some die before they have said anything
    while left > 0 and (part := os.read(ours, left)):
        said, left = said + part, left - len(part)
    for _ in range(further):  # a few more instructions: between what it says
        pass
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    while part := os.read(ours, 65536):
        said += part
    os.close(ours)
    return {"status": status, "said": said.decode().split("\n")}


def main(root: Path, seed: int) -> None:
    """Kill the children; say of each where its store is, and where the copy of what it left."""
    chance = random.Random(seed)
    for number in range(CHILDREN):
        folder = root / f"store-{number // IN_A_ROW}"
        folder.mkdir(exist_ok=True)
        died = die_somewhere(folder, number, chance)
        left = root / f"left-{number}"
        left.mkdir()
        for part in PARTS:
            if (folder / part).exists():
                shutil.copy(folder / part, left / part)
        print(json.dumps({**died, "folder": str(folder), "left": str(left)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
