"""Where a command sits down: the deployment's settings, its store opened, and the engine's loop to ask it.

A command that reads never creates anything: a log that is not there is an error, not an empty log.
"""

from argparse import Namespace
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ringfence.cli.exits import CommandError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Control, EventLog, Store, TicketStore
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
    def control(self) -> Control:
        """Leases and orders to stop; refuse where the store keeps none."""
        if self.store.control is None:
            raise CommandError(f"the store {self.store.url} takes no orders to stop", help=_OTHER)
        return self.store.control


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
    loop = EngineLoop()
    try:
        store = store_of(settings)
        try:
            loop.submit(store.open()).result()
        except (OSError, RuntimeError) as error:
            raise CommandError(
                f"the store {settings.store} cannot be opened: {error}", help=_OTHER
            ) from error
        try:
            yield store, loop
        finally:
            loop.submit(store.close()).result()
    finally:
        loop.close()


def store_of(settings: Settings) -> Store:
    """Return the store that the settings name, not yet opened; sinks and backends are left alone."""
    from ringfence.engine.seams.dispatch import Extensions

    alone = settings.model_copy(update={"sinks": {}, "approvals": {}, "backends": {}})
    return Extensions.assemble(alone, builtins=_builtins()).open_store(settings.store)


def plugin_rows(settings: Settings) -> "list[PluginRow]":
    """Return one row for each plugin there is; wrong ones are rows, not errors."""
    from ringfence.engine.seams.registry import plugins_report

    return plugins_report(allowed=settings.plugins, builtins=_builtins(), where=settings.where)


def _builtins() -> dict[str, object]:
    from ringfence.plugins import approvals_terminal, memory, sqlite

    return {"memory": memory, "sqlite": sqlite, "terminal": approvals_terminal}


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
