"""Model calls as events: those of agents, sub-agents and other people's middleware alike.

One callback handler, put into every callback manager by LangChain's configure hook, is the only source;
the middleware records no model call itself, so none is recorded twice.  Outside of a run it does nothing.
If the record cannot be written, the error is raised and the model call fails.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.context import register_configure_hook

from ringfence.adapters.langchain.classic import refuse_unknown
from ringfence.adapters.langchain.tree import TREE, innermost
from ringfence.adapters.langchain.values import json_of as plain
from ringfence.adapters.langchain.values import stored
from ringfence.dsl.plan import Json
from ringfence.engine.binding.credentials import without_keys
from ringfence.engine.decision.events import ModelAnswered, ModelAsked
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import copied, jsonable
from ringfence.engine.journal.repeated import asked_body
from ringfence.engine.seams.escape import escaped

_NODE_TAG = "graph:step:"
_NAME_AT_MOST = 80
"""Characters of a tool's name that are said; a tool server may have chosen it."""
_NOT_PARAMETERS = frozenset({"tools", "functions", "messages", "api_key", "_type"})
_STANDARD = {
    "ls_provider": "provider",
    "ls_temperature": "temperature",
    "ls_max_tokens": "max_tokens",
    "ls_stop": "stop",
}
"""LangChain's standard parameters, that every chat model says: for those that say nothing else."""

_PLAIN = frozenset({AIMessage, AIMessageChunk, ChatMessage, HumanMessage, SystemMessage, ToolMessage})
"""LangChain's own messages, which say their fields and nothing else."""

_SCHEMAS = ("function", "parameters", "input_schema", "inputSchema")
"""A tool with one of these says what it takes; any other is the provider's own, with what it is set to."""


