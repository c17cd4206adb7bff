"""Tools in a JSON file: as MCP's `tools/list` answers, or as a request to a model has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence.cli.exits import CommandError
from ringfence.dsl.live import LiveTool

_MOST_BYTES = 64 << 20
_SCHEMAS = ("inputSchema", "input_schema", "parameters", "args_schema")


def of_file(name: str) -> list[LiveTool]:
    """Return the tools of a file.

    Raises:
        CommandError: There is no such file, or it holds no tools.
    """
    try:
        with Path(name).open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
        return of_text(text, name)
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(
            f"{name} cannot be read: {error}", help="a JSON list of tools with schemas"
        ) from error


def of_text(text: str | bytes, name: str) -> list[LiveTool]:
    """Return the tools in a JSON text; raise ValueError for what is no JSON."""
    found = json.loads(text, object_pairs_hook=_record)
    if isinstance(found, dict):
        found = found.get("result", found)
    if isinstance(found, dict):
        found = found.get("tools", found)
    if not isinstance(found, list):
        raise CommandError(f"{name} holds no list of tools", help="as MCP's `tools/list` gives it")
    return [_tool(one, name) for one in found]


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        # SECURITY: other readers take the first of two, and so would see another tool.
        raise ValueError("a name stands twice in a record")
    return record


def _tool(found: object, name: str) -> LiveTool:
    inside = found.get("function", found) if isinstance(found, dict) else None
    if not isinstance(inside, Mapping) or not isinstance(inside.get("name"), str):
        raise CommandError(f"{name} holds a tool without a name")
    schema = next((inside[key] for key in _SCHEMAS if isinstance(inside.get(key), Mapping)), None)
    annotations, description = inside.get("annotations"), inside.get("description")
    return LiveTool(
        inside["name"],
        schema,
        description if isinstance(description, str) else "",
        annotations if isinstance(annotations, Mapping) else {},
    )
