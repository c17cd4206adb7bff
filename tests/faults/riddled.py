"""Writes runs until it is killed, fifty times over: `python -m tests.faults.riddled FOLDER SEED`.

One process imports everything and forks; a child tells through a pipe how far it is, and dies at a random
point of it, so no time is waited for.  It prints one JSON line for each child.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

from ringfence.engine.seams.errors import RingfenceError
from tests.guards import ALICE, POLICY, call, make_guard

CHILDREN = 50


def write_for_ever(folder: Path, out: int, number: int) -> None:
    """Run calls; say each run that began, and each call whose effect was made."""
    guard = make_guard(POLICY, store=f"sqlite:///{folder}/ringfence.db")
    while True:
        run = guard.begin_run(principal=ALICE, agent="main", session=f"s{number}")
        os.write(out, b"run %s\n" % run.id.encode())
        for step in range(6):
            name = "pay" if step == 5 else "look"
            arguments = {"amount": 5} if name == "pay" else {"what": "x" * 400}
            asked = call(name, f"c{step}", **arguments)
            try:
                guard.execute(run, asked, lambda _: os.write(out, b"effect\n"), wait=False)
            except RingfenceError as error:
                os.write(out, type(error).__name__.encode() + b"\n")
        guard.end_run(run)
        os.write(out, b"ended\n")


def die_somewhere(folder: Path, number: int, chance: random.Random) -> dict[str, object]:
    """Fork a writer, read a random number of bytes of what it says, and kill it there."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        try:
            write_for_ever(folder, theirs, number)
        finally:
            os._exit(1)
    os.close(theirs)
    left, said = chance.randint(1, 900), b""
    while left > 0 and (part := os.read(ours, left)):
        said, left = said + part, left - len(part)
    for _ in range(chance.randint(0, 20_000)):  # a few more instructions: between what it says
        pass
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    while part := os.read(ours, 65536):
        said += part
    os.close(ours)
    return {"status": status, "said": said.decode().split("\n")}


def main(folder: Path, seed: int) -> None:
    """Kill fifty children that share one store, each of them with a session of its own."""
    chance = random.Random(seed)
    for number in range(CHILDREN):
        print(json.dumps(die_somewhere(folder, number, chance)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
