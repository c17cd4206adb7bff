"""What a model is asked, and was asked in the record, without what changes by chance from run to run.

Ids of messages are left out; ids of calls are numbered in the order in which they appear.  Metadata of
answers and artifacts are left out too: no model is sent these.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import ModelAsked
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.retrospect.playback.asking import Asking

_ONLY_ASKED: Final = frozenset({"tool_choice", "stop", "response_format"})
"""Parameters that no model has of its own: a request brings them."""
_NOT_SAID: Final = frozenset({"tools", "functions", "strict", "stream", "ls_structured_output_format"})
"""What a request's settings have beside parameters that a provider is sent under their name."""
_MINTED: Final = "lc_"
"""How ids begin that LangChain draws for blocks of content."""


def recorded_asking(asked: ModelAsked) -> Asking:
    """Return a recorded request as it is compared."""
    parameters = asked.parameters if isinstance(asked.parameters, Mapping) else {}
    tools = None if asked.tools is None else [_tool(one) for one in asked.tools]
    # A model class that says no tools says nothing of how they were bound either.
    names = _ONLY_ASKED if tools is not None else _ONLY_ASKED - {"tool_choice"}
    said = {name: _parameter(name, value) for name, value in parameters.items() if value is not None}
    return Asking(_messages(asked.messages), tools, said, frozenset(names))


def asking(
    messages: Sequence[BaseMessage],
    stop: Sequence[str] | None,
    settings: Mapping[str, Any],
    recorded_tools: bool,
) -> Asking:
    """Return a request that comes now as it is compared."""
    said = {"stop": None if stop is None else list(stop), **settings}
    parameters = {
        name: _parameter(name, _plain(value))
        for name, value in said.items()
        if value is not None and name not in _NOT_SAID and not name.startswith("_")
    }
    if not recorded_tools:
        parameters.pop("tool_choice", None)
    tools = [_tool(_plain(one)) for one in settings.get("tools") or ()]
    return Asking(_messages([_plain(message) for message in messages]), tools, parameters)


def offered(tool: Any) -> dict[str, Any]:
    """Return a tool as a model is offered it: its name, its description, its parameters."""
    if isinstance(tool, dict) and "function" not in tool and not {"name", "description"} <= tool.keys():
        return dict(tool)  # one that runs at the provider
    return (
        convert_to_openai_tool(tool) if isinstance(tool, BaseTool | dict | type) or callable(tool) else tool
    )


def _plain(value: object) -> Json:
    """Return a value as the log would have it, were nothing in it hidden."""
    return jsonable(json_of(value))


# ---- messages --------------------------------------------------------------------------------------


def _messages(said: Json) -> list[dict[str, Json]]:
    ids: dict[str, int] = {}
    return [_message(one, ids) for one in said]


def _message(said: Json, ids: dict[str, int]) -> dict[str, Json]:
    if not isinstance(said, Mapping) or not isinstance(said.get("data"), Mapping):
        return {"from": "text", "content": said}
    data = said["data"]
    message: dict[str, Json] = {
        "from": str(said.get("type")).removesuffix("MessageChunk").lower(),
        "content": _content(data.get("content")),
    }
    if data.get("name"):
        message["name"] = data["name"]
    calls = [_call(one, ids) for one in data.get("tool_calls") or ()]
    calls += [_call(one, ids) for one in data.get("invalid_tool_calls") or ()]
    if calls:
        message["calls"] = calls
    if data.get("tool_call_id") is not None:
        message["answers"] = _number(data["tool_call_id"], ids)
    if data.get("status") == "error":
        message["status"] = "error"
    if data.get("additional_kwargs"):
        message["more"] = data["additional_kwargs"]
    return message


def _call(said: Json, ids: dict[str, int]) -> dict[str, Json]:
    call = {"number": _number(said.get("id"), ids), "name": said.get("name"), "args": said.get("args")}
    return {**call, "error": said["error"]} if said.get("error") else call


def _number(id: Json, ids: dict[str, int]) -> int:
    return ids.setdefault(str(id), len(ids) + 1)


def _content(content: Json) -> Json:
    if not isinstance(content, list):
        return content
    return [
        {name: value for name, value in part.items() if name != "id" or not str(value).startswith(_MINTED)}
        if isinstance(part, Mapping)
        else part
        for part in content
    ]


# ---- tools and parameters --------------------------------------------------------------------------


def _tool(said: Json) -> dict[str, Json]:
    """Return a tool whichever provider's form it is in; one of the provider's own as it is."""
    if not isinstance(said, Mapping):
        return {"name": str(said)}
    function = said.get("function")
    inner: Mapping[str, Json] = function if isinstance(function, Mapping) else said
    name = inner.get("name")
    parameters = next((inner[key] for key in ("parameters", "input_schema") if key in inner), None)
    if name is None or (parameters is None and "description" not in inner):
        return {"name": name or said.get("type"), "parameters": dict(said)}
    return {
        "name": name,
        "description": inner.get("description") or "",
        "parameters": _schema(parameters, strict=bool(inner.get("strict"))),
    }


def _schema(said: Json, *, strict: bool) -> Json:
    """Return the schema of a tool's parameters without what a form of it adds."""
    if not isinstance(said, Mapping):
        return said
    schema = {name: value for name, value in said.items() if name not in ("$schema", "title")}
    if not schema.get("required"):
        schema.pop("required", None)
    if strict and schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    return schema


def _parameter(name: str, value: Json) -> Json:
    """Return a parameter as it is compared: providers write one choice of a tool in several ways."""
    if name != "tool_choice":
        return value
    if isinstance(value, Mapping):
        function = value.get("function")
        named = function.get("name") if isinstance(function, Mapping) else value.get("name")
        value = named or value.get("type")
    return "required" if value in ("any", "required", True) else value


def texts(messages: Iterable[Json]) -> list[Json]:
    """Return recorded messages but for the system's at the beginning: what the host had handed in."""
    said = list(messages)
    while said and isinstance(said[0], Mapping) and said[0].get("type") == "system":
        del said[0]
    return said
