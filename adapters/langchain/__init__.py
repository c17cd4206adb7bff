"""LangChain and LangGraph.

`guard_tools` needs langchain-core alone, `begin_node` langgraph, `GuardMiddleware` langchain: each is
imported when it is first asked for.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("langchain_core") is None:
    raise ImportError('the adapter for LangChain needs its packages: pip install "ringfence[langchain]"')

if TYPE_CHECKING:
    from ringfence.adapters.langchain.admission import injected
    from ringfence.adapters.langchain.decisions import ResumeError
    from ringfence.adapters.langchain.deepagents import guard_subagents
    from ringfence.adapters.langchain.isolates import isolate_tool
    from ringfence.adapters.langchain.middleware import GuardMiddleware
    from ringfence.adapters.langchain.nodes import begin_hook, begin_node, end_hook, end_node
    from ringfence.adapters.langchain.offered import visible_tools
    from ringfence.adapters.langchain.played import DivergedError, NotAsRecordedError, Playback, playback
    from ringfence.adapters.langchain.runs import NoRunError
    from ringfence.adapters.langchain.suspension import questions
    from ringfence.adapters.langchain.tools import guard_tools
    from ringfence.adapters.langchain.unbound import tool_node
    from ringfence.engine.binding.questions import Question

__all__ = [
    "DivergedError",
    "GuardMiddleware",
    "NoRunError",
    "NotAsRecordedError",
    "Playback",
    "Question",
    "ResumeError",
    "begin_hook",
    "begin_node",
    "end_hook",
    "end_node",
    "guard_subagents",
    "guard_tools",
    "injected",
    "isolate_tool",
    "playback",
    "questions",
    "tool_node",
    "visible_tools",
]

_HOMES = {
    "DivergedError": "played",
    "GuardMiddleware": "middleware",
    "NoRunError": "runs",
    "NotAsRecordedError": "played",
    "Playback": "played",
    "Question": "suspension",
    "ResumeError": "decisions",
    "begin_hook": "nodes",
    "begin_node": "nodes",
    "end_hook": "nodes",
    "end_node": "nodes",
    "guard_subagents": "deepagents",
    "guard_tools": "tools",
    "injected": "admission",
    "isolate_tool": "isolates",
    "playback": "played",
    "questions": "suspension",
    "tool_node": "unbound",
    "visible_tools": "offered",
}
_PACKAGES = ("langchain", "langgraph")
"""What is needed beside langchain-core, by some names only."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    try:
        return getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _PACKAGES:
            raise
        raise ImportError(
            f'`{name}` needs the package `{error.name}`: pip install "ringfence[langchain]"'
        ) from error
