"""A recipe as it stands on the page, in a folder of its own; run by `make test-recipes`."""

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ringfence import Guard, Principal
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "recipes.md"
ALICE = Principal(user="alice")
SETTINGS = 'store = "memory:"\n[groups]\nleads = ["dana"]\n'

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return a function that imports one of the page's files."""
    (tmp_path / "ringfence.toml").write_text(SETTINGS, encoding="utf-8")
    titles = []
    for block in blocks(PAGE):
        if "title" in block.info:
            (tmp_path / block.info["title"]).write_text(block.code, encoding="utf-8")
            titles.append(Path(block.info["title"]).stem)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[ModuleType] = []

    def imported(name: str) -> ModuleType:
        made.append(importlib.import_module(name))
        return made[-1]

    yield imported
    for module in made:
        if isinstance(guard := getattr(module, "guard", None), Guard):
            guard.close()
    for title in titles:
        sys.modules.pop(title, None)


@pytest.fixture
def guard(load: Load) -> Iterator[Guard]:
    """Return a guard on the page's policy."""
    made = Guard.load("office.fence")
    yield made
    made.close()


class Bodies:
    """What ran."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []

    def note(self, tool: str, **arguments: Any) -> None:
        """Note that a body began."""
        self.ran.append((tool, arguments))

    def of(self, tool: str) -> list[dict[str, Any]]:
        """Return what the bodies of one tool got."""
        return [arguments for name, arguments in self.ran if name == tool]


@pytest.fixture
def bodies() -> Bodies:
    """Return an empty list of what ran."""
    return Bodies()


@pytest.fixture
def approving(guard: Guard) -> Iterator[Callable[[], list[str]]]:
    """Approve every question as dana while the test runs; return the tools that were asked about."""
    seen: list[str] = []
    over = threading.Event()

    def answer() -> None:
        until = time.monotonic() + 60
        while not over.wait(0.01) and time.monotonic() < until:
            opening = guard.opening
            if opening.is_open:
                for ticket in opening.submit(opening.ready.tickets.pending()).result(10):
                    seen.append(ticket.tool)
                    guard.approve(ticket.id, by="dana")

    thread = threading.Thread(target=answer)
    thread.start()
    yield lambda: seen
    over.set()
    thread.join()


def events(guard: Guard) -> list[Any]:
    """Return the events of the newest run."""
    return [stamped.event for stamped in guard.runs.latest().events]


def verdicts(guard: Guard) -> list[str]:
    """Return what was decided in the newest run, call by call."""
    return [event.verdict for event in events(guard) if event.kind == "CallDecided"]
