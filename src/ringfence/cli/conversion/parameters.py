"""What tools take, from the schemas that frameworks give: the `takes` of a converted policy."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence.cli.exits import CommandError

_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_FORMATS = {"email": "email", "uri": "url", "url": "url", "date": "date"}


def read_tools(what: str) -> dict[str, Mapping[str, Any]]:
    """Return each tool's JSON Schema from a JSON file, or from `langchain:MODULE:LIST`.

    The file is a list of tools as MCP's `tools/list` or an OpenAI request gives them.

    Raises:
        CommandError: There is no such file or list, or it holds no tools.
    """
    if what.startswith("langchain:"):
        return _of_langchain(what)
    try:
        found = json.loads(Path(what).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{what} cannot be read: {error}", help="a JSON list of tools with schemas"
        ) from error
    if isinstance(found, dict):
        found = found.get("tools", found)
    if not isinstance(found, list):
        raise CommandError(f"{what} holds no list of tools", help="as MCP's `tools/list` gives it")
    tools: dict[str, Mapping[str, Any]] = {}
    for tool in found:
        inside = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(inside, dict) or not isinstance(inside.get("name"), str):
            raise CommandError(f"{what} holds a tool without a name")
        schema = inside.get("inputSchema") or inside.get("parameters") or inside.get("args_schema") or {}
        tools[inside["name"]] = schema if isinstance(schema, dict) else {}
    return tools


def _of_langchain(what: str) -> dict[str, Mapping[str, Any]]:
    from importlib import import_module

    _, _, rest = what.partition(":")
    module, _, name = rest.partition(":")
    try:
        listed = getattr(import_module(module), name)
        return {tool.name: _schema(tool.tool_call_schema) for tool in listed}
    except Exception as error:  # the user's module may raise anything: the command ends, nothing is written
        raise CommandError(
            f"{what} gives no tools: {type(error).__name__}: {error}", help="langchain:MODULE:LIST_OF_TOOLS"
        ) from error


def _schema(given: Any) -> Mapping[str, Any]:
    """Return the JSON Schema of a LangChain tool, which it may have as such (as the tools of MCP do)."""
    schema: Mapping[str, Any] = given if isinstance(given, dict) else given.model_json_schema()
    return schema


def takes(schema: Mapping[str, Any]) -> str:
    """Return the parameters as `takes` says them; what the language cannot type is refused.

    Raises:
        CommandError: A parameter has a type that no policy can name.
    """
    required = set(schema.get("required", ()))
    parts = []
    for name, one in (schema.get("properties") or {}).items():
        if not _NAME.fullmatch(name):
            raise CommandError(
                f"the parameter `{name}` has a name that no policy can say",
                help="small letters, digits and `_`",
            )
        written = f"{name}: {_type(name, one)}"
        parts.append(written if name in required and not _may_be_null(one) else f"{written} optional")
    return ", ".join(parts)


def _type(name: str, schema: Any) -> str:
    schema = _without_null(schema) if isinstance(schema, dict) else {}
    kind = schema.get("type")
    if kind == "array":
        inner = _type(name, schema.get("items", {}))
        bound = f" at most {schema['maxItems']}" if isinstance(schema.get("maxItems"), int) else ""
        if " " in inner:
            inner = inner.split()[0]
        return f"list of {inner}{bound}"
    if kind == "object":
        return "record"
    if kind == "string":
        word = _FORMATS.get(schema.get("format", ""), "text")
        bound = f" at most {schema['maxLength']}" if isinstance(schema.get("maxLength"), int) else ""
        return word + bound
    if kind in _TYPES:
        return _TYPES[kind]
    raise CommandError(
        f"the parameter `{name}` has no type that a policy can name", help="give it one in the tool's schema"
    )


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": named[0] if len(named) == 1 and isinstance(named[0], str) else None}
    options = [one for one in schema.get("anyOf", ()) if isinstance(one, dict) and one.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


def _may_be_null(schema: Any) -> bool:
    kinds = schema.get("type") if isinstance(schema, dict) else None
    return isinstance(kinds, list) and "null" in kinds
