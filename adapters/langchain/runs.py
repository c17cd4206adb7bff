"""Which run a tool call belongs to: the current one, the one bound around it, or the thread's.

No run is a denial: a guarded tool outside of any run does not execute.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from langchain_core.messages import AnyMessage

from ringfence.adapters.langchain.host_errors import HostErrors
from ringfence.adapters.langchain.prompts import Typed, contents_of, parts_of, typed_texts
from ringfence.adapters.langchain.suspension import can_suspend
from ringfence.adapters.langchain.tree import TREE, Binding, around, innermost, is_bubble
from ringfence.adapters.langchain.values import json_of
from ringfence.engine.binding.around import principal_of, run_around
from ringfence.engine.binding.origins import Origins, strict
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import RunStarted
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.run_block import AboutRun
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.versions import versions_of
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.seams.errors import DeniedError, EngineError, RunHaltedError

FRAMEWORK = "langchain"
PACKAGES = ("langchain", "langchain-core", "langgraph", "langgraph-prebuilt")
_MOST_THREADS = 10_000
LEFT_BEHIND_S = 2.0
"""How long a graph that goes on waits for what its last invocation left behind on threads."""
_LOOK_AGAIN_S = 0.01


class NoRunError(DeniedError):
    """A guarded tool was called outside of any run."""

    code = "no run"

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"no run: `{tool}` was called outside of any run",
            help="use it with `guard.run(...)`, in a graph with `begin_node`, or with `GuardMiddleware`",
        )


@dataclass(slots=True)
class Live:
    """A run of this process that has not ended."""

    run: Run
    can_go_on: bool
    """True if a checkpointer keeps its graph."""
    instructed: set[str] = field(default_factory=set)
    """The system prompts that are in its record."""
    asked: bool = False
    """True if a call waits for people and its graph is being put away."""


class Runs:
    """The runs of one guard, as invocations of graphs begin, put away, take up and end them."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._origins = Origins(guard, contents_of, words=["withdrawn"])
        self._lock = threading.RLock()
        self._live: dict[str, Live] = {}
        self._threads: OrderedDict[tuple[str, str], str] = OrderedDict()
        """By thread and, for a graph inside of another one's run, where that stands in its graph."""
        self._successors: OrderedDict[str, str] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        """Those that ended last; an end is for good, so no store is asked about them again."""
        self.errors = HostErrors()

    # ---- begin and end -----------------------------------------------------------------------------

    def begin(
        self,
        config: Mapping[str, Any] | None,
        *,
        principal: Principal | None,
        agent: str | None,
        session: str | None = None,
        messages: Sequence[AnyMessage] = (),
        typed: Typed = None,
        resume_of: str | None = None,
    ) -> Run:
        """Begin a run at the invocation of `config`; inside a tool body it is a run of the current one.

        Args:
            messages: Those that are there at its beginning.
            typed: What of them the user typed.
        """
        run = self.guard.begin_run(**self._about(config, principal, agent, session, resume_of))
        self._begun(run, config, messages, typed)
        return run

    async def abegin(
        self,
        config: Mapping[str, Any] | None,
        *,
        principal: Principal | None,
        agent: str | None,
        session: str | None = None,
        messages: Sequence[AnyMessage] = (),
    ) -> Run:
        """Like `begin`, in the event loop, where `takes_time` is false; what a person said was typed."""
        run = await self.guard.abegin_run(**self._about(config, principal, agent, session, None))
        self._begun(run, config, messages, "human")
        return run

    def _about(
        self,
        config: Mapping[str, Any] | None,
        principal: Principal | None,
        agent: str | None,
        session: str | None,
        resume_of: str | None,
    ) -> AboutRun:
        thread = thread_of(config)
        parent = run_around(self.guard)
        if principal is None and parent is not None:
            # SECURITY: who asked for the run around it is the requester here too, and may not approve.
            principal = parent.principal
        return AboutRun(
            principal=principal,
            agent=agent,
            session=session or (parent.session if parent else thread),
            framework=FRAMEWORK,
            versions=versions_of(*PACKAGES),
            external_id=thread,
            resume_of=resume_of,
            parent=parent,
        )

    def _begun(
        self, run: Run, config: Mapping[str, Any] | None, messages: Sequence[AnyMessage], typed: Typed
    ) -> None:
        run.take_note(json_of(message) for message in messages)
        is_strict = strict(self.guard.plan)
        said = typed_texts(typed if is_strict else typed or "human", messages)
        self._origins.typed(run, said)
        if is_strict:
            self._origins.brought(run, said, parts_of(messages))
        self._bind(run, config)

    def takes_time(self) -> bool:
        """Say whether a run begins and ends with a look at the log, or a search: not in an event loop."""
        return strict(self.guard.plan) or bool(self.guard.opening.secrets)

    def is_over(self, run_id: str) -> bool:
        """Say whether it is known here that a run has ended."""
        return self._latest(run_id) in self._over

    def close(self, run_id: str, said: tuple[str, ...] = (), messages: Sequence[AnyMessage] = ()) -> None:
        """End a run; what the user has `said` since then withdraws its open questions.

        Args:
            messages: All that the model has been shown.
        """
        if self.is_over(run_id):
            return
        with self._lock:
            live = self._live.pop(self._latest(run_id), None)
            run = live.run if live else None
            if run is None or run.suspended:
                try:
                    run = self.guard.resume_run(self._latest(run_id))
                except (DeniedError, RunHaltedError):
                    self._has_ended(self._latest(run_id))
                    return  # or ended uncleanly, and is now recorded as halted
            run.take_note(json_of(message) for message in messages)
            if run.state.open_tickets and not strict(self.guard.plan):  # else it stands in the next run
                self._origins.give(run, "user", "\n".join(said))
            if not run.ended:
                self.guard.end_run(run)
            self._has_ended(run.id)

    async def aclose(self, run_id: str) -> None:
        """Like `close`, in the event loop, where that waits for nothing but the record."""
        with self._lock:
            live = self._live.get(self._latest(run_id))
            if live is None or self.takes_time() or live.run.suspended or live.run.state.open_tickets:
                live = None
            else:
                del self._live[live.run.id]
        if live is None:
            await asyncio.to_thread(self.close, run_id)
            return
        try:
            if not live.run.ended:
                await self.guard.aend_run(live.run)
        except BaseException:  # fails closed: the end of the invocation ends it
            with self._lock:
                self._live.setdefault(live.run.id, live)
            raise
        self._has_ended(live.run.id)

    def _has_ended(self, run_id: str) -> None:
        self._over[run_id] = None
        if len(self._over) > _MOST_THREADS:
            self._over.popitem(last=False)

    # ---- find --------------------------------------------------------------------------------------

    def is_under_way(self, config: Mapping[str, Any] | None) -> bool:
        """Say whether a run is bound around `config`, or is the thread's and may go on."""
        if TREE.bound(around(config), self.guard) is not None:
            return True
        return self.open_run_of(config) is not None

    def is_around(self, run_id: str, config: Mapping[str, Any] | None) -> bool:
        """Say whether what `config` is made in stands inside of this run: a graph in a tool, or in a node."""
        runs = [binding.run for binding in TREE.all_outside(around(config), self.guard)]
        run = current_run()
        while run is not None:
            runs.append(run)
            run = run.parent
        return run_id in {one.id for one in runs}

    def of_tool(self, tool: str, config: Mapping[str, Any] | None) -> Run:
        """Return the run that a tool call belongs to.

        Raises:
            NoRunError: There is none.
        """
        current = current_run()
        if current is not None and (current.ended or not self.guard.owns(current)):
            # SECURITY: a run under another guard would have its policy decide, not the one of this tool.
            current = None
        run = innermost(around(config), current, self.guard)
        if run is not None:
            return run
        run_id = self.open_run_of(config)
        if run_id is None:
            raise NoRunError(tool)
        runtime = ((config or {}).get("configurable") or {}).get("__pregel_runtime")
        principal = principal_of(getattr(runtime, "context", None), self.guard.plan)
        return self.go_on(run_id, config, principal=principal)

    def of_graph(self, config: Mapping[str, Any] | None) -> str | None:
        """Return the run that is bound to the very graph that `config` is made in, and to none around it."""
        found = TREE.bound(around(config), self.guard)
        # SECURITY: the run of an agent around this one holds more, and is not this one's.
        if found is None or any(one is found for one in TREE.all_outside(around(config), self.guard)):
            return None
        return found.run.id

    def at_hand(self, run_id: str, config: Mapping[str, Any] | None) -> Run | None:
        """Return the run if it is already bound around `config`; nothing is asked and nobody waited for."""
        binding = TREE.bound(around(config), self.guard)
        if binding is None or binding.run.ended or binding.run.id != self._latest(run_id):
            return None
        return binding.run

    def go_on(
        self,
        run_id: str,
        config: Mapping[str, Any] | None,
        *,
        principal: Principal | None = None,
        agent: str | None = None,
        messages: Sequence[AnyMessage] = (),
    ) -> Run:
        """Return the run `run_id` for the invocation of `config`, taking it up if it was put away.

        A run that had ended and whose graph goes on all the same (a fork, a retry after an error) gets a
        successor that is charged anew.

        Raises:
            DeniedError: The principal is not the one of the run.
            RunHaltedError: The run was halted.
            EngineError: Another invocation goes on with the run, or it cannot be taken up here.
        """
        found = self.at_hand(run_id, config)
        if found is not None:
            return found
        self._wait_for_left_behind(run_id)
        with self._lock:
            found = self.at_hand(run_id, config)
            if found is not None:
                return found
            if TREE.is_over(around(config)):
                # SECURITY: a thread that its graph has left behind would take the run up again, and what the
                # graph then makes anew would be a second call.
                raise DeniedError("the graph that made the call has ended", run=run_id)
            latest = self._latest(run_id)
            live = self._live.get(latest)
            if live is not None and live.asked and not live.run.ended:
                self._put_away(live)  # the host let go of its stream before the graph had ended
            elif live is not None and TREE.is_bound_elsewhere(live.run, around(config)):
                # Both would go on from one saved state: each uses up what the other was allowed.
                raise EngineError(
                    f"the graph of the run `{latest}` goes on already, in another invocation",
                    run=latest,
                    help="wait until that has ended, or close its stream",
                )
            try:
                run = self.guard.resume_run(latest, principal=principal)
            except RunHaltedError as error:
                if error.reason is not None:  # it was halted, and stays so
                    raise
                run = self._succeed(latest, config, principal, agent)
            if run.ended and run.state.halted is None:  # it ends in this very moment
                run = self._succeed(latest, config, principal, agent)
            # Another process may have put it away: what was hidden there is hidden here again.
            run.take_note(json_of(message) for message in messages)
            self._bind(run, config)
            return run

    def instructed(self, run: Run, text: str) -> None:
        """Record, once, what the developer's system prompt says, where the policy asks for sources."""
        if not text or not strict(self.guard.plan):
            return
        with self._lock:
            live = self._live.get(run.id)
            if live is None or text in live.instructed:
                return
            live.instructed.add(text)
        self._origins.give(run, "system", text)

    def wait_for_others(self, run: Run, tool: UUID | None) -> None:
        """Let what else of the turn is under way end, for a moment: what puts a graph away leaves it behind.

        A run that is still busy then cannot be put away, which the host is told.

        Args:
            tool: The invocation of the tool that waits for people.  One that began beside it may not have
                reached the guard yet.
        """
        TREE.waits(tool)
        until_s = time.monotonic() + LEFT_BEHIND_S
        while _is_at_work(run, tool) and time.monotonic() < until_s and not _inside_a_loop():
            time.sleep(_LOOK_AGAIN_S)

    async def await_others(self, run: Run, tool: UUID | None) -> None:
        """Like `wait_for_others`."""
        TREE.waits(tool)
        until_s = time.monotonic() + LEFT_BEHIND_S
        while _is_at_work(run, tool) and time.monotonic() < until_s:  # noqa: ASYNC110 - it is ended from threads too
            await asyncio.sleep(_LOOK_AGAIN_S)

    def asked(self, run: Run) -> None:
        """Note that a call of `run` waits for people: when its graph stops, the run is put away."""
        with self._lock:
            # It may have been put away by now: a sibling on another thread asks as well.
            self._live.setdefault(run.id, Live(run, True)).asked = True

    def _succeed(
        self, run_id: str, config: Mapping[str, Any] | None, principal: Principal | None, agent: str | None
    ) -> Run:
        began: RunStarted = self.guard.runs.get(run_id).started
        was = Principal(**began.principal)
        # The record has no more of it than may be written down.
        shown = (
            None if principal is None else Hiding(self.guard.opening.secrets).value(dict(principal.values))
        )
        if shown is not None and Principal(**shown) != was:
            raise DeniedError(
                f"the run `{run_id}` was begun for another principal", run=run_id, help="begin a new run"
            )
        run = self.guard.begin_run(
            principal=was if principal is None else principal,
            agent=agent or began.agent,
            session=began.session,
            framework=FRAMEWORK,
            versions=versions_of(*PACKAGES),
            external_id=thread_of(config),
            resume_of=run_id,
        )
        self._successors[run_id] = run.id
        if len(self._successors) > _MOST_THREADS:
            self._successors.popitem(last=False)
        return run

    def _latest(self, run_id: str) -> str:
        while run_id in self._successors:
            run_id = self._successors[run_id]
        return run_id

    def open_run_of(self, config: Mapping[str, Any] | None) -> str | None:
        """Return the run that this process began where `config` is made, or on its thread.

        Else it is the one of the thread that another process put away.
        """
        thread = thread_of(config)
        if thread is None:
            return None
        place = _place_of(config)
        with self._lock:
            while place:
                if (known := self._threads.get((thread, place))) is not None:
                    return known
                place = place.rpartition("|")[0]
            known = self._threads.get((thread, ""))
        if known is not None:
            return known
        rows = self.guard.runs.list(session=thread, limit=1)
        return rows[0].run if rows and rows[0].status == "suspended" else None

    # ---- the ends of invocations -------------------------------------------------------------------

    def _bind(self, run: Run, config: Mapping[str, Any] | None) -> None:
        thread = thread_of(config)
        with self._lock:
            self._live[run.id] = Live(run, can_suspend(config))
            if thread is not None:
                # The run of a graph inside of another one's is not the thread's.
                is_inside = run.parent is not None or TREE.all_outside(around(config), self.guard)
                place = (thread, _place_of(config) if is_inside else "")
                self._threads[place] = run.id
                self._threads.move_to_end(place)
                if len(self._threads) > _MOST_THREADS:
                    self._threads.popitem(last=False)
        TREE.bind(around(config), Binding(self.guard, run, self._invocation_ended))

    def _invocation_ended(self, run: Run, error: BaseException | None) -> None:
        """End the run, or put it away where its graph can go on: its counters must not begin anew."""
        self._wait_for_left_behind(run.id)
        with self._lock:
            if error is None or is_bubble(error):
                self.errors.paused(run.id)
            live = self._live.get(run.id)
            if run.ended or live is None:
                self._live.pop(run.id, None)
                return
            lost = error is not None and run.parent is not None and not is_bubble(error)
            if live.can_go_on and not lost and run.state.halted is None:
                self._put_away(live)
                return
            del self._live[run.id]
            told = None if error is None else f"{type(error).__name__}: {error}"
            self.guard.end_run(run, "done" if error is None else "failed", told)
            self._has_ended(run.id)

    def _wait_for_left_behind(self, run_id: str) -> None:
        """Wait a moment for what the run's last graph has left behind on threads; nobody else waits.

        In an event loop only for what is being decided, which takes no longer than the store, and for no
        body.  If it takes longer, putting the run away says so, and the host may go on with the graph later.
        """
        until_s = time.monotonic() + LEFT_BEHIND_S
        while (live := self._live.get(self._latest(run_id))) is not None and live.asked and live.run.busy:
            futile = _inside_a_loop() and not live.run.is_decided_elsewhere()
            if futile or time.monotonic() >= until_s:
                return
            time.sleep(_LOOK_AGAIN_S)

    def _put_away(self, live: Live) -> None:
        if not live.run.suspended and live.run.state.halted is None:
            live.asked = True  # until it is put away: what is in flight still may keep it here
            self.guard.suspend(live.run)
        live.asked = False
        if live.run.suspended:  # the record has all of it; nobody may ever go on with the graph
            self._live.pop(live.run.id, None)


