"""Where a command sits down: the deployment's settings, its store opened, and the engine's loop to ask it.

A command that reads never creates anything: a log that is not there is an error, not an empty log.
"""

import asyncio
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ringfence.cli.exits import CommandError
from ringfence.engine.seams.composed import open_one
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.parts import lacking
from ringfence.engine.seams.ports import EventLog, KillSwitch, RunRow, Store, TicketStore
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.store_urls import absolute_url, file_of

if TYPE_CHECKING:
    from ringfence.dsl.draft import Absent, Installed
    from ringfence.engine.seams.isolates import IsolateExecutor
    from ringfence.engine.seams.registry import PluginRow, Registry

T = TypeVar("T")

_WITHIN_S = 15.0
"""How long what runs isolates may take to say whether it can."""


@dataclass(frozen=True)
class Desk:
    """The opened store of the log, and the settings it was found by."""

    settings: Settings
    store: Store
    loop: EngineLoop
    open_orders: Callable[[], Store]
    """Opens the store that keeps orders to stop: a command that only reads the log does without it."""

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine of the store and return its answer."""
        return self.loop.submit(work).result()

    def isolated(self, work: Callable[["IsolateExecutor"], Awaitable[T]]) -> "Future[T]":
        """Have some work done with what runs isolates under the settings; it is closed after."""
        from ringfence.engine.seams.bounded import PluginError, bounded
        from ringfence.engine.seams.executors import KnownExecutor, executor_of

        settings = self.settings
        registry = registry_of(settings)
        registry.check()

        async def done() -> T:
            executor = KnownExecutor(executor_of(registry, settings))
            try:
                return await work(executor)
            finally:
                with suppress(PluginError):  # its workers end with this process
                    await bounded(executor.close, seconds=settings.limits.backend_s)

        return self.loop.submit(done())

    @cached_property  # to look through its methods takes as long as to read a run
    def events(self) -> EventLog:
        """The audit log; refuse where the store keeps none."""
        _refuse_if_lacking(self.store, "events")
        assert self.store.events is not None
        return self.store.events

    @cached_property
    def tickets(self) -> TicketStore:
        """The tickets; refuse where the store keeps none."""
        _refuse_if_lacking(self.store, "tickets")
        assert self.store.tickets is not None
        return self.store.tickets

    @cached_property
    def kill_switch(self) -> KillSwitch:
        """Orders to stop, where the guards look for them; refuse where the store takes none."""
        store = self.open_orders()
        _refuse_if_lacking(store, "kill_switch")
        assert store.kill_switch is not None
        return store.kill_switch

    def runs(self, **asked: Any) -> list[RunRow]:
        """Return rows of the list of runs, newest first; arguments as of `EventLog.runs`.

        Raises:
            CommandError: One holds what no guard writes; verifying, which reads them by itself, names it.
        """
        return [_readable(row) for row in self.ask(self.events.runs(**asked))]

    def run(self, run: str) -> RunRow | None:
        """Return the row of one run, or None; raise as `runs`."""
        row = self.ask(self.events.run(run))
        return None if row is None else _readable(row)

    def hidden(self, name: str | None) -> str | None:
        """Return the name of whoever orders something, without what `[secrets]` hides."""
        from ringfence.engine.journal.hiding import Hiding
        from ringfence.engine.journal.secrets import Secrets

        secrets = self.settings.secrets
        return None if name is None else Hiding(Secrets(secrets.patterns, secrets.names)).text(name)


def _readable(row: RunRow) -> RunRow:
    texts = (row.run, row.session, row.agent, row.policy, row.status)
    more = (row.user, row.workspace, row.parent)
    numbers = (row.started_ns, row.last_ns, row.events)
    # SECURITY: a column may hold any type, and what is no text has no form in which it could be shown.
    if not (
        all(type(text) is str for text in texts)
        and all(text is None or type(text) is str for text in more)
        and all(type(number) is int for number in numbers)
    ):
        raise CommandError(
            "the list of runs holds what no guard writes", help="`ringfence verify` says where it was changed"
        )
    return row


_OTHER = "name another store with --store"


def _refuse_if_lacking(store: Store, part: str) -> None:
    error = lacking(store, (part,))
    if error is not None:
        raise CommandError(str(error), help=error.help or _OTHER)


def settings_of(asked: Namespace) -> Settings:
    """Return the settings that the command line points to, `--store` over them."""
    settings = Settings.load(asked.settings)
    if asked.store is None:
        return settings
    url = asked.store if ":" in asked.store else f"sqlite:///{asked.store}"
    changed = settings.model_copy(update={"store": absolute_url(url, Path.cwd())})
    changed._file, changed._folder = settings._file, settings._folder
    return changed


@contextmanager
def desk(asked: Namespace, *, reads: bool = False) -> Iterator[Desk]:
    """Open the store of the command line for one command, and close it after.

    Args:
        reads: The command writes nothing, so a log that may only be read will do.
    """
    settings = settings_of(asked)
    _refuse_what_is_not_there(settings.store)
    with running() as loop, ExitStack() as open_now:
        store = open_now.enter_context(opened(store_of(settings, "store", settings.store), loop, reads=reads))

        def orders() -> Store:
            if settings.ledger is None or settings.ledger == settings.store:
                return store
            _refuse_what_is_not_there(settings.ledger)
            return open_now.enter_context(opened(store_of(settings, "ledger", settings.ledger), loop))

        yield Desk(settings, store, loop, orders)


@contextmanager
def running() -> Iterator[EngineLoop]:
    """Run a loop of one's own for stores."""
    loop = EngineLoop()
    try:
        yield loop
    finally:
        loop.close()


