"""Kills one of several hosts at every write point of a call: `python -m tests.hosts.dying FOLDER SETTINGS`.

This process imports everything, starts no thread and forks.  One host learns which write points the calls
reach.  Then, for each of them, four hosts share a place of their own.  The first makes its calls until it
comes to that point for the `NTH` time; there it stays until the others are making theirs, and dies.  A last
one counts what is left in the window.  Each round is printed as a JSON line.

In SETTINGS, `{place}` stands for the name of a round's place and `{folder}` for a host's own folder.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

from ringfence.engine.decision.calls import Charge, key_base
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.ports import Ledger, Reservation, Store
from tests.faults.crash import SITES, Watch, World
from tests.faults.sites import Site
from tests.guards import ALICE, make_guard
from tests.hosts.shop import HOSTS, LIMIT, PERIOD_NS, POLICY, Effects, mails, send_all

WITHIN_S = 60
NTH = 3
"""At its first visits to a point the host lives on, so that some of its calls may have run."""


class Dying(Watch):
    """A watch that counts the visits to its point while the calls are made; there the others begin."""

    def __init__(self, folder: Path, kill: Site | None, when: str) -> None:
        super().__init__(kill, when)
        self.folder = folder
        self.armed = False
        self.visits = 0

    def at(self, frame: FrameType | None) -> Site | None:
        """Return the write point that the frame stands at."""
        site = super().at(frame)
        if not self.armed:
            self.reached.clear()
        return site

    def die(self, site: Site | None, when: str) -> None:
        """Kill this process if it is to die here, and the others have begun."""
        if not self.armed or site is None or site != self.kill or when != self.when:
            return
        self.visits += 1
        if self.visits == NTH:
            (self.folder / "go").touch()
            for number in range(1, HOSTS):
                wait_for(self.folder / str(number) / "begun")
            super().die(site, when)


class Host(World):
    """One host: its own folder, and a watch over its guard and its store."""

    def __init__(self, folder: Path, settings: dict[str, str], watch: Dying) -> None:
        super().__init__(folder, watch)
        self.dying = watch
        self.settings = {
            name: value.replace("{place}", folder.parent.name).replace("{folder}", str(folder))
            for name, value in settings.items()
        }

    def guarded(self) -> Guard:
        """Return a guard on the real clock whose store is watched once it is open."""
        guard = make_guard(POLICY, **cast(Any, self.settings))
        make = guard.opening._make_store

        def opened() -> Store:
            store = make()
            open_it = store.open

            async def then_watch() -> None:
                await open_it()
                self.watch_parts(store)

            store.open = then_watch  # type: ignore[method-assign]
            return store

        guard.opening._make_store = opened
        return guard

    async def works(self, after: Path | None) -> None:
        """Make all calls once the file is there; what came of them is told if it lives to the end."""
        guard = self.guarded()
        run = await guard.abegin_run(principal=ALICE, agent="main")
        (self.folder / "run").write_text(run.id)
        if after is not None:
            wait_for(after)
        self.dying.armed = True
        (self.folder / "begun").touch()
        said = await send_all(guard, run, Effects(self.folder))
        self.dying.armed = False
        said["reached"] = [str(site) for site in self.dying.reached]
        await guard.aend_run(run)
        await guard.aclose()
        (self.folder / "said").write_text(json.dumps(said))

    async def counts(self, dead: Path) -> None:
        """Count what the window holds, with and without what the dead host has no effect of."""
        guard = make_guard(POLICY, **cast(Any, self.settings))
        await guard.abegin_run(principal=ALICE, agent="main")
        (budget,) = guard.plan.by_bound_name["mail"].budgets
        counts = guard.opening.submit(taken_and_known(guard.opening.ready.ledger, budget.id, dead))
        (self.folder / "counted").write_text(json.dumps(await asyncio.wrap_future(counts)))
        await guard.aclose()


def wait_for(path: Path) -> None:
    """Return when the file is there."""
    until = time.monotonic() + WITHIN_S
    while not path.exists():
        if time.monotonic() > until:
            raise RuntimeError(f"{path} did not come")
        time.sleep(0.002)


async def taken_and_known(ledger: Ledger, budget: str, dead: Path) -> dict[str, int]:
    """Return how many units the window holds, and how many without those of the dead that left no effect."""
    taken = await _taken(ledger, budget, "all")
    run, effects = (dead / "run").read_text(), set(Effects(dead).read())
    for mail in mails():
        key = f"{key_base(mail)}.0"
        if (run, key) not in effects:
            await ledger.refund(f"{run}/{key}")
    return {"taken": taken, "known": await _taken(ledger, budget, "known")}


async def _taken(ledger: Ledger, budget: str, name: str) -> int:
    for room in range(LIMIT, -1, -1):
        probe = Reservation(f"probe/{name}", (Charge(budget, "w1", room, LIMIT, PERIOD_NS),))
        if not await ledger.reserve(probe, now_ns=0):
            await ledger.refund(probe.id)
            return LIMIT - room
    raise AssertionError("nothing fits under any ledger that keeps its limit")


def forked(folder: Path, settings: dict[str, str], watch: Dying, work: Callable[[Host], Any]) -> int:
    """Let a host do `work` in a child, which ends with 0 if it came to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        errors = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        try:
            os.chdir(folder)
            asyncio.run(work(Host(folder, settings, watch)))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid: int) -> int:
    """Wait for the child and return its exit status."""
    return os.waitpid(pid, 0)[1]


def said_by(folder: Path, name: str) -> Any:
    """Return what the child left in this file; None if it did not come to its end."""
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else None


def one_round(folder: Path, settings: dict[str, str], site: Site, when: str) -> dict[str, Any]:
    """Let four hosts work of which the first dies, and say what is left."""
    folders = [folder / str(number) for number in range(HOSTS)]
    dying = forked(folders[0], settings, Dying(folder, site, when), lambda host: host.works(None))
    others = [
        forked(own, settings, Dying(folder, None, ""), lambda host: host.works(folder / "go"))
        for own in folders[1:]
    ]
    statuses = [ended(pid) for pid in (dying, *others)]
    counter = folder / "counter"
    ended(forked(counter, settings, Dying(folder, None, ""), lambda host: host.counts(folders[0])))
    return {
        "site": str(site),
        "when": when,
        "folder": str(folder),
        "statuses": statuses,
        "said": [said_by(own, "said") for own in folders],
        "effects": [len(Effects(own).read()) for own in folders],
        "counted": said_by(counter, "counted"),
    }


def main(root: Path, settings: dict[str, str]) -> None:
    """Learn, then kill; print one JSON line for each round."""
    whole = root / "hosts_whole" / "0"
    status = ended(forked(whole, settings, Dying(whole, None, ""), lambda host: host.works(None)))
    said = said_by(whole, "said")
    print(json.dumps({"status": status, "said": said}), flush=True)
    reached = set(said["reached"]) if said else set()
    for number, site in enumerate(site for site in SITES if str(site) in reached):
        for when in ("before", "after"):
            print(json.dumps(one_round(root / f"hosts_{number}_{when}", settings, site, when)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
