"""What the engine asks of plugins, each question failing in its own direction.

Our own loop, not pluggy's: pluggy stops at the first exception, and one broken observer must not keep
events from the others.  How a plugin is awaited, and what happens if it misbehaves, stands in
`engine.seams.bounded`.  All coroutines here run on the engine's loop.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ringfence.dsl.plan import Plan
from ringfence.engine.seams.answerers import Answerer, answerers
from ringfence.engine.seams.bounded import PluginError, bounded
from ringfence.engine.seams.chosen import chosen
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.executors import KnownExecutor, executor_of
from ringfence.engine.seams.hookspecs import Answers, ApprovalBackend, AuditSink, Event, Question
from ringfence.engine.seams.isolates import Lockdown
from ringfence.engine.seams.observer import Observer, Report
from ringfence.engine.seams.ports import Entry, EventLog, Store
from ringfence.engine.seams.registry import PluginRow, Registry
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.stores import store_of

_log = logging.getLogger("ringfence")

DEFAULT_BACKEND = "terminal"
"""Asked where `[approvals]` names none, if a plugin brings it."""


def _unheard(sink: str, lost: int, why: str) -> None:
    """Report to nobody."""


class _Past:
    """The log as sinks read it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def read(self, run: str, *, after_seq: int = 0, limit: int = 250) -> Sequence[Event]:
        """Return events of a run in their order."""
        return [Event.of(entry) for entry in await self._log.read(run, after_seq=after_seq, limit=limit)]


