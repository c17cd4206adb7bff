"""Runs begin, are put away, go on and end; one living process holds a session at a time."""

import contextlib
import os
import secrets
import threading
from asyncio import wrap_future
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from typing import Any, Final, Literal

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import (
    CallFailed,
    PromptGiven,
    RunEnded,
    RunResumed,
    RunStarted,
    SubrunStarted,
)
from ringfence.engine.decision.records import texts_record
from ringfence.engine.enforcement import ledger
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.deciding import release, release_all
from ringfence.engine.enforcement.drive import Steps, run_async
from ringfence.engine.enforcement.in_hand import InHand
from ringfence.engine.enforcement.kills import Kills
from ringfence.engine.enforcement.memories import Memories, Newest
from ringfence.engine.enforcement.opening import Opened, Opening, store_error
from ringfence.engine.enforcement.presence import Holder, Presence
from ringfence.engine.enforcement.put_away import PutAway
from ringfence.engine.enforcement.recorded import RecordedRuns, stamped
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.sessions import Holding, Sessions
from ringfence.engine.enforcement.subruns import may_begin
from ringfence.engine.enforcement.tickets import Asking
from ringfence.engine.enforcement.unclean import Unclean
from ringfence.engine.enforcement.versions import own_versions
from ringfence.engine.enforcement.workers import run_in_worker
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    RingfenceError,
    StoreAwayError,
    TakenOverError,
)
from ringfence.engine.seams.ports import Entry, RunRow

EndStatus = Literal["done", "failed", "halted"]
_Found = tuple[int, Newest]
"""What a run that begins must know: the last order to stop, and the runs of its session."""
_TEXT_AT_MOST: Final = 500


