"""What a client is told, in a form that can be compared with and without a gateway."""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.adapters.mcp.everything.content import CONTENT, PROMPTS, RESOURCES

_TIME = re.compile(
    r"\b\d{1,2}:\d\d:\d\d(\s?[AP]M)?\b"
    r"|\b\d{4}-\d\d-\d\dT[\d:.]+Z\b"
    r"|\b[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d{4}.*"
)
_OF_AN_ERA = ("_meta", "resultType", "ttlMs", "cacheScope", "execution")


async def told(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a request is answered with, or the code of its error."""
    try:
        return plain(await ask())
    except MCPError as error:
        return {"error": error.code}


def plain(answer: Any) -> Any:
    """Return an answer without the hour, and without what only one of the eras says."""
    return _timeless(answer.model_dump(mode="json", by_alias=True, exclude_none=True))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _timeless(part) for name, part in value.items() if name not in _OF_AN_ERA}
        if str(kept.get("mimeType", "")).startswith("text/") and "blob" in kept:
            kept["blob"] = _timeless(base64.b64decode(kept["blob"]).decode(errors="replace"))
        return kept
    if isinstance(value, list):
        return [_timeless(part) for part in value]
    return _TIME.sub("TIME", value) if isinstance(value, str) else value


CALLS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CONTENT),
    ("test_error_handling", {}),
    ("test_sampling", {"prompt": "hello"}),
    ("test_elicitation", {"message": "who are you?"}),
    ("test_elicitation_sep1034_defaults", {}),
    ("test_elicitation_sep1330_enums", {}),
    ("json_schema_2020_12_tool", {"name": "x", "phone": "1", "contactMethod": "phone"}),
]


async def seen_of_everything(client: Client) -> dict[str, Any]:
    """Return all that a client is told by the server that has everything."""
    listed = await client.list_tools(cache_mode="bypass")
    seen: dict[str, Any] = {"tools": {tool.name: plain(tool) for tool in listed.tools}}
    for name, given in CALLS:
        seen[f"call {name}"] = await told(lambda n=name, g=given: client.call_tool(n, g))  # type: ignore[misc]
    seen["prompts"] = await told(lambda: client.list_prompts(cache_mode="bypass"))
    for prompt in PROMPTS:
        given = {argument.name: "some" for argument in prompt.arguments or []}
        if "input_required" not in prompt.name:  # there is no such answer in the older era
            seen[f"prompt {prompt.name}"] = await told(
                lambda p=prompt.name, g=given: client.get_prompt(p, g)  # type: ignore[misc]
            )
    seen["resources"] = await told(lambda: client.list_resources(cache_mode="bypass"))
    seen["templates"] = await told(lambda: client.list_resource_templates(cache_mode="bypass"))
    for uri in [*(str(one.uri) for one in RESOURCES), "test://template/7/data", "test://no/such"]:
        seen[f"read {uri}"] = await told(lambda u=uri: client.read_resource(u, cache_mode="bypass"))  # type: ignore[misc]
    about = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    seen["completion"] = await told(lambda: client.complete(about, {"name": "arg1", "value": "pa"}))
    seen["progress"] = await _progress(client)
    return seen


async def _progress(client: Client) -> list[Any]:
    heard: list[Any] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append([progress, total])

    await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
    return heard
