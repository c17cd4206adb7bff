"""Where a command sits down: the deployment's settings, its store opened, and the engine's loop to ask it.

A command that reads never creates anything: a log that is not there is an error, not an empty log.
"""

from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ringfence.cli.exits import CommandError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import EventLog, KillSwitch, Store, TicketStore
from ringfence.engine.seams.settings import Settings, absolute_url

if TYPE_CHECKING:
    from ringfence.engine.seams.registry import PluginRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """An opened store and the settings it was found by."""

    settings: Settings
    store: Store
    loop: EngineLoop

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine of the store and return its answer."""
        return self.loop.submit(work).result()

    @property
    def events(self) -> EventLog:
        """The audit log; refuse where the store keeps none."""
        if self.store.events is None:
            raise CommandError(f"the store {self.store.url} keeps no audit log", help=_OTHER)
        return self.store.events

    @property
    def tickets(self) -> TicketStore:
        """The tickets; refuse where the store keeps none."""
        if self.store.tickets is None:
            raise CommandError(f"the store {self.store.url} keeps no tickets", help=_OTHER)
        return self.store.tickets

    @property
    def kill_switch(self) -> KillSwitch:
        """Orders to stop; refuse where the store takes none."""
        if self.store.kill_switch is None:
            raise CommandError(f"the store {self.store.url} takes no orders to stop", help=_OTHER)
        return self.store.kill_switch


_OTHER = "name another store with --store"


def settings_of(asked: Namespace) -> Settings:
    """Return the settings that the command line points to, `--store` over them."""
    settings = Settings.load(asked.settings)
    if asked.store is None:
        return settings
    url = asked.store if ":" in asked.store else f"sqlite:///{asked.store}"
    changed = settings.model_copy(update={"store": absolute_url(url, Path.cwd())})
    changed._file, changed._folder = settings._file, settings._folder
    return changed


def file_of(url: str) -> Path | None:
    """Return the file behind a store URL; None where there is none."""
    scheme, _, path = url.partition(":///")
    return Path(path) if scheme == "sqlite" and path and not path.startswith(":") else None


@contextmanager
def desk(asked: Namespace) -> Iterator[Desk]:
    """Open the store of the command line for one command, and close it after."""
    settings = settings_of(asked)
    _refuse_what_is_not_there(settings.store)
    with opened(settings) as (store, loop):
        yield Desk(settings, store, loop)


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Store, EngineLoop]]:
    """Open the settings' store on a loop of its own."""
    store, loop = store_of(settings), EngineLoop()
    try:
        try:
            loop.submit(store.open()).result()
        except (OSError, RuntimeError) as error:
            raise CommandError(f"the store cannot be opened: {error}", help=_OTHER) from error
        yield store, loop
    finally:
        try:
            loop.submit(store.close()).result()
        finally:
            loop.close()


def store_of(settings: Settings) -> Store:
    """Return the store that the settings name, not yet opened; sinks and backends are left alone."""
    from ringfence._assembly import builtins
    from ringfence.engine.seams.dispatch import Extensions

    extensions = Extensions.assemble(without_sinks_and_backends(settings), builtins=builtins())
    return extensions.open_store(settings.store)


def without_sinks_and_backends(settings: Settings) -> Settings:
    """Return the settings with no sink and no backend: a command neither writes nor asks."""
    return settings.model_copy(update={"sinks": {}, "approvals": {}, "backends": {}})


def plugin_rows(settings: Settings) -> "list[PluginRow]":
    """Return one row for each plugin there is; wrong ones are rows, not errors."""
    from ringfence._assembly import builtins
    from ringfence.engine.seams.registry import plugins_report

    return plugins_report(allowed=settings.plugins, builtins=builtins(), where=settings.where)


def installed(settings: Settings) -> Callable[[str], bool]:
    """Return what says whether a plugin, or a redactor of one, may be used under these settings."""
    from ringfence._assembly import builtins
    from ringfence.engine.seams.registry import Registry

    registry = Registry(allowed=settings.plugins, builtins=builtins(), where=settings.where)
    return lambda name: registry.has(name) or registry.redactor(name) is not None


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