def _is_at_work(run: Run, tool: UUID | None) -> bool:
    return run.busy or TREE.has_others_at_work(tool)


def _inside_a_loop() -> bool:
    """Say whether this thread runs an event loop: one that waits here holds up what it waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_RUNS: "WeakKeyDictionary[Guard, Runs]" = WeakKeyDictionary()
_RUNS_LOCK = threading.Lock()


def runs_of(guard: Guard) -> Runs:
    """Return the runs of `guard`: one register, however many middlewares and tools share it."""
    with _RUNS_LOCK:
        found = _RUNS.get(guard)
        if found is None:
            found = _RUNS[guard] = Runs(guard)
        return found


def guard_of(run: Run) -> Guard | None:
    """Return the guard of a run, if a tool or a middleware of this process knows it."""
    with _RUNS_LOCK:
        return next((guard for guard in _RUNS if guard.owns(run)), None)


def thread_of(config: Mapping[str, Any] | None) -> str | None:
    """Return the thread that a config names, or None."""
    thread = ((config or {}).get("configurable") or {}).get("thread_id")
    return None if thread is None else str(thread)


def _place_of(config: Mapping[str, Any] | None) -> str:
    """Return LangGraph's name for the graph that a config is made in; the outermost has none."""
    return str(((config or {}).get("configurable") or {}).get("checkpoint_ns") or "").rpartition("|")[0]


def attempt_of(config: Mapping[str, Any] | None, node_attempt: int) -> str | None:
    """Return what differs each time a task is executed: the host's invocation and the node's retry."""
    root = TREE.root(around(config))
    return None if root is None else f"{root}/{node_attempt}"