@contextmanager
def opened(store: Store, loop: EngineLoop, *, reads: bool = False) -> Iterator[Store]:
    """Open a store, and close it after."""
    try:
        try:
            loop.submit(open_one(store, reads=reads)).result()
        except (OSError, RuntimeError, EngineError) as error:
            raise CommandError(
                f"the store cannot be opened: {error}", help=getattr(error, "help", None) or _OTHER
            ) from error
        yield store
    finally:
        loop.submit(store.close()).result()


def store_of(settings: Settings, key: str, url: str) -> Store:
    """Return the store that stands under `key` in the settings, not yet opened, and no other."""
    from ringfence.engine.seams.stores import one_store

    registry = registry_of(settings)
    registry.check()
    return one_store(settings, registry, key, url)


def without_sinks_and_backends(settings: Settings) -> Settings:
    """Return the settings with no sink and no backend: a command neither writes nor asks, nor runs code."""
    return settings.model_copy(update={"sinks": {}, "approvals": {}, "backends": {}, "isolates": {}})


def plugin_rows(settings: Settings) -> "list[PluginRow]":
    """Return one row for each plugin there is; wrong ones are rows, not errors."""
    from ringfence._builtins import builtins
    from ringfence.engine.seams.registry import plugins_report

    return plugins_report(allowed=settings.plugins, builtins=builtins(), where=settings.where)


def installed(settings: Settings) -> "Installed":
    """Return what says whether a plugin, a redactor or an executor may be used under these settings.

    Of what runs isolates it also says why it cannot, as far as that is known before a worker is started.
    """
    # Only once it is asked about one: most policies name none, and to look for plugins takes longer than to
    # check a policy.
    registry_now = cache(lambda: registry_of(settings))

    @cache
    def found(name: str) -> "bool | Absent":
        from ringfence.dsl.draft import Absent
        from ringfence.dsl.plan import ISOLATE_EXECUTOR
        from ringfence.engine.seams.executors import check_executor

        registry = registry_now()
        if name != ISOLATE_EXECUTOR:
            return registry.installed(name)
        try:
            with running() as loop:
                loop.submit(asyncio.wait_for(check_executor(registry, settings), _WITHIN_S)).result()
        except EngineError as error:
            return Absent(str(error), error.help or "")
        except TimeoutError:
            return Absent("what runs isolates does not answer", "see the documentation of its plugin")
        return True

    return found


def registry_of(settings: Settings) -> "Registry":
    """Return the plugins that these settings allow; what is wrong with them is in it, not raised."""
    from ringfence._builtins import builtins
    from ringfence.engine.seams.registry import Registry

    return Registry(allowed=settings.plugins, builtins=builtins(), where=settings.where)


def login() -> str | None:
    """Return the name of who is at the command line; None: nobody knows."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user here (a container): the order stands without a name
        return None


def _refuse_what_is_not_there(url: str) -> None:
    if url == "memory:":
        raise CommandError(
            "the store memory: lives inside one process and ends with it; there is nothing to read here",
            help="let the agent write to sqlite:///ringfence.db, and name it with --store",
        )
    file = file_of(url)
    if file is not None and not file.is_file():
        raise CommandError(
            f"there is no log at {file}",
            help="run an agent first, or name the store with --store sqlite:///PATH or in ringfence.toml",
        )
