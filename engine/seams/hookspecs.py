"""The whole contract between Ringfence and its plugins; `ringfence.plugin` is its public face.

A plugin is a module (or any object) with functions marked `@hookimpl`, named as the hooks in `Hooks`.
There are three kinds of extension, and each fails in its own direction:

- a *gate* (store, approval backend, isolate executor): failure or time-out denies the call;
- a *required sink*: what it cannot take, does not happen;
- an *observer* (any other sink): failure is counted and reported, and the call goes on.

Every coroutine here runs on the engine's own event loop: never block it.  Blocking work belongs on a
thread (`asyncio.to_thread`).  A coroutine that is past its time is cancelled and not waited for.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import pluggy
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from ringfence.dsl.plan import Json
from ringfence.engine.seams.escape import escaped, escaped_json
from ringfence.engine.seams.isolates import IsolateExecutor
from ringfence.engine.seams.ports import Entry, Store

PROJECT = "ringfence"
ENTRY_POINTS = "ringfence.plugins"
"""The entry-point group in which a distribution names its plugins."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as its part in the hook of the same name."""


# ---- what a sink is given ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the audit log, after it became durable there."""

    id: str
    """`RUN:SEQ`, unique in the log.  An event can be delivered again: dedupe on this."""
    run: str
    """The id of the run."""
    seq: int
    """The place in the run, from 1, without gaps; of one run in rising order."""
    kind: str
    """What happened: `RunStarted`, `CallDecided`, ... (`ringfence.engine.decision.events`)."""
    schema: int
    """The version of the form of `body`."""
    at_ns: int
    """The engine's clock when it was recorded: nanoseconds since the Unix epoch."""
    mono_ns: int
    """The recording process's monotonic clock, nanoseconds: for durations within one process."""
    body: Mapping[str, Json] | None
    """The event's fields as JSON values, as they stand in the log; None once purged.

    Whatever the policy's audit level or the deployment keeps out of the log is not here either.
    """
    hash: str
    """The event's link in the chain of its run: SHA-256, 64 hex digits, lower case."""
    prev: str = ""
    """The `hash` of the run's previous event; 64 zeros before the first."""
    digest: str = ""
    """SHA-256 of the salt and the RFC 8785 form of `body`: `hash` is taken of this, so it stays when the body
    goes."""
    salt: str = ""
    """What was put before the body, in hex; empty once purged."""

    @classmethod
    def of(cls, entry: Entry) -> "Event":
        """Return the event that a log's entry holds."""
        body = None if entry.body is None else json.loads(entry.body)
        return cls(
            id=entry.id,
            run=entry.run,
            seq=entry.seq,
            kind=entry.kind,
            schema=entry.schema,
            at_ns=entry.at_ns,
            mono_ns=entry.mono_ns,
            body=body,
            hash=entry.hash.hex(),
            prev=entry.prev.hex(),
            digest=entry.digest.hex(),
            salt=entry.salt.hex(),
        )

    def record(self) -> dict[str, Json]:
        """Return all fields by name, as JSON values."""
        return {
            "id": self.id,
            "run": self.run,
            "seq": self.seq,
            "kind": self.kind,
            "schema": self.schema,
            "at_ns": self.at_ns,
            "mono_ns": self.mono_ns,
            "body": None if self.body is None else dict(self.body),
            "hash": self.hash,
            "prev": self.prev,
            "digest": self.digest,
            "salt": self.salt,
        }

    def line(self) -> str:
        """Return the record as one line of JSON Lines, without the end of the line.

        ASCII only, nothing in it steers a terminal.  The same event gives the same line everywhere.  Raise
        ValueError for what no journal has written: JSON has no NaN.
        """
        text = json.dumps(self.record(), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return text.replace("\x7f", "\\u007f")


# ---- what an approval backend is given -----------------------------------------------------------

Answer = Literal["approve", "reject"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question to people.  It carries no authority: the answer goes through `Answers`."""

    ticket: str
    """The ticket's id, `T-` and eight characters."""
    run: str
    """The id of the run that waits."""
    agent: str
    """The agent that made the call, as the policy names it."""
    tool: str
    """The tool that was called, as the policy names it."""
    arguments: Mapping[str, Json]
    """The canonical arguments: exactly these will be executed.  Written by a model: never trust them."""
    approver: str
    """The approver that the policy asks."""
    group: str | None
    """The group whose people may answer (`[groups]` in the settings); None: any approver's."""
    because: str | None
    """Why it is asked, in the policy's words."""
    requester: str | None
    """The user on whose behalf the agent acts; None if the host did not say."""
    asked_ns: int
    """When it was asked: the engine's clock, nanoseconds since the Unix epoch."""
    expires_ns: int | None
    """When it stops being open: the same clock; None: never."""
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameter -> where its value was found: `user`, `model` (nowhere), a tool, `TOOL.FIELD`, ...; empty: it
    cannot be told.  Parts of one value may come from different ones."""

    def lines(self, *, limit: int | None = None) -> list[str]:
        """Return the question for display, control and bidirectional characters escaped.

        Args:
            limit: Characters shown of each argument; what is cut is said.  None: all of them.
        """
        lines = [f"{self.ticket}: {escaped(self.agent)} wants to run {escaped(self.tool)}"]
        for name, value in self.arguments.items():
            lines.append(f"  {escaped(name)} = {escaped_json(value, limit=limit)}")
            if name in self.sources:
                lines.append(f"    from: {from_words(self.sources[name])}")
        if not self.arguments:
            lines.append("  (no arguments)")
        lines.append(f"  for: {escaped(self.requester) if self.requester is not None else '(not said)'}")
        group = "" if self.group is None else f" (group {escaped(self.group)})"
        lines.append(f"  asks: {escaped(self.approver)}{group}")
        if self.because:
            lines.append(f"  because: {escaped(self.because)}")
        if self.expires_ns is not None:
            seconds = max(0, self.expires_ns - self.asked_ns) // 1_000_000_000
            lines.append(f"  answer within: {seconds // 60} min {seconds % 60} s")
        return lines

    @property
    def text(self) -> str:
        """The same as one text, nothing cut."""
        return "\n".join(self.lines())


def from_words(sources: Sequence[str]) -> str:
    """Return the sources of one value for display, escaped."""
    return ", ".join(map(escaped, sources)) if sources else "(cannot be told)"


class Answers(Protocol):
    """Where a backend hands in what people said."""

    async def resolve(
        self,
        ticket: str,
        verdict: Answer,
        *,
        by: str,
        because: str | None = None,
        edited: Mapping[str, Json] | None = None,
    ) -> None:
        """Answer a ticket; durable when it returns.

        Args:
            by: Who answered.  The backend vouches for this name: take it from a verified identity,
                never from the text of a message.  Whether that person may answer is checked here.
            because: Why, in that person's words.
            edited: Other arguments, with which the call is decided anew.

        Raises:
            NoTicketError: There is no such ticket.
            DeniedError: The ticket is no longer open, or this person may not answer it.  Nothing changed; the
                error's text is meant for that person.
            RingfenceError: The answer could not be taken now; the same may be handed in again.
        """
        ...


# ---- what plugins bring --------------------------------------------------------------------------


def _beside_settings(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path.expanduser()


SettingsPath = Annotated[Path, AfterValidator(_beside_settings)]
"""A path in a plugin's settings: relative ones start at the folder of `ringfence.toml`."""


class NoSettings(BaseModel):
    """For extensions that have nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Past(Protocol):
    """What the audit log holds: a sink may have missed a part of it, or have forgotten it."""

    async def read(self, run: str, *, after_seq: int = 0, limit: int = 250) -> Sequence[Event]:
        """Return the run's events after number `after_seq` in their order, at most `limit` of them."""
        ...


class AuditSink(ABC):
    """Takes the events of the audit log elsewhere.

    Made once per guard, if `[sinks.NAME]` stands in the settings.  Calls of one sink never overlap.
    """

    past: Past | None = None
    """Set by the guard before it calls `open`.  None: there is no guard, and nothing to read."""

    name: ClassVar[str]
    """The NAME in `[sinks.NAME]`."""
    Settings: ClassVar[type[BaseModel]] = NoSettings
    """A pydantic model of the other keys of that section; `required` and `timeout_s` are taken.

    Unknown keys are refused.  Use `SecretStr` for secrets: they are never printed.
    """

    settings: BaseModel

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    async def open(self) -> None:
        """Connect; raise if that fails.  Called once before the first `write`, again if it failed."""

    @abstractmethod
    async def write(self, events: Sequence[Event]) -> None:
        """Take a batch, in order; to return means that it is durable.

        Raise if it is not: never swallow.  Events arrive at least once, so an `Event.id` that was
        taken before changes nothing, also after a restart.
        """

    async def close(self) -> None:
        """Flush and disconnect; safe to call twice, and without `open`."""


class ApprovalBackend(ABC):
    """Carries questions to people and their answers back.

    Made once per guard, if `[approvals]` names it; its settings stand in `[backends.NAME]`.
    """

    name: ClassVar[str]
    """The name in `[approvals]` and the NAME in `[backends.NAME]`."""
    Settings: ClassVar[type[BaseModel]] = NoSettings
    """A pydantic model of the keys of `[backends.NAME]`; unknown keys are refused."""

    settings: BaseModel
    answers: Answers
    """Where answers go that come before this object was asked anything: to questions of an earlier process.

    Set by the guard before it calls `open`; `ask` is given the same.
    """

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    async def open(self) -> None:
        """Connect; raise if that fails: the guard then refuses to start."""

    @abstractmethod
    async def ask(self, question: Question, answers: Answers) -> None:
        """Deliver the question and return; the answer comes later, through `answers.resolve`.

        Raise if it could not be delivered: the call is then denied.  The same ticket may be asked
        again (after a restart): it is still one question.
        """

    @abstractmethod
    async def withdraw(self, ticket: str, because: str) -> None:
        """Take the question back: it was answered elsewhere, has expired, or its run is over.

        A ticket that this backend was never asked, or has withdrawn before, changes nothing.
        """

    async def close(self) -> None:
        """Stop asking and disconnect; safe to call twice, and without `open`.  Open tickets stay open."""


class Hooks:
    """The hooks.  Ringfence calls each once, while the guard is assembled.

    Others: `open_store` when it opens; `isolate_executor` when it is needed; `isolate_settings` then, and
    before if `[isolates]` says something.
    """

    @hookspec
    def ringfence_store_schemes(self) -> Sequence[str]:
        """Return the URL schemes that this plugin's `ringfence_open_store` takes, like `"sqlite"`.

        For messages and `ringfence plugins` only; a plugin with a store should say them.
        """
        raise AssertionError("a hook's specification is never called")

    @hookspec
    def ringfence_open_store(self, url: str) -> Store | None:
        """Return a store for `url`, not yet opened; None if the URL is another plugin's.

        Args:
            url: The URL that stands under `store` or `ledger` in the settings, paths already absolute:
                `sqlite:////srv/ringfence.db`.

        Two takers of one URL are an error: nobody takes over another's scheme.
        """
        raise AssertionError("a hook's specification is never called")

    @hookspec
    def ringfence_audit_sinks(self) -> Sequence[type[AuditSink]]:
        """Return the sink classes that settings may name."""
        raise AssertionError("a hook's specification is never called")

    @hookspec
    def ringfence_approval_backends(self) -> Sequence[type[ApprovalBackend]]:
        """Return the approval backend classes that settings may name."""
        raise AssertionError("a hook's specification is never called")

    @hookspec
    def ringfence_isolate_settings(self) -> type[BaseModel]:
        """Return a pydantic model of the keys of `[isolates]`, for the plugin's own executor.

        Unknown keys are refused; a plugin that does not say this has none.
        """
        raise AssertionError("a hook's specification is never called")

    @hookspec
    def ringfence_isolate_executor(self, settings: BaseModel) -> IsolateExecutor | None:
        """Return what runs JavaScript in V8 isolates, with no worker started yet; None: not on this machine.

        Args:
            settings: What `[isolates]` says, as the plugin's own `ringfence_isolate_settings`.

        A gate: called on the engine's loop when a guard opens whose policy has isolated tools, else when the
        first one is called, and where it fails no such tool runs.  Ringfence's own (the extra `isolate`) is
        taken unless the settings allow another, or the host hands one over; two of those are an error: nobody
        takes over another's place.
        """
        raise AssertionError("a hook's specification is never called")
