"""Which execution stands inside which: LangChain's callback runs as a tree, with our runs bound to graphs.

LangChain gives every invocation of a graph, node, tool or model a fresh id and tells callbacks the id of
the one around it.  A run is bound to the invocation of a graph; whatever happens below belongs to it,
sub-agents and other people's middleware included, with or without a checkpointer.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run

try:
    from langgraph.errors import is_invalid_resume as is_invalid_resume
except ImportError:  # an older LangGraph, or langchain-core alone: no interrupt has a schema to answer by

    def is_invalid_resume(error: BaseException) -> bool:
        """Say whether an interrupt was answered with what its schema does not take."""
        return False


_NONE: Final[frozenset[UUID]] = frozenset()
MOST = 100_000
"""Invocations remembered at once; a forgotten one finds no run, which denies."""


@dataclass(slots=True)
class Invocation:
    """One execution of a graph, a node, a tool or a retriever."""

    parent: UUID | None
    is_node: bool
    resume: object = None
    """What the host resumed a graph with in this very invocation; None: it did not."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A run at the invocation of its graph."""

    guard: Guard
    run: Run
    ended: Callable[[Run, BaseException | None], None]
    """Called when the invocation is over, with its error."""


class Tree:
    """The invocations of this process that have not ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._invocations: OrderedDict[UUID, Invocation] = OrderedDict()
        self._bound: dict[UUID, list[Binding]] = {}
        self._left: OrderedDict[UUID, None] = OrderedDict()
        """Those that ended last."""
        self._at_work: dict[UUID, set[UUID]] = {}
        """By the invocation around them, the tools that have not ended and wait for nobody."""

    def enter(self, id: UUID, parent: UUID | None, *, is_node: bool = False, resume: object = None) -> None:
        """Remember that an invocation began."""
        with self._lock:
            self._invocations[id] = Invocation(parent, is_node, resume)
            if len(self._invocations) > MOST:
                oldest, was = self._invocations.popitem(last=False)
                self._bound.pop(oldest, None)
                self._rests(oldest, was)

    def enter_tool(self, id: UUID, parent: UUID | None) -> None:
        """Remember that a tool began, and is at work."""
        self.enter(id, parent)
        if parent is not None:
            with self._lock:
                self._at_work.setdefault(parent, set()).add(id)

    def waits(self, id: UUID | None) -> None:
        """Note that a tool waits for people: those beside it need not wait for it."""
        with self._lock:
            if id is not None and (here := self._invocations.get(id)) is not None:
                self._rests(id, here)

    def has_others_at_work(self, id: UUID | None) -> bool:
        """Say whether a tool that was begun beside `id` has not ended, and waits for nobody."""
        with self._lock:
            here = None if id is None else self._invocations.get(id)
            if here is None or here.parent is None:
                return False
            return bool(self._at_work.get(here.parent, _NONE) - {id})

    def _rests(self, id: UUID, was: Invocation) -> None:
        beside = None if was.parent is None else self._at_work.get(was.parent)
        if was.parent is not None and beside is not None:
            beside.discard(id)
            if not beside:
                del self._at_work[was.parent]

    def leave(self, id: UUID, error: BaseException | None = None) -> None:
        """Forget an invocation; whoever bound a run to it is told."""
        with self._lock:
            if (was := self._invocations.pop(id, None)) is not None:
                self._rests(id, was)
                self._left[id] = None
                if len(self._left) > MOST:
                    self._left.popitem(last=False)
            bindings = self._bound.pop(id, [])
        for binding in bindings:
            binding.ended(binding.run, error)

    def bind(self, id: UUID | None, binding: Binding) -> None:
        """Bind a run to the graph around the invocation `id`."""
        with self._lock:
            graph = self._graph_of(id)
            if graph is not None:
                others = [b for b in self._bound.get(graph, ()) if b.guard is not binding.guard]
                self._bound[graph] = [*others, binding]

    def bound(self, id: UUID | None, guard: Guard | None = None) -> Binding | None:
        """Return the nearest binding (of `guard`) around `id`, or None."""
        return next(iter(self.all_bound(id, guard)), None)

    def all_bound(self, id: UUID | None, guard: Guard | None = None) -> list[Binding]:
        """Return the bindings (of `guard`) around `id`, the nearest first."""
        found: list[Binding] = []
        with self._lock:
            while id is not None:
                found += [b for b in self._bound.get(id, ()) if guard is None or b.guard is guard]
                here = self._invocations.get(id)
                id = here.parent if here else None
        return found

    def all_outside(self, id: UUID | None, guard: Guard) -> list[Binding]:
        """Return the bindings of `guard` outside of the graph around `id`, the nearest first."""
        with self._lock:
            graph = self._graph_of(id)
            here = None if graph is None else self._invocations.get(graph)
        return self.all_bound(None if here is None else here.parent, guard)

    def resumed_with(self, id: UUID | None) -> object:
        """Return what the host resumed the graph around `id` with, or the one around that; None: nothing."""
        with self._lock:
            while id is not None and (here := self._invocations.get(id)):
                if here.resume is not None:
                    return here.resume
                id = here.parent
        return None

    def root(self, id: UUID | None) -> UUID | None:
        """Return the outermost invocation around `id`: one call of `invoke` or `stream` by the host."""
        with self._lock:
            return self._root(id)

    def is_bound_elsewhere(self, run: Run, id: UUID | None) -> bool:
        """Say whether a run is bound in another call of `invoke` or `stream` than `id`."""
        with self._lock:
            root = self._root(id)
            return any(
                binding.run is run and self._root(graph) != root
                for graph, bindings in self._bound.items()
                for binding in bindings
            )

    def _root(self, id: UUID | None) -> UUID | None:
        while id is not None and (here := self._invocations.get(id)) and here.parent is not None:
            id = here.parent
        return id

    def is_over(self, id: UUID | None) -> bool:
        """Say whether `id`, or an invocation around it, has ended, though something that it began goes on."""
        with self._lock:
            while id is not None and id not in self._left:
                here = self._invocations.get(id)
                id = here.parent if here else None
        return id is not None

    def _graph_of(self, id: UUID | None) -> UUID | None:
        at = id
        while at is not None and (here := self._invocations.get(at)):
            if here.is_node:
                return here.parent
            at = here.parent
        return id


TREE = Tree()
"""The invocations of this process."""


def innermost(id: UUID | None, current: Run | None, guard: Guard | None = None) -> Run | None:
    """Return the innermost run around the invocation `id`: the `current` one, or one bound inside of it.

    SECURITY: a sub-agent with a run of its own holds less, and must not act as the agent around it.
    """
    runs = [binding.run for binding in TREE.all_bound(id, guard)]
    # A run that was taken up again knows what is around it by the graphs around it alone.
    if current is None or (runs and (current in runs[1:] or _is_inside(runs[0], current))):
        return runs[0] if runs else None
    return current


def _is_inside(run: Run, outer: Run) -> bool:
    parent = run.parent
    while parent is not None and parent is not outer:
        parent = parent.parent
    return parent is not None


def around(config: Mapping[str, Any] | None) -> UUID | None:
    """Return the invocation that a config was made in, or None outside of any."""
    return getattr((config or {}).get("callbacks"), "parent_run_id", None)


def is_bubble(error: BaseException) -> bool:
    """Say whether this leaves a graph without failing it: an interrupt, or a resume that cannot be read.

    By name: LangGraph may not be installed.
    """
    named = any(kind.__name__ in ("GraphBubbleUp", "ResumeError") for kind in type(error).__mro__)
    return named or is_invalid_resume(error)