class Extensions:
    """Store, sinks and approval backends of one guard, as its settings choose them."""

    def __init__(
        self, settings: Settings, registry: Registry, *, on_observer_failure: Report = _unheard
    ) -> None:
        """Make sinks and backends; nothing is opened yet.

        Raises:
            SettingsError: Everything that is wrong with plugins and their settings.
        """
        registry.check()
        self._settings = settings
        self._registry = registry
        self._report = on_observer_failure
        picked = chosen(settings, registry, default_backend=DEFAULT_BACKEND)
        self._required = picked.required
        self._observers = tuple(
            Observer(
                sink,
                most=settings.limits.observer_events,
                seconds=seconds,
                report=on_observer_failure,
            )
            for sink, seconds in picked.observers
        )
        self._backends = picked.backends
        self._routes = picked.routes
        self._stuck: dict[str, asyncio.Task[Any]] = {}
        self._opened: list[AuditSink | ApprovalBackend] = []
        self._isolates: KnownExecutor | None = None
        self._prewarmed: tuple[tuple[Lockdown, int], ...] = ()
        self._warming: asyncio.Task[None] | None = None

    @classmethod
    def assemble(
        cls,
        settings: Settings,
        *,
        builtins: Mapping[str, object],
        plugins: Sequence[object] = (),
        on_observer_failure: Report = _unheard,
    ) -> Self:
        """Load the plugins that may load, and make what the settings choose.

        Args:
            settings: The deployment's settings.
            builtins: Ringfence's own plugins by name.
            plugins: Plugin objects that the host hands over.
            on_observer_failure: Told on the engine's loop when an observer begins to fail.

        Raises:
            SettingsError: Everything that is wrong with plugins and their settings.
        """
        registry = Registry(allowed=settings.plugins, builtins=builtins, extra=plugins, where=settings.where)
        return cls(settings, registry, on_observer_failure=on_observer_failure)

    @property
    def wants_events(self) -> bool:
        """False if no sink is configured: then `write` has nothing to do."""
        return bool(self._required or self._observers)

    @property
    def observer_losses(self) -> Mapping[str, int]:
        """Events that each observer did not get."""
        return {observer.sink.name: observer.lost for observer in self._observers}

    def plugins_report(self) -> list[PluginRow]:
        """Return what `ringfence plugins` shows."""
        return self._registry.rows

    # ---- functions -------------------------------------------------------------------------------

    def answerers(self, plan: Plan) -> tuple[Mapping[str, Answerer], list[str]]:
        """Return who answers the questions of a plan's conditions, and what is wrong with the others."""
        return answerers(plan, self._registry)

    def installed(self, name: str) -> bool:
        """Say whether there is an active plugin, a redactor of one, or who runs isolates, of this name."""
        return self._registry.installed(name)

    # ---- isolates --------------------------------------------------------------------------------

    def prewarm(self, plan: Plan) -> None:
        """Have what the plan's isolated tools need made ready when this is opened."""
        isolated = [tool.isolated.isolate for tool in plan.tools.values() if tool.isolated is not None]
        used = [plan.isolates[name] for name in dict.fromkeys(isolated)]
        self._prewarmed = tuple(dict.fromkeys((one.lockdown, one.memory_bytes) for one in used))

    @property
    def known_isolates(self) -> KnownExecutor | None:
        """What runs isolates, if it was made already."""
        return self._isolates

    def isolates(self) -> KnownExecutor:
        """Return what runs isolates, made at the first call; on the engine's loop.

        Raises:
            EngineError: There is none, or its plugin failed.  Nothing runs then.
        """
        if self._isolates is None:
            self._isolates = KnownExecutor(executor_of(self._registry, self._settings))
        return self._isolates

    # ---- stores ----------------------------------------------------------------------------------

    def open_store(self, url: str | None = None) -> Store:
        """Return the settings' store, not yet opened; `url` stands in the place of their `store`.

        With the setting `ledger` it is two: events, tickets and leases in the one, budgets and orders to
        stop in the other.

        Raises:
            SettingsError: No plugin, or more than one, takes a URL.
            EngineError: The plugin failed.
        """
        return store_of(self._settings, self._registry, url)

    # ---- from start to end -----------------------------------------------------------------------

    async def open(self) -> None:
        """Open the required sinks and the backends; raise EngineError and close again if one fails.

        Observers open themselves when there is something to observe: a hanging one holds nobody up.
        """
        for sink, seconds in self._required:
            await self._open_one(sink, f"required sink `{sink.name}`", seconds)
        for name, backend in self._backends.items():
            await self._open_one(backend, f"approval backend `{name}`", self._settings.limits.backend_s)
        if self._prewarmed:
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    def take_log(self, log: EventLog) -> None:
        """Say which log the sinks may read; before they are opened."""
        for sink in (*(one for one, _ in self._required), *(observer.sink for observer in self._observers)):
            sink.past = _Past(log)

    async def _warm(self) -> None:
        """Make ready what isolated tools will need; whoever calls one is told what failed."""
        try:
            isolates = self.isolates()
            for lockdown, memory_bytes in self._prewarmed:
                isolates.prewarm(lockdown, memory_bytes)
            for lockdown in dict.fromkeys(lockdown for lockdown, _ in self._prewarmed):
                await isolates.check(lockdown)
        except EngineError as error:  # nothing is opened by it: each call asks again
            _log.warning("isolated tools will be refused: %s", error)
        except Exception:  # the same, from a plugin
            _log.warning("isolated tools will be refused: what runs isolates failed", exc_info=True)

    async def _open_one(self, extension: AuditSink | ApprovalBackend, what: str, seconds: float) -> None:
        try:
            self._opened.append(extension)
            await bounded(extension.open, seconds=seconds)
        except PluginError as error:  # a gate: fails closed
            await self.close()
            raise EngineError(
                f"{what} cannot be opened: {error}", help="no call can be decided without it"
            ) from error

    async def close(self) -> None:
        """Close everything, each within its time; failures are reported, not raised.  Safe to call twice."""
        await asyncio.gather(*(observer.close() for observer in self._observers))
        warming, self._warming = self._warming, None
        if warming is not None and warming.get_loop() is asyncio.get_running_loop():
            warming.cancel()
        isolates, self._isolates = self._isolates, None
        if isolates is not None:
            try:
                await bounded(isolates.close, seconds=self._settings.limits.backend_s)
            except PluginError as error:  # its workers end with this process
                self._report("isolates", 0, f"close: {error}")
        opened, self._opened = self._opened, []
        limits = self._settings.limits
        for extension in opened:
            seconds = limits.sink_s if isinstance(extension, AuditSink) else limits.backend_s
            try:
                await bounded(extension.close, seconds=seconds)
            except PluginError as error:  # what was written is durable; there is nothing left to refuse
                self._report(extension.name, 0, f"close: {error}")

    # ---- sinks -----------------------------------------------------------------------------------

    async def write(self, entries: Sequence[Entry]) -> None:
        """Hand entries that are durable in the log to the sinks; required ones first.

        One caller at a time: the journal's own task.

        Raises:
            EngineError: A required sink failed or was late.  Observers have then not been told.
        """
        if not entries or not self.wants_events:
            return
        events = tuple(Event.of(entry) for entry in entries)
        for sink, seconds in self._required:
            await self._write_required(sink, events, seconds)
        for observer in self._observers:
            observer.offer(events)

    async def _write_required(self, sink: AuditSink, events: Sequence[Event], seconds: float) -> None:
        try:
            if (stuck := self._stuck.get(sink.name)) is not None and not stuck.done():
                # INVARIANT: calls of one sink never overlap, not even with one that would not be cancelled.
                raise PluginError("an earlier write has not ended")
            await bounded(lambda: sink.write(events), seconds=seconds)
        except PluginError as error:  # fails closed: what is not recorded there must not happen
            if error.task is not None:
                self._stuck[sink.name] = error.task
            raise EngineError(
                f"required sink `{sink.name}` failed: {error}",
                help=f"mend the sink, or set `required = false` in [sinks.{sink.name}]",
            ) from error

    # ---- approval backends -----------------------------------------------------------------------

    def take_answers(self, answers: Answers) -> None:
        """Say where the backends hand answers in; before they are opened."""
        for backend in self._backends.values():
            backend.answers = answers

    def asks(self, group: str | None) -> bool:
        """Say whether a question of this group is delivered to anybody."""
        return bool(self._route(group))

    @property
    def withdraws(self) -> bool:
        """True if there is anybody who is told that a question was taken back."""
        return bool(self._backends)

    async def ask(self, question: Question, answers: Answers) -> None:
        """Deliver a question to every backend of its group.

        Raises:
            EngineError: One of them failed or was late; those asked before it were told to withdraw.
        """
        for position, name in enumerate(names := self._route(question.group)):
            backend = self._backends[name]
            try:
                await bounded(
                    lambda backend=backend: backend.ask(question, answers),  # type: ignore[misc]
                    seconds=self._settings.limits.backend_s,
                )
            except PluginError as error:  # a gate: fails closed
                await self._withdraw(
                    names[: position + 1], question.ticket, "it could not be asked everywhere"
                )
                raise EngineError(
                    f"approval backend `{name}` could not ask: {error}",
                    help=f"mend the backend, or choose another in [approvals] of {self._settings.where}",
                ) from error

    async def withdraw(self, ticket: str, because: str) -> None:
        """Take a question back from every backend.

        A failure is reported and not raised: the ticket is closed already, and a late answer to it
        is refused wherever it comes from.
        """
        await self._withdraw(tuple(self._backends), ticket, because)

    async def _withdraw(self, names: Sequence[str], ticket: str, because: str) -> None:
        for name in names:
            backend = self._backends[name]
            try:
                await bounded(
                    lambda backend=backend: backend.withdraw(ticket, because),  # type: ignore[misc]
                    seconds=self._settings.limits.backend_s,
                )
            except PluginError as error:  # nothing is opened by it: the ticket's own status decides
                self._report(name, 0, f"withdraw: {error}")

    def _route(self, group: str | None) -> tuple[str, ...]:
        return self._routes.get(group or "default", self._routes["default"])
