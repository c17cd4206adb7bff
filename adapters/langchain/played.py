"""`playback`: a recorded run through the agent's own code, with a model and tools that answer from the log.

The agent's code runs as it is now; what it asks for is compared with the record.  No model is asked, and no
tool runs: the first thing that the record does not have ends it.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage, messages_from_dict
from langchain_core.tools import BaseTool

from ringfence.adapters.langchain.capture import UNGUARDED
from ringfence.adapters.langchain.played_model import PlayedModel
from ringfence.adapters.langchain.said import asking, recorded_asking, texts
from ringfence.adapters.langchain.tools import guard_tools
from ringfence.adapters.langchain.tree import innermost
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallFinished, PromptGiven
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.retrospect.playback.playing import (
    DivergedError,
    Divergence,
    NotAsRecordedError,
    Playing,
    Report,
)
from ringfence.engine.retrospect.playback.tape import Call, Track
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.seams.escape import escaped

if TYPE_CHECKING:
    from ringfence.adapters.langchain.middleware import GuardMiddleware

__all__ = ["DivergedError", "Divergence", "NotAsRecordedError", "Playback", "Report", "playback"]

_NO_TOOLS_SAID: Final = (
    "the record does not say which tools {} model requests were offered: these were not compared"
)


def playback(
    run: RunRecord | str | Path,
    *,
    policy: Plan | str | Path | None = None,
    agents: Collection[str] = (),
    name: str | None = None,
) -> "Playback":
    """Prepare the playback of a recorded run.

    Args:
        run: A record (`guard.runs.get(...)`), or a file of `ringfence export --run RUN`.
        policy: Decide by this one: a file, or a plan; None: by the recorded policy.
        agents: Tools whose bodies are agents of your own: these run, with `played.model` and guarded tools
            inside.  The other tools are answered from the record as a whole.
        name: Which run of the file; None: the only one, but for runs inside of it.

    Raises:
        RecordError: The run cannot be played back: the file is not what was exported, or the record does not
            hold what it takes.
        PolicyError: `policy` has mistakes.
    """
    root = import_module("ringfence._playback")
    plan = policy
    if isinstance(policy, str | Path):
        plan = import_module("ringfence._assembly").load_plan(policy)
    record: RunRecord = root.record_of(run, name)
    found = _Seen(root.UNSEEN)
    guard = root.played_guard(record, agents=agents, policy=plan, recorded=recorded_asking, seen=found)
    found.tracks = guard.playing.tape.tracks
    return Playback(guard, record)


class Playback:
    """One playback; use it once.  `check` closes what it opened; so does `with playback(run) as played:`."""

    guard: Guard
    """Give it to `GuardMiddleware`, `guard_tools`, `begin_node`, `tool_node`, `isolate_tool`."""
    model: BaseChatModel
    """The model of every agent in it."""
    input: dict[str, Any]
    """What to hand to `agent.invoke`: the messages of the first model request, but for the system prompt."""
    prompts: tuple[str, ...]
    """The prompts that were recorded."""

    def __init__(self, guard: Any, record: RunRecord) -> None:
        self.guard = guard
        self._answer = guard.answer
        self._playing: Playing = guard.playing
        self.model = PlayedModel.that_asks(self._ask, self._playing.go_on)
        top = self._playing.tape.top
        self.prompts = tuple(
            stamped.event.text
            for stamped in record.events
            if isinstance(stamped.event, PromptGiven) and isinstance(stamped.event.text, str)
        )
        self.input = {"messages": _input(top) or [HumanMessage(text) for text in self.prompts]}
        self._agent = top.started.agent
        UNGUARDED[guard.opening] = partial(_refuse_unguarded, self._playing)

    def middleware(self, **options: Any) -> "GuardMiddleware":
        """Return `GuardMiddleware(played.guard, agent=…)` for the agent of the run; `options` are its own."""
        from ringfence.adapters.langchain.middleware import GuardMiddleware

        return GuardMiddleware(self.guard, **{"agent": self._agent, **options})

    def tools(self, tools: Sequence[BaseTool | Callable[..., Any]]) -> list[BaseTool]:
        """Return `guard_tools(played.guard, tools)`: they answer from the record."""
        return guard_tools(self.guard, tools)

    @property
    def report(self) -> Report:
        """What came of it so far: `identical`, `divergence`, `never_came`; as a text, all of it."""
        silent = sum(
            one.came and one.asked.tools is None
            for track in self._playing.tape.tracks.values()
            for one in track.requests
        )
        return self._playing.report([_NO_TOOLS_SAID.format(silent)] if silent else [])

    def check(self) -> None:
        """Close it; raise NotAsRecordedError, an AssertionError, unless all went as recorded, to its end."""
        report = self.report
        self.close()
        if not report.identical:
            raise NotAsRecordedError(str(report))

    def close(self) -> None:
        """Close the guard; safe to call twice."""
        self.guard.close()

    def __enter__(self) -> "Playback":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self,
        parent: UUID | None,
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        settings: dict[str, Any],
    ) -> list[Json]:
        run = innermost(parent, current_run(), self.guard)
        track = self._playing.track_of(None if run is None else run.id)
        says_tools = track is None or any(one.asked.tools is not None for one in track.requests)
        came = asking(messages, stop, settings, says_tools)
        answered = self._answer(run, came)
        if answered.error is not None:
            raise import_module("ringfence._playback").failure(answered.error)
        return list(answered.messages or ())


def _refuse_unguarded(playing: Playing, tool: str) -> None:
    """End the playback before a tool runs that is not guarded."""
    if tool not in playing.tape.agents:
        playing.stop(
            f"came: the tool {escaped(tool)}, which is not guarded, so that it would have run;"
            " guard it with the guard of the playback, or name it in `agents=` if its body is one"
        )


def _input(track: Track) -> list[BaseMessage]:
    first = next(iter(track.requests), None)
    if first is None or not all(isinstance(one, dict) for one in first.asked.messages):
        return []
    return list(messages_from_dict(texts(first.asked.messages)))


class _Seen:
    """What the graph had of a call: the tool message in the next model request, where that says more."""

    def __init__(self, unseen: object) -> None:
        self.tracks: Mapping[str, Track] = {}
        self._unseen = unseen

    def __call__(self, one: Call, call: ToolCall, lens: ResultLens) -> Any:
        """Return it, or that there is nothing of the kind."""
        said = self._message(one)
        if said is None or call.call_id is None:
            return self._unseen
        made = None if lens.make is None else lens.make(None)
        outcome = one.outcome
        if isinstance(made, tuple):  # the tool gives (content, artifact), and nothing else is taken for it
            finished = isinstance(outcome, CallFinished)
            return (said.get("content"), said.get("artifact")) if finished else self._unseen
        if isinstance(outcome, CallFinished) and not _says_more(said, outcome.result):
            return self._unseen
        return ToolMessage(
            content=said.get("content") or "",
            name=one.requested.tool,
            tool_call_id=call.call_id,
            artifact=said.get("artifact"),
            status="error" if said.get("status") == "error" else "success",
        )

    def _message(self, one: Call) -> Mapping[str, Json] | None:
        track, id = self.tracks.get(one.run), one.requested.call_id
        for request in track.requests if track is not None and id is not None else ():
            if (
                request.seq > one.ended_seq
                and (found := _answers_to(request.asked.messages, one)) is not None
            ):
                return (
                    found[0] if len(found) == 1 else None
                )  # two calls had this id: which one, nobody can say
        return None


def _answers_to(messages: Sequence[Json], one: Call) -> list[Mapping[str, Json]] | None:
    """Return the tool messages that answer the last call of this id and tool; None: there is no such call."""
    id, tool = one.requested.call_id, one.requested.tool
    found: list[Mapping[str, Json]] = []
    for message in reversed(messages):
        data = message.get("data") if isinstance(message, Mapping) else None
        if not isinstance(data, Mapping):
            continue
        if message.get("type") == "tool" and data.get("tool_call_id") == id:
            found.append(data)
        elif any(call.get("id") == id and call.get("name") == tool for call in data.get("tool_calls") or ()):
            return found
    return None


def _says_more(said: Mapping[str, Json], value: Json) -> bool:
    """Say whether a tool message says more than what the record has of the result: it was no plain JSON.

    A text is always shown as it is.  If the message has another, somebody changed it on its way, as they
    will again.
    """
    content = said.get("content")
    if isinstance(value, str):
        return content == value and said.get("status") == "error"
    return content != value and content not in (json.dumps(value, ensure_ascii=False), str(value))
