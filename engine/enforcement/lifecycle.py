"""Runs begin, are put away, go on and end; one living process holds a session at a time."""

import json
import secrets
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final, Literal

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import (
    PromptGiven,
    RunEnded,
    RunHalted,
    RunResumed,
    RunStarted,
    Stamped,
    SubrunStarted,
    event_of,
)
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.deciding import release
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.kills import Kills
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tickets import Asking
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import DeniedError, EngineError, RunHaltedError
from ringfence.engine.seams.ports import Entry, RunRow

EndStatus = Literal["done", "failed", "halted"]
_HOLDER: Final = secrets.token_hex(8)
_TEXT_AT_MOST: Final = 500


class Lifecycle:
    """The runs that this process lives."""

    def __init__(self, plan: Plan, opening: Opening, replan: Callable[[str, str], Plan]) -> None:
        self._plan = plan
        self._opening = opening
        self._replan = replan
        self._lock = threading.Lock()
        self._live: dict[str, Run] = {}
        self.holder = f"{_HOLDER}-{secrets.token_hex(4)}"
        self.kills = Kills(opening, self.live)

    def live(self) -> Iterable[Run]:
        """Return the runs that this process lives, suspended ones left out."""
        with self._lock:
            return tuple(self._live.values())

    # ---- begin -------------------------------------------------------------------------------------

    def begin(
        self,
        *,
        principal: Principal | None = None,
        agent: str | None = None,
        session: str | None = None,
        prompt: Any = None,
        capabilities: Iterable[str] | None = None,
        framework: str = "python",
        external_id: str | None = None,
        resume_of: str | None = None,
        parent: "Run | str | None" = None,
    ) -> Steps[Run]:
        """Begin a run; its first event is on its way to the log when this returns."""
        opened = yield from self._opening.opened()
        name = self._agent(agent)
        around = self._around(parent)
        holds = self._holds(name, capabilities, around)
        principal = principal if principal is not None else Principal()
        run = Run(f"run-{secrets.token_hex(8)}", self._plan, principal, self._opening)
        run.secret = secrets.token_bytes(32)
        session_id = session if session is not None else run.id
        yield from self._lease(session_id)
        head: str | None = None
        try:
            if session is not None:
                found: list[RunRow] = yield self._opening.submit(opened.log.runs(session=session, limit=1))
                head = found[0].head.hex() if found else None
            opened.journal.open_run(run.id)
            run.begin(
                RunStarted(
                    session=session_id,
                    session_head=head,
                    agent=name,
                    principal=jsonable(dict(principal.values)),
                    capabilities=holds,
                    policy=self._plan.policy,
                    policy_digest=self._plan.digest,
                    policy_text=self._plan.text,
                    mode="enforce",
                    framework=framework,
                    external_id=external_id,
                    resume_of=resume_of,
                    parent=around.id if around is not None else parent if isinstance(parent, str) else None,
                    policy_file=self._plan.file,
                )
            )
        except BaseException as error:  # fails closed: there is no run
            self._let_go(session_id)
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            raise store_error("could not begin the run", error) from error
        with self._lock:
            self._live[run.id] = run
        if around is not None:
            self._attach(run, around)
        if prompt is not None:
            run.append(PromptGiven("user", jsonable(prompt)))
        self.kills.watch()
        return run

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
            run.parent = around
            around.children.append(run)
            around.append(SubrunStarted(run.id, inside[1] if inside and inside[0] is around else None))

    # ---- the session's lease -----------------------------------------------------------------------

    def _lease(self, session: str) -> Steps[None]:
        try:
            other: str | None = yield self._opening.submit(
                self._opening.ready.control.lease(session, self.holder)
            )
        except Exception as error:  # fails closed: two processes must never decide for one session
            raise store_error("could not lease the session", error) from error
        if other is not None:
            raise EngineError(
                f"another living process holds the session `{session}`",
                help="one process decides for a session at a time: end or suspend its run there",
            )

    def _let_go(self, session: str) -> "Future[None] | None":
        with self._lock:
            if any(run.session == session for run in self._live.values()):
                return None
        return self._opening.submit(self._opening.ready.control.release(session, self.holder))

    # ---- suspend and resume ------------------------------------------------------------------------

    def suspend(self, run: Run) -> Steps[None]:
        """Put the run away: what was allowed and never dispatched is given back, the rest is durable."""
        with run.lock:
            if run.flights:
                raise EngineError(
                    f"calls of the run `{run.id}` are in flight",
                    run=run.id,
                    help="suspend it when they are done",
                )
            if run.suspended or run.ended or run.state.status != "running":
                return
            held, run.held = list(run.held.values()), {}
            for one in held:
                if not run.state.calls[one.key].tickets:
                    release(run, one, "not dispatched")
            run.suspend(tuple(run.state.open_tickets))
        yield from self._put_away(run)

    def _put_away(self, run: Run) -> Steps[None]:
        """Make the run durable and give its session back."""
        journal = self._opening.ready.journal
        try:
            yield from self._opening.durable(run=run.id)
        finally:
            with self._lock:
                self._live.pop(run.id, None)
            journal.close_run(run.id)
            released = self._let_go(run.session)
        if released is not None:
            yield from self._opening.within_patience(released, "did not release the session", run=run.id)

    def resume(self, run_id: str, *, principal: Principal | None = None) -> Steps[Run]:
        """Go on with a run, from this process or another.

        Raises:
            DeniedError: Another principal than the one that began it.
            RunHaltedError: It is over, or it ended uncleanly and is over from now on.
            EngineError: It is unknown, or another living process holds its session.
        """
        opened = yield from self._opening.opened()
        with self._lock:
            live = self._live.get(run_id)
        if live is not None:
            _same(live.principal, principal, run_id)
            return live
        yield from self._opening.durable(run=run_id)
        row: RunRow = yield from self._row(run_id)
        yield from self._lease(row.session)
        try:
            row = yield from self._row(run_id)
            entries: list[Entry] = yield self._opening.submit(opened.log.read(run_id))
            run = self._rebuilt(run_id, entries)
            _same(run.principal, principal, run_id)
            if row.status != "suspended":
                if row.status == "running":
                    yield from self._unclean(run, row)
                raise run.over()
            orders = yield from self.kills.given()
            opened.journal.open_run(run_id, seq=row.events, head=row.head)
            with self._lock:
                self._live[run_id] = run
            run.append(RunResumed(self.holder))
            for order in orders:
                self.kills.obey(order)
        except BaseException as error:  # fails closed: it does not go on here
            if run_id not in {one.id for one in self.live()}:
                self._let_go(row.session)
            if not isinstance(error, Exception) or isinstance(
                error, DeniedError | RunHaltedError | EngineError
            ):
                raise
            raise store_error("could not read the run", error, run=run_id) from error
        self.kills.watch()
        return run

    def _row(self, run_id: str) -> Steps[RunRow]:
        try:
            row: RunRow | None = yield self._opening.submit(self._opening.ready.log.run(run_id))
        except Exception as error:  # fails closed
            raise store_error("could not find the run", error, run=run_id) from error
        if row is None:
            raise EngineError(f"there is no run `{run_id}`", run=run_id, help="see `ringfence runs`")
        return row

    def _rebuilt(self, run_id: str, entries: list[Entry]) -> Run:
        """Fold the run's events again, under the policy that it began with."""
        stamped = [_stamped(entry) for entry in entries]
        first = stamped[0].event if stamped else None
        if not isinstance(first, RunStarted):
            raise EngineError(f"the record of the run `{run_id}` has no beginning", run=run_id)
        plan = (
            self._plan
            if first.policy_digest == self._plan.digest
            else self._replan(first.policy_text, first.policy_file)
        )
        if plan.digest != first.policy_digest:
            raise EngineError(
                f"the policy of the run `{run_id}` cannot be made again from its record",
                run=run_id,
                help="resume it with the version of Ringfence that began it, or start a new run",
            )
        run = Run(run_id, plan, Principal(**first.principal), self._opening)
        run.secret = secrets.token_bytes(32)
        run.begin_from(stamped[0])
        for one in stamped[1:]:
            run.fold(one)
        return run

    def _unclean(self, run: Run, row: RunRow) -> Steps[None]:
        """Halt a run whose process died: what it did last is not known."""
        journal = self._opening.ready.journal
        journal.open_run(run.id, seq=row.events, head=row.head)
        try:
            run.append(RunHalted("unclean end", None, "the process that ran it is gone"))
            yield from self._opening.durable(run=run.id)
        finally:
            journal.close_run(run.id)

    # ---- end ---------------------------------------------------------------------------------------

    def end(
        self, run: Run, asking: Asking, status: EndStatus = "done", error: str | None = None
    ) -> Steps[None]:
        """End the run: nothing of it stays in flight, open or reserved."""
        run.stop_flights()
        with run.lock:
            if run.ended or run.suspended:
                return
            asking.withdraw_all(run, "the run is over")
            held, run.held = list(run.held.values()), {}
            for one in held:
                release(run, one, "not dispatched")
            halted = run.state.halted is not None
            said = (
                None if error is None else error[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()
            )
            run.append(RunEnded("halted" if halted else status, said))
        if run.parent is not None and run in run.parent.children:
            run.parent.children.remove(run)
        yield from self._put_away(run)

    def end_all(self, asking: Asking) -> Steps[None]:
        """End the runs that are still live when the guard is closed."""
        first: Exception | None = None
        for run in tuple(self.live()) if self._opening.is_open else ():
            try:
                yield from self.end(run, asking, "failed", "the guard was closed")
            except Exception as error:  # the others are ended all the same; raised below
                first = first or error
        if first is not None:
            raise first


def _same(began: Principal, goes_on: Principal | None, run_id: str) -> None:
    if goes_on is not None and goes_on != began:
        raise DeniedError(
            "another principal may not go on with this run", run=run_id, help="start a run of its own for it"
        )


def _stamped(entry: Entry) -> Stamped:
    if entry.body is None:
        raise EngineError("the record of the run was purged", run=entry.run, help="start a new run")
    return Stamped(entry.seq, entry.at_ns, event_of(entry.kind, json.loads(entry.body)))
