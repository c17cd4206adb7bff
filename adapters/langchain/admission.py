"""How a call comes to a guarded tool: in which run, and which of its arguments only the framework may set."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables.config import ensure_config

from ringfence.adapters.langchain.capture import EXPECTED
from ringfence.adapters.langchain.classic import is_executor
from ringfence.adapters.langchain.functions import ToolRuntime, functions_of
from ringfence.adapters.langchain.gate import INCOMING, Gate, Incoming, gate_of
from ringfence.adapters.langchain.parameters import HIDDEN, Parameters
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError

_INJECTED: ContextVar[Mapping[str, Any] | None] = ContextVar("ringfence_injected", default=None)
_TRUSTED: ContextVar[tuple[Gate, Run] | None] = ContextVar("ringfence_trusted", default=None)


@contextmanager
def injected(**values: Any) -> Iterator[None]:
    """Give injected arguments to guarded tools invoked in the block, as the host's own word.

    Injected arguments in the input of a bare `invoke` are refused: a model could have written them.
    """
    token = _INJECTED.set(values)
    try:
        yield
    finally:
        _INJECTED.reset(token)


@contextmanager
def trusting(gate: Gate, run: Run) -> Iterator[None]:
    """Take the next call of this gate for one of `run`, and what is injected for the framework's own."""
    token = _TRUSTED.set((gate, run))
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def admit(tool: Any, tool_input: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Incoming]:
    """Find the run, and take from the input what only the framework may set."""
    gate = gate_of(tool)
    assert gate is not None, "a guarded copy has a gate"
    if functions_of(tool) != gate.functions:
        # SECURITY: copied or changed after it was guarded; what would run does not meet the guard.
        raise EngineError(f"the function of `{tool.name}` was exchanged after it was guarded")
    config = ensure_config(kwargs.get("config"))
    trust = _TRUSTED.get()
    through_middleware = trust is not None and trust[0] is gate
    run = trust[1] if trust is not None and through_middleware else gate.runs.of_tool(gate.name, config)
    parameters = gate.parameters
    clean: Any = tool_input
    if isinstance(tool_input, str):
        first = parameters.first()
        given: dict[str, Any] = {first: tool_input} if first else {}
        clean = dict(given) if first else tool_input
    else:
        given = dict(tool_input)
        clean = dict(tool_input)
        trusted = through_middleware or _proves(given, parameters)
        clean.pop(HIDDEN, None)
        if trusted:
            given.pop(HIDDEN, None)
        for name in parameters.injected & clean.keys():
            # SECURITY: a bare invoke does not strip what a model forged; it stays in `given`, which no
            # schema knows, so the policy refuses the call.
            (given if trusted else clean).pop(name)
    if isinstance(clean, dict):
        clean |= {n: v for n, v in (_INJECTED.get() or {}).items() if n in parameters.injected}
    call_id, in_words = kwargs.get("tool_call_id"), is_executor(kwargs)
    return clean, Incoming(gate, run, dict(given), call_id, config, in_words=in_words)


def _proves(given: Mapping[str, Any], parameters: Parameters) -> bool:
    if ToolRuntime is None:
        return False
    if parameters.proofs.isdisjoint(given):
        return False
    return any(isinstance(given.get(name), ToolRuntime) for name in parameters.proofs)


class Underway:
    """Carries a call to its function; trust is for this call, not for what its body invokes."""

    __slots__ = ("_expected", "_incoming", "_token", "_trusted")

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def __enter__(self) -> None:
        self._trusted = _TRUSTED.set(None)
        self._token = INCOMING.set(self._incoming)
        self._expected = EXPECTED.set([self._incoming.gate.name])

    def __exit__(self, *_: object) -> None:
        EXPECTED.reset(self._expected)
        INCOMING.reset(self._token)
        _TRUSTED.reset(self._trusted)