class Lifecycle:
    """The runs that this process lives."""

    def __init__(self, plan: Plan, opening: Opening, replan: Callable[[RunStarted], Plan]) -> None:
        self._plan = plan
        self._opening = opening
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._live: dict[str, Run] = {}
        holder = Holder()
        self._sessions = Sessions(opening, holder)
        self._in_hand = InHand()
        self._memories = Memories(plan, opening)
        self._swept: tuple[Opened, Future[None]] | None = None
        self.kills = Kills(opening, self.live, holder)
        self.presence = Presence(opening, holder, self.kills, self._fence)
        self.kills.looked = self.presence.looked
        self.unclean = Unclean(opening, self._sessions, self.presence, self._mine)
        self._recorded = RecordedRuns(plan, opening, replan, self._memories, self.presence)
        self.put_away = PutAway(
            opening, self._sessions, self.presence, self._in_hand, self.kills, self._recorded, self._around
        )

    def live(self) -> Iterable[Run]:
        """Return the runs that this process lives, suspended ones left out."""
        with self._lock:
            return tuple(self._live.values())

    def _mine(self, run: str) -> bool:
        """Say whether this guard lives the run, or has it in hand."""
        with self._lock:
            return run in self._live or run in self._in_hand

    def opened(self) -> Steps[Opened]:
        """Open the store, and end, once, the runs in it that died with their process."""
        opened = yield from self._opening.opened()
        with self._lock:
            if self._pid != os.getpid():  # the runs that a forked child finds here are its parent's
                self._pid = os.getpid()
                self._live.clear()
                self._in_hand.forget()
            if self._swept is None or self._swept[0] is not opened:
                sweep = self._opening.submit(self._sweep())
                self._swept = (opened, sweep)
            swept = self._swept
        try:
            yield swept[1]
        except Exception as error:  # fails closed: nothing begins over a store that could not be looked at
            with self._lock:
                self._swept = None if self._swept is swept else self._swept
            raise store_error("could not end the runs whose process died", error) from error
        return opened

    async def _sweep(self) -> None:
        try:
            await run_async(self.unclean.sweep())
        except CancelledError as error:  # the store's own: a failure, and nobody's giving up
            raise OSError("it gave up its own work") from error

    # ---- begin -------------------------------------------------------------------------------------

    def begin(
        self,
        *,
        principal: Principal | None = None,
        agent: str | None = None,
        session: str | None = None,
        prompt: Any = None,
        attachments: Iterable[Any] = (),
        capabilities: Iterable[str] | None = None,
        framework: str = "python",
        versions: Mapping[str, str] | None = None,
        external_id: str | None = None,
        resume_of: str | None = None,
        parent: "Run | str | None" = None,
    ) -> Steps[Run]:
        """Begin a run; it is in the log when this returns, so that other processes see it."""
        opened = yield from self.opened()
        name = self._agent(agent)
        around = self._around(parent)
        if around is not None:
            around.check_live()
            may_begin(around, name)
        elif parent is not None:
            # SECURITY: it would begin with nothing of what that one has read, and unbounded by it.
            raise EngineError(
                f"the run `{parent}` around this one does not go on here",
                help="begin it where that one lives, or as a run of its own",
            )
        holds = self._holds(name, capabilities, around)
        of = _principal(principal)
        run = Run(f"run-{secrets.token_hex(8)}", self._plan, of, self._opening, self.presence)
        run.secret = secrets.token_bytes(32)
        if around is not None:
            run.lock = around.lock  # INVARIANT: what one of a tree records, all of it counts, at once
        session_id = session if session is not None else run.id
        run.hides_with(around, session_id)
        if session is not None and run.hiding is not None and run.hiding.finds_in_name(session):
            # SECURITY: leases and the list of runs are kept by it, so it cannot be hidden.
            raise EngineError(
                "the name of the session holds what `[secrets]` calls secret",
                help="name the session otherwise: a digest will do",
            )
        yield from self.presence.attend()
        found: Future[_Found] = Future()
        with contextlib.ExitStack() as until_live:
            until_live.enter_context(self.kills.beginning())
            try:
                holding = yield from self._sessions.lease(session_id, lambda: self._find(session, found))
            except BaseException:  # fails closed: there is no run
                self.presence.leave()
                raise
            run.holding, mine = holding, False
            self._in_hand.try_take(run.id)  # nobody else knows it yet: it is not taken for a dead one
            try:
                orders, newest = yield found
                if newest.first is not None and self._is_dead(newest.first):
                    # SECURITY: its process may only stand still, and would write on where this one reads.
                    yield from self._opening.within_patience(
                        self._opening.submit(self._bury_all(session_id)), "could not end a dead run"
                    )
                    newest = yield self._opening.loop.submit(self._memories.newest(session_id))
                beginning = yield from self._memories.beginning(session, around, newest)
                run.seen = beginning.seen
                opened.journal.open_run(run.id, hiding=run.hiding)
                run.begin(
                    RunStarted(
                        session=session_id,
                        session_head=None if newest.first is None else newest.first.head.hex(),
                        agent=name,
                        principal=dict(run.principal.values),
                        capabilities=holds,
                        policy=self._plan.policy,
                        policy_digest=self._plan.digest,
                        policy_text=self._plan.text,
                        mode="enforce",
                        framework=framework,
                        external_id=external_id,
                        resume_of=resume_of,
                        parent=None if around is None else around.id,
                        policy_file=self._plan.file,
                        files=texts_record(self._plan.files),
                        continues=beginning.continues,
                        orders=orders,
                        versions=jsonable({**(versions or {}), **own_versions()}),
                    ),
                    beginning.recall,
                )
                mine = True
                with self._lock:
                    self._live[run.id] = run
                self.kills.obey_again(run)  # an order that came while the run began
                until_live.close()
                if around is not None:
                    self._attach(run, around)
                self._memories.live(run, dict(beginning.seen))
                if prompt is not None:
                    run.append(PromptGiven("user", jsonable(prompt, hide=run.hide)))
                for text in attachments:
                    run.append(PromptGiven("attachment", jsonable(text, hide=run.hide)))
                # The host keeps the run's id, in a checkpoint perhaps: an id that is not in the log is none.
                yield from self._opening.durable(run=run.id)
                self._still(run)
            except BaseException as error:  # fails closed: there is no run
                if not mine or self._no_longer_live(run):  # else another process has taken it over meanwhile
                    self._undo(run, session_id, holding)
                if isinstance(error, RingfenceError) or not isinstance(error, Exception):
                    raise
                raise store_error("could not begin the run", error) from error
            finally:
                self._in_hand.give_back(run.id)
        return run

    async def _find(self, session: str | None, found: "Future[_Found]") -> None:
        """Say to a run that begins which order to stop was the last, and what its session has."""
        try:
            orders = await self.kills.latest()
            newest = Newest() if session is None else await self._memories.newest(session)
        except Exception as error:  # raised where it is waited for: it has the lease then
            found.set_exception(error)
        else:
            found.set_result((orders, newest))

    def _is_dead(self, row: RunRow) -> bool:
        return row.status == "running" and not self._mine(row.run)

    async def _bury_all(self, session: str) -> None:
        """End the runs of a session that died with their process; whoever calls holds its lease."""
        rows = await self._opening.ready.log.runs(session=session, status="running")
        await self.unclean.bury([row.run for row in rows if not self._mine(row.run)])

    def _undo(self, run: Run, session: str, holding: Holding) -> None:
        """Forget a run that did not begin."""
        with contextlib.suppress(RingfenceError):  # what the log has of it is ended by the next sweep
            if hasattr(run, "state"):
                run.append(RunEnded("failed", "it did not begin"))
                self._memories.left(run)
        _detach(run)
        with contextlib.suppress(RingfenceError):  # closed meanwhile: nothing is leased any more
            self._opening.ready.journal.close_run(run.id)
            self._sessions.let_go(session, holding)
        self.presence.leave()

    def _agent(self, agent: str | None) -> str:
        agents = self._plan.agents
        if agent is None and len(agents) == 1:
            return next(iter(agents))
        if agent is None and "main" in agents:
            return "main"
        if agent is not None and agent in agents:
            return agent
        known = ", ".join(f"`{name}`" for name in agents)
        what = "say which agent runs" if agent is None else f"the policy has no agent `{agent}`"
        raise EngineError(what, help=f"agents of `{self._plan.policy}`: {known}")

    def _holds(self, agent: str, wanted: Iterable[str] | None, around: Run | None) -> tuple[str, ...]:
        own = self._plan.agents[agent].holds
        holds = own if wanted is None else frozenset(wanted)
        if not holds <= own:
            more = ", ".join(f"`{name}`" for name in sorted(holds - own))
            raise EngineError(
                f"the agent `{agent}` does not hold {more}",
                help="a run may be handed fewer capabilities than its agent holds, never more",
            )
        return tuple(sorted(holds if around is None else holds & around.state.holds))

    def _around(self, parent: "Run | str | None") -> Run | None:
        if isinstance(parent, Run):
            return parent
        with self._lock:
            return self._live.get(parent) if parent is not None else None

    def _attach(self, run: Run, around: Run) -> None:
        inside = current_call()
        with around.lock:
            around.check_live()  # SECURITY: nothing begins inside of a run that is over
            call = inside[1] if inside and inside[0] is around else None
            around.append(SubrunStarted(run.id, call))
            run.parent = around
            around.children.append(run)
            around.started[run.id] = (run, call)

    # ---- suspend and resume ------------------------------------------------------------------------

    def suspend(self, run: Run) -> Steps[None]:
        """Put the run away: what was allowed and never dispatched is given back, the rest is durable."""
        with run.lock:
            if run.taken:
                raise run.over()
            if run.busy:
                raise EngineError(
                    f"calls of the run `{run.id}` are in flight",
                    run=run.id,
                    help="suspend it when they are done",
                )
            if run.suspended or run.ended or run.state.status != "running":
                return
            if run.children:
                # SECURITY: what goes on inside would be counted by a run that nobody asks any more.
                raise EngineError(
                    f"the run `{run.children[0].id}` inside of `{run.id}` goes on",
                    run=run.id,
                    help="suspend or end it first",
                )
            held = run.take_those(lambda _: True)
            for one in held:
                if not run.state.calls[one.key].tickets:
                    release(run, one, "not dispatched")
            run.suspend(tuple(run.state.open_tickets))
        yield from self._put_away(run)

    def _put_away(self, run: Run, *, hurry: bool = False) -> Steps[None]:
        """Make the run durable and give its session back."""
        journal = self._opening.ready.journal
        away = False
        try:
            if not hurry:
                yield from self._opening.durable(run=run.id)
        except StoreAwayError:
            away = True
            raise
        finally:
            self._opening.refunds.forget_run(run.id)
            released = None
            if self._no_longer_live(run):  # else another process has taken it over meanwhile
                _detach(run)
                self._memories.left(run)
                journal.close_run(run.id)
                if away:
                    self._opening.loop.submit(self._let_go_when_written(run))
                else:
                    released = self._let_go(run)
                    self.presence.leave()
        if released is not None and not hurry:
            yield from self._opening.within_patience(
                released, "did not release the session", run=run.id, bounded=True
            )

    async def _let_go_when_written(self, run: Run) -> None:
        """Keep the session until the log has what is queued: else the run would be taken for a dead one."""
        try:
            while True:
                with contextlib.suppress(StoreAwayError):  # the journal tries again by itself
                    await wrap_future(self._opening.ready.journal.flush())
                    return
        finally:
            self._let_go(run)
            self.presence.leave()

    def _still(self, run: Run) -> None:
        """Raise TakenOverError if the session was lost while the run began, or went on."""
        if not self._sessions.holds(run.session, run.holding):
            run.take_over()
            raise run.over()

    def _no_longer_live(self, run: Run) -> bool:
        """Take the run from the live ones; False: it was none."""
        with self._lock:
            return self._live.pop(run.id, None) is not None

    def _let_go(self, run: Run) -> "Future[Any] | None":
        assert run.holding is not None
        return self._sessions.let_go(run.session, run.holding)

    def resume(self, run_id: str, *, principal: Principal | None = None) -> Steps[Run]:
        """Go on with a run, from this process or another.

        Raises:
            DeniedError: Another principal than the one that began it.
            RunHaltedError: It is over, or it ended uncleanly and is over from now on.
            EngineError: It is unknown, or another living process holds its session.
        """
        yield from self.opened()
        yield from self._in_hand.take(run_id)
        try:
            return (yield from self._resumed(run_id, principal))
        finally:
            self._in_hand.give_back(run_id)

    def _resumed(self, run_id: str, principal: Principal | None) -> Steps[Run]:
        opened = self._opening.ready
        with self._lock:
            live = self._live.get(run_id)
        if live is not None:
            _same(live, live.principal, principal)
            return live
        yield from self._opening.durable(run=run_id)
        row: RunRow = yield from self._recorded.row(run_id)
        yield from self.presence.attend()
        try:
            holding = yield from self._sessions.lease(row.session)
        except BaseException:  # fails closed: it does not go on here
            self.presence.leave()
            raise
        mine = False
        try:
            row = yield from self._recorded.row(run_id)
            entries: list[Entry] = yield self._opening.submit(opened.log.read(run_id))
            run, leaf = yield from self._recorded.run(run_id, entries, around=self._around)
            _same(run, run.principal, principal)
            if row.status != "suspended":
                yield from self._bury(run)
                raise run.over()
            run.holding = holding
            with self.kills.beginning():
                orders = yield from self.kills.given(after=run.orders)
                opened.journal.open_run(run_id, seq=row.events, head=row.head, hiding=run.hiding)
                mine = True
                with run.lock:  # an order that comes now halts it after it has gone on
                    with self._lock:
                        self._live[run_id] = run
                    if run.parent is not None:
                        run.parent.check_live()  # SECURITY: nothing goes on inside of a run that is over
                        run.parent.children.append(run)
                        run.parent.started[run.id] = (run, self._begun_by(run))
                    run.append(RunResumed(self._sessions.holder))
                self._memories.live(run, dict(leaf.began), leaf.joined)
                # What runs from now on must not be taken for a run that is still put away.
                yield from self._opening.durable(run=run_id)
                self.kills.obey_again(run, orders)
            self._still(run)
        except BaseException as error:  # fails closed: it does not go on here
            if not mine or self._no_longer_live(run):  # else another process has taken it over meanwhile
                if mine:
                    self._back_to_sleep(run)
                    _detach(run)
                    opened.journal.close_run(run_id)
                if mine and isinstance(error, StoreAwayError):
                    self._opening.loop.submit(self._let_go_when_written(run))
                else:
                    self._sessions.let_go(row.session, holding)
                    self.presence.leave()
            if isinstance(error, RingfenceError) or not isinstance(error, Exception):
                raise
            raise store_error("could not read the run", error, run=run_id) from error
        return run

    def _back_to_sleep(self, run: Run) -> None:
        """Put a run away again that could not go on: the log may have its `RunResumed`, or get it yet."""
        with run.lock, contextlib.suppress(RingfenceError):  # a log that takes no more says how it is anyway
            if not run.suspended and not run.ended and run.state.status == "running":
                run.suspend(tuple(run.state.open_tickets))

    def _bury(self, run: Run) -> Steps[None]:
        """End a run whose process died, and take its end in."""
        yield from self._opening.within_patience(
            self._opening.submit(self.unclean.bury([run.id])), "could not end the run", run=run.id
        )
        late: list[Entry] = yield self._opening.submit(
            self._opening.ready.log.read(run.id, after_seq=run.state.seq)
        )
        for entry in late:
            run.fold(stamped(entry))

    def _begun_by(self, run: Run) -> str | None:
        """Return the call of the run around in which this one goes on."""
        inside = current_call()
        return inside[1] if inside and inside[0] is run.parent else None

    # ---- end ---------------------------------------------------------------------------------------

    def end(
        self,
        run: Run,
        asking: Asking,
        status: EndStatus = "done",
        error: str | None = None,
        *,
        hurry: bool = False,
    ) -> Steps[None]:
        """End the run: nothing of it stays in flight, open or reserved.

        Args:
            hurry: Record it and wait for no store: one that is away has been waited for already.
        """
        run.stop_flights()
        for child in tuple(run.children):
            yield from self.end(child, asking, "failed", "the run around it is over", hurry=hurry)
        with run.lock:
            if run.ended or run.suspended:
                return
        try:
            finished = yield from self.finish(run, asking, status, error, hurry=hurry)
        except EngineError as failure:
            if isinstance(failure, TakenOverError):
                run.take_over()
                self._lose(run)
            elif self._opening.is_open and self._opening.ready.journal.is_broken:
                self._lose(run)
            raise
        if finished:
            _detach(run)
            yield from self._put_away(run, hurry=hurry)

    def finish(
        self, run: Run, asking: Asking, status: EndStatus, error: str | None, *, hurry: bool = False
    ) -> Steps[bool]:
        """Give back all that the run holds and record its end; False: another was first to do something."""
        with run.lock:
            suspended = run.suspended
            if run.ended:
                return False
            self._give_back(run, asking)
        if not hurry:
            with contextlib.suppress(RingfenceError):  # only the record is less full; the ticket has it, too
                yield from asking.observe_all(run)
        if run.reserved and not hurry:
            # Before the record of the end, after which nobody looks at the run again: refunds are written
            # by then, and a dispatch that the ledger did not take does not hold its budget for ever.
            with contextlib.suppress(Exception):  # fails closed: it stays taken, which only refuses more
                yield from ledger.settle(self._opening, run.id, now_ns=run.now_ns())
        with run.lock:
            if run.ended or run.suspended != suspended:
                return False
            self._give_back(run, asking)
            for key in run.in_flight():
                run.append(CallFailed(key, "abandoned", "the run was ended", 0))
            halted = run.state.halted is not None
            said = (
                None
                if error is None
                else run.hide(error)[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()
            )
            run.append(RunEnded("halted" if halted else status, said))
        run.stop_flights()  # whoever began to wait meanwhile
        return True

    def _give_back(self, run: Run, asking: Asking) -> None:
        asking.withdraw_all(run, "the run is over", waiting_too=True)
        for one in run.take_those(lambda _: True):
            release(run, one, "not dispatched")
        release_all(run, "not dispatched")

    def end_all(self, asking: Asking) -> Steps[None]:
        """End the runs that are still live when the guard is closed."""
        first: Exception | None = None
        for run in tuple(self.live()) if self._opening.is_open else ():
            try:
                hurry = isinstance(first, StoreAwayError)  # closing takes bounded time, however many they are
                yield from self.end(run, asking, "failed", "the guard was closed", hurry=hurry)
            except Exception as error:  # the others are ended all the same; raised below
                first = first or error
        if self._opening.is_open:
            with contextlib.suppress(Exception):  # fails closed: it is waited for until its word has lapsed
                yield self._opening.submit(self.presence.close())
        if first is not None:
            raise first

    def _lose(self, run: Run) -> None:
        """Give up a run of which nothing more can be recorded here: whoever takes its session ends it."""
        if self._no_longer_live(run):
            run.ended = True
            run.stop_flights()
            self._opening.ready.journal.close_run(run.id)
            self._memories.forget(run.session)
            if run.parent is not None:
                run.parent.let_go_of(run)
                _halt_taken(run.parent)
            self._let_go(run)
            self.presence.leave()

    # ---- taken over --------------------------------------------------------------------------------

    async def _fence(self) -> None:
        """Give up the runs whose session another process has had while this one was silent."""
        lost = await self._sessions.lost(patience_s=self.presence.patience_s)
        if lost:
            # On a thread: it waits for the locks of runs, and whoever has one may wait for this loop.
            await wrap_future(run_in_worker(copy_context(), lambda: self._taken(lost)))

    def _taken(self, lost: frozenset[str]) -> None:
        """End here what goes on elsewhere, and record nothing more of it."""
        with self._lock:
            runs = [
                run
                for run in self._live.values()
                if run.session in lost and not self._sessions.holds(run.session, run.holding)
            ]
            for run in runs:
                del self._live[run.id]
        journal = self._opening.ready.journal
        for run in runs:
            run.take_over()
            # What is queued of it would stand where the other process has recorded its end.
            journal.drop_run(run.id)
            self.presence.leave()
        for session in lost:
            self._memories.forget(session)
        for run in runs:
            for inside in run.children:
                _halt_taken(inside)
            if run.parent is not None:
                # What it did last is not in the log, so whatever it gave cannot be told: that ends, too.
                run.parent.let_go_of(run)
                _halt_taken(run.parent)


def _halt_taken(run: Run) -> None:
    """Halt a run in whose tree another one was taken over."""
    if not run.taken:
        with contextlib.suppress(RingfenceError):  # stopped, even if the log cannot take it
            run.halt("taken over", by=None, detail="another process has a session of its tree")


def _principal(said: Principal | None) -> Principal:
    """Return the principal as the log will say it, so that it is the same after a restart."""
    if said is None:
        return Principal()
    if not isinstance(said, Principal):
        raise EngineError(
            "the principal of a run is a `Principal`", help='write `Principal(user="alice", workspace="w1")`'
        )
    for name in ("user", "workspace"):
        value = said.values.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise EngineError(
                f"`principal.{name}` is a text that is not empty", help="leave it out if it is not known"
            )
    return Principal(**jsonable(dict(said.values)))


def _same(run: Run, began: Principal, goes_on: Principal | None) -> None:
    if goes_on is not None and _shown(run, _principal(goes_on)) != _shown(run, began):
        raise DeniedError(
            "another principal may not go on with this run", run=run.id, help="start a run of its own for it"
        )


def _shown(run: Run, principal: Principal) -> Principal:
    """Return the principal as the record has it; a value that is hidden decides nothing."""
    return principal if run.hiding is None else Principal(**run.hiding.principal(dict(principal.values)))


def _detach(run: Run) -> None:
    """Take a run that is no longer live away from the run around it, which remembers what it did."""
    if run.parent is not None and not run.parent.ended:
        with contextlib.suppress(RingfenceError):  # a log that is broken lets nothing start any more
            run.parent.over_inside(run)
