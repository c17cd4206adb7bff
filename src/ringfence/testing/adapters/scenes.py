"""A scene: an agent of some framework, scripted, under a guard; and what came of playing it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard

ALICE = Principal(user="alice", workspace="w1")


@dataclass(frozen=True, slots=True)
class Asked:
    """One tool call as the scripted model writes it."""

    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    id: str = "c1"
    """Models reuse ids; a framework without ids leaves it out."""
    text: str | None = None
    """The arguments as the model writes them, JSON or not; None: `arguments`.  Set only where the class says
    `writes_text`."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an adapter's stage plays: the model asks for `turns`, one after another, and then says `last`.

    Where no model takes part (plain functions, a gateway), the stage makes the calls of each turn itself, as
    its caller would: those of one turn at the same time if it can.
    """

    guard: Guard
    tools: Sequence[Callable[..., Any]]
    """Annotated functions with docstrings, plain or `async`: the stage makes tools of its framework of
    them."""
    turns: Sequence[Sequence[Asked]]
    last: str = "done"
    prompt: str = "hello"
    principal: Principal = ALICE
    session: str | None = None
    """Scenes of one session are turns of one conversation, as far as the framework knows such."""
    agent: str | None = None
    """Which agent of the policy it is; None where it has one."""
    rewrites: Callable[[str, dict[str, Json]], dict[str, Json]] | None = None
    """A hook of the host that changes a call's arguments after the guard's own hooks have seen them."""
    provider_tools: Sequence[str] = ()
    """Tools that would run at the model's provider, by name or type; the stage takes the framework's own
    kind."""
    streamed: bool = False
    helper: "Scene | None" = None
    """An agent that works inside: its turns are played when the tool `helper` is called, which takes
    `task: str`, with `guard` and principal of this scene.  The stage brings that tool."""
    before: Callable[[int], None] | None = None
    """The scripted model calls it before it answers, with the number of the request, from 0."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the model, or the caller, was told of one call."""

    tool: str
    text: str
    failed: bool
    """It came in the framework's form of a failure, where that has one; else the text is a refusal."""
    id: str | None = None


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    told: list[Told] = field(default_factory=list)
    """The answers to calls, in the order of the calls.  Those of a helper are not among them."""
    offered: list[frozenset[str]] = field(default_factory=list)
    """Per model request (or listing) the names that were offered, as the model writes them."""
    said: str | None = None
    """The agent's last word; None if it has none."""
    error: BaseException | None = None
    """What came out of the framework instead of an answer."""
    resume: "Callable[[], Awaitable[Outcome]] | None" = None
    """Set if the framework has put the agent away until people answer: goes on from its saved state, and may
    be called again to replay that state.  None: it has ended.  What it returns is the outcome of the whole
    scene, from the first call on."""
    claim: "Callable[[], Awaitable[Outcome]] | None" = None
    """Like `resume`, saying yes to every open call in the framework's own way, as anybody could who holds the
    saved state.  None: the framework has no such way, or the agent has ended."""

    @property
    def suspended(self) -> bool:
        """Whether the framework put the agent away."""
        return self.resume is not None
