"""Runs scenarios in children that kill themselves at one write point: `python -m tests.faults.crash DIR`.

This process imports everything, starts no thread and forks: once per scenario to learn which write points
it reaches, then once per point, to die before it, and once more, to die after it.  It prints what
happened as JSON lines; the test looks at what the dead left behind.
"""

import asyncio
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

from ringfence.engine.decision.events import ModelAsked, PromptGiven
from ringfence.engine.enforcement import ledger
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.drive import run_sync
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.journal import Journal
from ringfence.engine.seams.errors import RingfenceError, StoreAwayError
from ringfence.engine.seams.isolates import IsolateJob
from ringfence.engine.seams.ports import Store, Ticket
from ringfence.plugins.memory.ledger import MemoryLedger
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing import FakeClock
from tests.faults.sites import WRITES, Site, sites
from tests.guards import ALICE, POLICY, call, make_guard
from tests.isolates import Executors, FakeExecutor, Tools

SITES = sites()
AT_ONCE = 2 * (os.cpu_count() or 1)
"""Children at a time: each waits for its disk more than it computes."""


class Watch:
    """Sees every write point that is reached, and kills the process at one of them."""

    def __init__(self, kill: Site | None, when: str) -> None:
        self.kill = kill
        self.when = when
        self.reached: set[Site] = set()

    def at(self, frame: FrameType | None) -> Site | None:
        """Return the write point that the frame stands at."""
        if frame is None:
            return None
        file, line = Path(frame.f_code.co_filename).name, frame.f_lineno
        here = [s for s in SITES if s.file == file and s.line <= line <= s.end_line]
        site = min(here, key=lambda s: s.end_line - s.line, default=None)
        if site is not None:
            self.reached.add(site)
        return site

    def die(self, site: Site | None, when: str) -> None:
        """Kill this process if it is to die here."""
        if site is not None and site == self.kill and when == self.when:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work`, watched: plain, generator, coroutine, or giving a future."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            site = self.at(sys._getframe(1))
            self.die(site, "before")
            result = work(*args, **kwargs)
            if isinstance(result, Future):
                result.add_done_callback(lambda _: self.die(site, "after"))
                return result
            if inspect.iscoroutine(result):
                return self._awaited(result, site)
            if inspect.isgenerator(result):
                return self._driven(result, site)
            self.die(site, "after")
            return result

        return watched

    async def _awaited(self, work: Any, site: Site | None) -> Any:
        result = await work
        self.die(site, "after")
        return result

    def _driven(self, steps: Any, site: Site | None) -> Generator[Any, Any, Any]:
        result = yield from steps
        self.die(site, "after")
        return result


class Awaited:
    """A ledger to which nothing can be handed from another thread."""

    def __init__(self, ledger: Any) -> None:
        self.reserve, self.dispatched = ledger.reserve, ledger.dispatched
        self.refund, self.settle = ledger.refund, ledger.settle


class World:
    """One child's store, clock and effects."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.folder = folder
        self.watch = watch
        self.clock = FakeClock()
        for holder, names in ((Run, ["append"]), (Journal, ["record", "flush", "close"])):
            for name in names:
                setattr(holder, name, watch.wrapped(getattr(holder, name)))
        for name in ("reserve", "dispatched", "settle"):
            setattr(ledger, name, watch.wrapped(getattr(ledger, name)))

    def guard(
        self,
        *,
        inline: bool = False,
        awaited: bool = False,
        broken: bool = False,
        plugins: Sequence[object] = (),
    ) -> Guard:
        world = self

        class Watched(SqliteStore):
            async def open(self) -> None:
                await super().open()
                if inline:
                    self.ledger = cast(Any, MemoryLedger())
                if awaited:
                    self.ledger = cast(Any, Awaited(self.ledger))
                world.watch_parts(self)
                if broken:
                    cast(Any, self.ledger).dispatched_soon = fails

        def fails(*_: Any, **__: Any) -> None:
            raise OSError("the disk is full")

        def opened() -> Store:
            return cast(Store, Watched(f"sqlite:///{self.folder}/ringfence.db"))

        return make_guard(POLICY, clock=self.clock, opened=opened, plugins=plugins)

    def watch_parts(self, store: Any) -> None:
        for part, names in (
            (store.ledger, WRITES["ledger"]),
            (store.tickets, WRITES["tickets"]),
            (store.leases, WRITES["leases"]),
            (store.kill_switch, WRITES["kill_switch"]),
        ):
            for name in names:
                if hasattr(part, name):
                    setattr(part, name, self.watch.wrapped(getattr(part, name)))

    def effect(self, arguments: Mapping[str, Any]) -> str:
        """A body whose effect is on the disk when it returns."""
        inside = current_call()
        assert inside is not None
        run, key = inside
        with open(self.folder / "effects", "a") as effects:
            tool = run.state.calls[key].request.tool
            effects.write(json.dumps([run.id, key, tool, dict(arguments)]) + "\n")
            effects.flush()
            os.fsync(effects.fileno())
        return "done"


def attempt(work: Callable[[], Any]) -> list[str]:
    """Do `work`; return the tickets if it waits for people."""
    try:
        work()
    except RingfenceError as error:
        return list(getattr(error, "tickets", ()))
    except ZeroDivisionError:
        pass
    return []


def plain(world: World, *, inline: bool = False) -> None:
    """Calls that are allowed, denied, refused by a budget, and fail; a sub-run; a prompt, a model asked."""
    guard = world.guard(inline=inline)
    with guard.run(principal=ALICE, agent="main", session="s", prompt="do it", attachments=["a"]) as run:
        for number in range(11):
            mail = call("mail", f"c{number}", to="a@b.example")
            attempt(partial(guard.execute, run, mail, world.effect))
        attempt(lambda: guard.execute(run, call("look", what="secret"), world.effect))
        attempt(lambda: guard.execute(run, call("look", what="x"), lambda _: 1 // 0))
        guard.record(run, PromptGiven("user", "more"))
        run.note(ModelAsked("m1", None, [], [], {}, None))
        with guard.run(principal=ALICE, agent="reader", parent=run) as child:
            guard.execute(child, call("look", what="x"), world.effect)
    guard.close()


def isolated(world: World) -> None:
    """A body in an isolate whose code calls a tool, and one that fails."""

    async def looks(_: IsolateJob, tools: Tools) -> object:
        return await tools("look", what="x")

    guard = world.guard(plugins=[Executors(FakeExecutor({"look": looks}))])
    run = guard.begin_run(principal=ALICE, agent="main")
    for code in ("look", "x"):
        made = call("js", code=code)
        attempt(partial(guard.execute, run, made, world.effect, inner={"look": world.effect}))
    guard.end_run(run)
    guard.close()


def inline(world: World) -> None:
    """The same with a ledger in memory, and an allow that is never used."""
    guard = world.guard(inline=True)
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.authorize(run, call("mail", "c0", to="a@b.example"))
    guard.end_run(run)
    guard.close()
    plain(world, inline=True)


def awaited(world: World) -> None:
    """A call that runs and an allow that is never used, with a ledger that is awaited."""
    guard = world.guard(awaited=True)
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.authorize(run, call("mail", "c0", to="a@b.example"))
    guard.execute(run, call("mail", "c1", to="a@b.example"), world.effect)
    guard.end_run(run)
    guard.close()


def asked(world: World) -> None:
    """Questions that are approved, edited, refused, late, passed on and withdrawn."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main")

    def ask(tool: str, id: str) -> list[str]:
        return attempt(lambda: guard.execute(run, call(tool, id, amount=5), world.effect, wait=False))

    for id, edited in (("a", None), ("b", {"amount": 6})):
        (ticket,) = ask("pay", id)
        guard.approve(ticket, by="dana", edited=edited)
        ask("pay", id)
    (ticket,) = ask("pay", "c")
    attempt(lambda: guard.approve(ticket, by="mallory"))
    guard.deny(ticket, by="dana")
    ask("pay", "c")
    ask("passed", "d")
    world.clock.advance(16 * 60)
    (ticket,) = ask("passed", "d")
    guard.approve(ticket, by="olga")
    ask("passed", "d")
    ask("pay", "e")
    guard.record(run, PromptGiven("user", "never mind"))
    guard.end_run(run)
    guard.close()


def resumed(world: World) -> None:
    """A run that is put away and goes on; one that is killed by an operator; one whose time is up."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    guard.execute(run, call("look", "a", what="x"), world.effect)
    (ticket,) = attempt(lambda: guard.execute(run, call("pay", "b", amount=5), world.effect, wait=False))
    guard.suspend(run)
    guard.approve(ticket, by="dana")
    run = guard.resume_run(run.id)
    guard.execute(run, call("look", "a", what="x"), world.effect)
    guard.execute(run, call("pay", "b", amount=5), world.effect)
    guard.kill(run.id, by="olga")
    guard.end_run(run)
    late = guard.begin_run(principal=ALICE, agent="main")
    world.clock.advance(301)
    attempt(lambda: guard.execute(late, call("look", what="x"), world.effect))
    guard.close()


def asked_ahead(world: World) -> None:
    """Calls asked about before they are made: one that is made after a resume, one that is refused."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    one, other = (call("pay", id, amount=5)._replace(task=f"model/{id}") for id in ("a", "b"))
    (first,), (second,) = (attempt(partial(guard.ask, run, wanted)) for wanted in (one, other))
    guard.suspend(run)
    guard.approve(first, by="dana")
    guard.deny(second, by="dana")
    run = guard.resume_run(run.id)
    attempt(partial(guard.ask, run, one))
    attempt(partial(guard.ask, run, other))
    made = call("pay", "a", amount=5)._replace(task="tools/a")
    attempt(lambda: guard.execute(run, made, world.effect, wait=False))
    guard.end_run(run)
    guard.close()


def late(world: World) -> None:
    """An approval in time that is looked at a day later: what was held has lapsed and is reserved anew."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    pay = call("pay", "a", amount=5)
    (ticket,) = attempt(lambda: guard.execute(run, pay, world.effect, wait=False))
    guard.suspend(run)
    guard.approve(ticket, by="dana")
    world.clock.advance(24 * 3600)
    run = guard.resume_run(run.id)
    attempt(lambda: guard.execute(run, pay, world.effect))
    guard.end_run(run)
    guard.close()


def counted(world: World) -> None:
    """Budgets that count attempts and successes: a call that runs, one that is denied, one that fails."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main")
    attempt(lambda: guard.execute(run, call("tries", "a", amount=5), world.effect))
    attempt(lambda: guard.execute(run, call("tries", "b", amount=500), world.effect))
    attempt(lambda: guard.execute(run, call("tries", "c", amount=6), lambda _: 1 // 0))
    guard.end_run(run)
    guard.close()


def unclean(world: World) -> None:
    """A run whose process died is halted when somebody wants to go on with it."""
    pid = os.fork()
    if pid == 0:
        guard = world.guard()
        run = guard.begin_run(principal=ALICE, agent="main")
        guard.execute(run, call("look", what="x"), world.effect)
        attempt(lambda: guard.execute(run, call("pay", amount=5), world.effect, wait=False))
        guard.opening.ready.journal.flush().result()
        (world.folder / "died").write_text(run.id)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    died = world.folder / "died"
    if died.exists():
        guard = world.guard()
        attempt(lambda: guard.resume_run(died.read_text()))
        guard.close()


def looked_after(world: World) -> None:
    """Late questions that nobody waits for: refused, passed on, never shown, and of a run that is over."""
    guard = world.guard()
    guard._caretaker.start = lambda: None  # type: ignore[method-assign]  # it looks when this says so

    def put_away(tool: str) -> None:
        run = guard.begin_run(principal=ALICE, agent="main")
        attempt(lambda: guard.execute(run, call(tool, "a", amount=5), world.effect, wait=False))
        guard.suspend(run)

    def look() -> None:
        attempt(lambda: run_sync(guard._caretaker.round(), guard.opening.loop))

    put_away("pay")
    put_away("passed")
    over = guard.begin_run(principal=ALICE, agent="main")
    (id,) = attempt(lambda: guard.execute(over, call("pay", "a", amount=5), world.effect, wait=False))
    tickets = guard.opening.ready.tickets

    def stored() -> Ticket:
        found = guard.opening.submit(tickets.get(id)).result()
        assert found is not None
        return found

    asked = stored()
    guard.end_run(over)
    while (closed := stored()).status == "open":
        pass
    assert guard.opening.submit(tickets.swap(closed, asked)).result()
    world.clock.advance(16 * 60)
    opens = tickets.open

    async def dies(ticket: Ticket) -> None:
        raise OSError("the process died here")

    tickets.open = dies  # type: ignore[method-assign]
    look()
    tickets.open = opens  # type: ignore[method-assign]
    look()
    guard.close()


def let_go(world: World) -> None:
    """Calls that nobody makes again, approved or not, one that ends its own run, runs that do not begin."""
    guard = world.guard()
    nobody = guard.begin_run(agent="main")
    attempt(lambda: guard.execute(nobody, call("pay", "a", amount=5), world.effect, wait=False))

    def ends(_: Mapping[str, Any]) -> None:
        with nobody.lock:  # the caller, whom the end wakes, could else be first to say how the call ended
            guard.end_run(nobody)

    attempt(lambda: guard.execute(nobody, call("look", what="x"), ends))
    run = guard.begin_run(principal=ALICE, agent="main")
    attempt(lambda: guard.execute(run, call("pay", "b", amount=5), world.effect, wait=False))
    guard.suspend(run)
    guard.end_run(guard.resume_run(run.id))
    ahead = guard.begin_run(principal=ALICE, agent="main")
    asked = call("pay", "z", amount=5)
    (ticket,) = attempt(lambda: guard.ask(ahead, asked))
    guard.approve(ticket, by="dana")
    attempt(lambda: guard.ask(ahead, asked))
    guard.suspend(ahead)
    guard.end_run(guard.resume_run(ahead.id))
    over = guard.begin_run(principal=ALICE, agent="main")
    guard.kill(over.id)
    attempt(lambda: guard.begin_run(principal=ALICE, agent="reader", parent=over))
    attempt(lambda: guard.begin_run(principal=ALICE, agent="main", attachments=unreadable()))
    guard.close()


def unreadable() -> Iterator[str]:
    """Attachments that the host fails to read when the run has begun."""
    yield "a page"
    raise OSError("the file is gone")


def broken(world: World) -> None:
    """A dispatch that cannot be recorded: nothing runs."""
    guard = world.guard(broken=True)
    run = guard.begin_run(principal=ALICE, agent="main")
    attempt(lambda: guard.execute(run, call("mail", to="a@b.example"), world.effect))
    guard.close()


def away(world: World) -> None:
    """A call whose start is refused, and a run that is put away, while the log's store does not answer."""
    guard = world.guard()
    run = guard.begin_run(principal=ALICE, agent="main")
    mail = call("mail", "a", to="a@b.example")
    guard.authorize(run, mail)

    def gone(_: str) -> None:
        raise StoreAwayError("the server does not answer")

    journal: Any = guard.opening.ready.journal

    def gone_once(run: str | None = None, *, bounded: bool = False) -> None:
        del journal.flush
        gone("")

    journal.check = gone
    attempt(lambda: guard.execute(run, mail, world.effect))
    del journal.check
    attempt(lambda: guard.execute(run, mail, world.effect))
    journal.flush = gone_once
    attempt(lambda: guard.suspend(run))
    run = guard.resume_run(run.id)
    guard.end_run(run)
    guard.close()


def gave_up(world: World) -> None:
    """A caller that is cancelled while it waits for people."""
    guard = world.guard()

    async def wait_and_cancel() -> None:
        run = await guard.abegin_run(principal=ALICE, agent="main")
        task = asyncio.create_task(guard.aexecute(run, call("pay", amount=5), world.effect))
        while not run.waiting:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await guard.aend_run(run)

    asyncio.run(wait_and_cancel())
    guard.close()


SCENARIOS: dict[str, Callable[[World], None]] = {
    work.__name__: work
    for work in (
        plain,
        isolated,
        inline,
        awaited,
        asked,
        resumed,
        asked_ahead,
        late,
        counted,
        unclean,
        looked_after,
        let_go,
        broken,
        away,
        gave_up,
    )
}


def child(folder: Path, scenario: str, kill: Site | None, when: str) -> int:
    """Fork and run the scenario there; return the child, which ends with 0 if it came to its end."""
    folder.mkdir(parents=True)
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        errors = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
        os.dup2(quiet, 1)
        os.dup2(errors, 2)
        watch = Watch(kill, when)
        try:
            SCENARIOS[scenario](World(folder, watch))
            (folder / "reached").write_text(json.dumps([str(site) for site in watch.reached]))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def all_of(told: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Run these children, a few at once, and yield each with its exit status as it ends."""
    running: dict[int, dict[str, Any]] = {}

    def ended() -> dict[str, Any]:
        pid, status = os.wait()
        return {**running.pop(pid), "status": status}

    for one in told:
        if len(running) == AT_ONCE:
            yield ended()
        site = next((site for site in SITES if str(site) == one.get("site")), None)
        running[child(Path(one["folder"]), one["scenario"], site, one.get("when", ""))] = one
    while running:
        yield ended()


def main(root: Path) -> None:
    """Learn, then kill; print one JSON line for each child."""
    reached: dict[str, list[str]] = {}
    for one in all_of({"folder": str(root / f"whole-{name}"), "scenario": name} for name in SCENARIOS):
        print(json.dumps(one))
        if one["status"] == 0:
            reached[one["scenario"]] = json.loads((Path(one["folder"]) / "reached").read_text())
    where = {site: name for name in reversed(SCENARIOS) for site in reached.get(name, ())}
    for one in all_of(
        {"folder": str(root / f"{number}-{when}"), "site": site, "when": when, "scenario": scenario}
        for number, (site, scenario) in enumerate(sorted(where.items()))
        for when in ("before", "after")
    ):
        print(json.dumps(one))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