def shown(value: object, run: Run) -> Json:
    """Return a value as it may stand in the log of a run."""
    try:
        said = copied(stored(value))  # most are plain JSON then, of which the long way gives the same
    except Exception:  # a message that cannot be stored: the long way describes it
        said = None
    return said if said is not None else jsonable(plain(value, hide=run.hide), hide=run.hide)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model call in flight."""

    run: Run
    began_ns: int


UNGUARDED: "WeakKeyDictionary[Opening, Callable[[str], None]]" = WeakKeyDictionary()
"""Told, before it runs, of a tool that is not guarded inside a run; else it is said on the standard error."""

EXPECTED: ContextVar[list[str] | None] = ContextVar("ringfence_expected", default=None)
"""Tells the witness that the next tool to begin here is this guarded one."""


class Witness(BaseCallbackHandler):
    """Keeps the tree of invocations and records model calls under the run around them."""

    run_inline = True  # in the caller's thread and order: a record made later could follow its answer
    raise_error = True  # fails closed: a model call that cannot be recorded does not happen

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[UUID, Asked] = {}
        self._said: WeakKeyDictionary[Opening, set[str]] = WeakKeyDictionary()

    # ---- the tree --------------------------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: Mapping[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        **_: Any,
    ) -> None:
        """A graph, a node or a chain begins."""
        is_node = any(tag.startswith(_NODE_TAG) for tag in tags or ())
        # LangGraph's `Command`, which need not be installed, with what `invoke` was given to go on.
        resume = getattr(inputs, "resume", None) if type(inputs).__name__ == "Command" else None
        TREE.enter(run_id, parent_run_id, is_node=is_node, resume=resume)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """A graph, a node or a chain is over."""
        TREE.leave(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A graph, a node or a chain raised, an interrupt perhaps."""
        TREE.leave(run_id, error)

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: Any = None,
        **_: Any,
    ) -> None:
        """A tool begins."""
        TREE.enter_tool(run_id, parent_run_id)
        expected = EXPECTED.get()
        if expected:
            expected.clear()
        elif (run := run_around(parent_run_id)) is not None:
            name = str((serialized or {}).get("name"))
            if not refuse_unknown(name, inputs, run):
                self._unguarded(name, run)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool is over."""
        TREE.leave(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool raised, or a graph inside it was interrupted."""
        TREE.leave(run_id, error)

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **_: Any
    ) -> None:
        """A retriever begins."""
        TREE.enter(run_id, parent_run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        """A retriever is over."""
        TREE.leave(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A retriever raised."""
        TREE.leave(run_id, error)

    def _unguarded(self, name: str, run: Run) -> None:
        if (told := UNGUARDED.get(run.opening)) is not None:
            told(name)
            return
        with self._lock:
            said = self._said.setdefault(run.opening, set())
            if name in said:
                return
            said.add(name)
        print(
            f"ringfence: `{escaped(name[:_NAME_AT_MOST])}` ran unguarded inside a guarded run;"
            " hand out `guard_tools(guard, [...])`",
            file=sys.stderr,
        )

    # ---- model calls -----------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: Mapping[str, Any] | None,
        messages: Sequence[Sequence[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """A chat model is asked."""
        self._ask(run_id, parent_run_id, messages[0], metadata, rest)

    def on_llm_start(
        self,
        serialized: Mapping[str, Any] | None,
        prompts: Sequence[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """A text model is asked."""
        self._ask(run_id, parent_run_id, prompts, metadata, rest)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """A model answered."""
        answers: list[object] = []
        usage: object = None
        for generation in response.generations[0] if response.generations else []:
            if isinstance(generation, ChatGeneration):
                answers.append(generation.message)
                usage = getattr(generation.message, "usage_metadata", None) or usage
            else:
                answers.append(generation.text)
        self._answer(run_id, answers, usage or (response.llm_output or {}).get("token_usage"), None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A model call failed or was cancelled."""
        self._answer(run_id, None, None, f"{type(error).__name__}: {error}")

    def _ask(
        self,
        request: UUID,
        parent: UUID | None,
        messages: Sequence[object],
        metadata: Mapping[str, Any] | None,
        rest: Mapping[str, Any],
    ) -> None:
        run = run_around(parent)
        if run is None or run.ended:
            return
        parameters = dict(rest.get("invocation_params") or {})
        named = parameters.get("model") or parameters.get("model_name")
        model = (metadata or {}).get("ls_model_name") or named or rest.get("name")
        offered = parameters.get("tools") or parameters.get("functions")
        settings = _settings(parameters, metadata or {})
        tools, said, *parts = run.repeated.parts(
            [_Beside("tools", offered), _Beside("parameters", settings), *messages],
            # SECURITY: what is hidden of a text depends on what has become secret since it was written.
            _state if run.hiding is None else None,
            lambda one: _beside(one, run) if type(one) is _Beside else shown(one, run),
        )
        asked = ModelAsked(
            request=str(request),
            model=str(model) if model else None,
            messages=[part.said for part in parts],
            tools=tools.said,
            parameters=said.said,
            parent=str(parent) if parent else None,
        )
        if run.note(asked, body=asked_body(asked, parts, tools, said)):
            with self._lock:
                self._asked[request] = Asked(run, run.opening.clock.monotonic_ns())

    def _answer(
        self, request: UUID, messages: Sequence[object] | None, usage: object, error: str | None
    ) -> None:
        with self._lock:
            asked = self._asked.pop(request, None)
        if asked is not None:
            run = asked.run
            taken_ns = max(run.opening.clock.monotonic_ns() - asked.began_ns, 0)
            said = None if messages is None else [shown(message, run) for message in messages]
            run.note(ModelAnswered(str(request), said, shown(usage, run), taken_ns, error))


@dataclass(frozen=True, slots=True)
class _Beside:
    """What a model is given beside the messages: the `tools` it is offered, or the request's `parameters`."""

    kind: str
    given: Any


def _state(one: object) -> object:
    """Return all that is recorded of a part of a request; None: that cannot be told."""
    if type(one) is _Beside:
        return one.kind, one.given
    if isinstance(one, BaseMessage):
        return (one.__class__.__name__, one.__dict__, one.__pydantic_extra__) if type(one) in _PLAIN else None
    return one if type(one) is str else None


def _beside(one: _Beside, run: Run) -> Json:
    """Return it as it may stand in the log; what opens a service is not shown."""
    if one.kind == "tools":
        return _offered(one.given, run)
    return jsonable(without_keys(one.given, hide=run.hide), hide=run.hide)


def _settings(parameters: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request that are recorded."""
    said = {own: metadata[name] for name, own in _STANDARD.items() if metadata.get(name) is not None}
    return said | {name: value for name, value in parameters.items() if name not in _NOT_PARAMETERS}


def _offered(tools: Any, run: Run) -> Json:
    """Return the tools that a model is offered as they may stand in the log."""
    if not isinstance(tools, list | tuple):
        return shown(tools, run)
    said = [
        one
        if not isinstance(one, Mapping) or any(name in one for name in _SCHEMAS)
        else without_keys(one, hide=run.hide)
        for one in tools
    ]
    return shown(said, run)


def run_around(invocation: UUID | None) -> Run | None:
    """Return the run that an invocation belongs to: the innermost around it."""
    return innermost(invocation, current_run())


WITNESS = Witness()
_HOOK: ContextVar[Witness | None] = ContextVar("ringfence_witness", default=WITNESS)
register_configure_hook(_HOOK, inheritable=True)
