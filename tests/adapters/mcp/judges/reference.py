"""The reference servers through the SDK's own client: what it is told with and without the gateway."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from tests.adapters.mcp.judges.places import CHECKOUT, REFERENCE, environment, gateway, node
from tests.adapters.mcp.judges.policy import allow_all

MODES = ("legacy", "auto")
Seen = dict[str, Any]

KNOWN = {
    "execution": "tasks outlive their calls: the gateway does not offer them",
    "get-env": "the environment of the server is another one",
    "arguments that fit no schema": "the gateway refuses them before the server does, in words of its own",
}
"""What is left out of the comparison, and why."""

EVERYTHING_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("echo", {"message": "héllo ✉️"}),
    ("echo", {"message": 17}),
    ("echo", {}),
    ("get-annotated-message", {"messageType": "error", "includeImage": True}),
    ("get-annotated-message", {"messageType": "unheard of"}),
    ("get-env", {}),
    ("get-resource-links", {"count": 2}),
    ("get-resource-reference", {"resourceType": "Text", "resourceId": 2}),
    ("get-resource-reference", {"resourceType": "Blob", "resourceId": 3}),
    ("get-structured-content", {"location": "Chicago"}),
    ("get-sum", {"a": 0.1, "b": 2}),
    ("get-tiny-image", {}),
    (
        "gzip-file-as-resource",
        {"name": "x.gz", "data": "data:text/plain;base64,aGVsbG8=", "outputType": "resource"},
    ),
    ("trigger-long-running-operation", {"duration": 0.3, "steps": 3}),
    ("trigger-elicitation-request", {}),
    ("trigger-sampling-request", {"prompt": "hello", "maxTokens": 10}),
    ("get-roots-list", {}),
]
PROMPTS: list[tuple[str, dict[str, str]]] = [
    ("simple-prompt", {}),
    ("args-prompt", {"city": "Paris", "state": "TX"}),
    ("completable-prompt", {"department": "Engineering", "name": "Alice"}),
    ("resource-prompt", {"resourceType": "Text", "resourceId": "1"}),
    ("unheard-of", {}),
]
URIS = [
    "demo://resource/static/document/features.md",
    "demo://resource/dynamic/text/1",
    "demo://resource/dynamic/blob/2",
    "demo://resource/unheard/of",
]


def file_calls(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return calls of every tool of the file server, refused ones among them."""
    text, other = str(folder / "a.txt"), str(folder / "b.txt")
    edit = {"oldText": "two", "newText": "2"}
    return [
        ("list_allowed_directories", {}),
        ("list_directory", {"path": str(folder)}),
        ("list_directory_with_sizes", {"path": str(folder), "sortBy": "size"}),
        ("directory_tree", {"path": str(folder)}),
        ("read_file", {"path": text}),
        ("read_text_file", {"path": text, "head": 1}),
        ("read_text_file", {"path": "/etc/hostname"}),
        ("read_text_file", {"path": f"{folder}/../outside"}),
        ("read_media_file", {"path": str(folder / "c.png")}),
        ("read_multiple_files", {"paths": [text, other]}),
        ("write_file", {"path": other, "content": "written\n"}),
        ("edit_file", {"path": text, "edits": [edit], "dryRun": True}),
        ("edit_file", {"path": text, "edits": [edit]}),
        ("create_directory", {"path": str(folder / "new" / "deep")}),
        ("move_file", {"source": other, "destination": str(folder / "moved.txt")}),
        ("search_files", {"path": str(folder), "pattern": "*.txt"}),
        ("get_file_info", {"path": text}),
        ("read_text_file", {"path": text}),
    ]


def fill(folder: Path) -> None:
    """Put the same files there, whatever was there before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "inner").mkdir()
    (folder / "inner" / "d.txt").write_text("inner")


def left_in(folder: Path) -> dict[str, str]:
    """Return the files in a folder, and what they hold."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().hex() for path in files}


async def seen_of_everything(client: Client) -> Seen:
    """Return all that a client sees of `server-everything`."""
    seen: Seen = {"tools": await _tools(client)}
    for number, (name, given) in enumerate(EVERYTHING_CALLS):
        seen[f"call {number} {name}"] = await _call(client, name, given)
    seen["prompts"] = await _told(lambda: client.list_prompts(cache_mode="bypass"))
    for prompt, words in PROMPTS:
        seen[f"prompt {prompt}"] = await _told(lambda p=prompt, w=words: client.get_prompt(p, w))  # type: ignore[misc]
    seen["resources"] = await _told(lambda: client.list_resources(cache_mode="bypass"))
    seen["templates"] = await _told(lambda: client.list_resource_templates(cache_mode="bypass"))
    for uri in URIS:
        seen[f"read {uri}"] = await _told(lambda u=uri: client.read_resource(u, cache_mode="bypass"))  # type: ignore[misc]
    about = types.PromptReference(type="ref/prompt", name="completable-prompt")
    seen["completion"] = await _told(lambda: client.complete(about, {"name": "department", "value": "E"}))
    seen["progress"] = await _progress(client)
    seen["cancelled"] = await _cancelled(client)
    return seen


async def seen_of_files(client: Client, folder: Path) -> Seen:
    """Return all that a client sees of `server-filesystem`."""
    seen: Seen = {"tools": await _tools(client)}
    for number, (name, given) in enumerate(file_calls(folder)):
        seen[f"call {number} {name}"] = await _call(client, name, given)
    return seen


async def differences(server: str, folder: Path) -> list[str]:
    """Compare one server's words with and without the gateway, from clients of both eras."""
    files = folder / "files"
    arguments = ["stdio"] if server == "server-everything" else [str(files)]
    command = [node(), str(REFERENCE / server / "dist" / "index.js"), *arguments]

    async def seen(target: StdioServerParameters, mode: Any) -> Seen:
        fill(files)
        async with Client(target, mode=mode, cache=None, **_answers(files)) as client:
            if server == "server-everything":
                return await seen_of_everything(client)
            told = await seen_of_files(client, files)
        return {**told, "left behind": left_in(files)}

    alone = StdioServerParameters(command=command[0], args=command[1:])
    fill(files)
    async with Client(alone, cache=None, **_answers(files)) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    policy = folder / f"{server}.fence"
    policy.write_text(allow_all(names))
    found: list[str] = []
    for mode in MODES:
        without = await seen(alone, mode)
        first, *rest = gateway(policy, folder / f"{server}-{mode}.db", "--", *command)
        behind = StdioServerParameters(command=first, args=rest, env=environment(), cwd=CHECKOUT)
        with_it = await seen(behind, mode)
        found += [
            f"{server} ({mode}) {what}: {_short(without.get(what))} -> {_short(with_it.get(what))}"
            for what in {**without, **with_it}
            if without.get(what) != with_it.get(what)
        ]
        print(f"{server}, client of {'2025' if mode == 'legacy' else '2026'}: {len(without)} things compared")
    return found


def _answers(folder: Path) -> dict[str, Any]:
    async def elicit(_: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada", "check": True})

    async def sample(_: Any, params: Any) -> types.CreateMessageResult:
        said = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=said, model="m")

    async def roots(_: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=folder.as_uri(), name="files")])  # type: ignore[arg-type]

    return {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}


async def _tools(client: Client) -> Any:
    return {tool.name: _plain(tool) for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def _call(client: Client, name: str, given: dict[str, Any]) -> Any:
    told = await _told(lambda: client.call_tool(name, given))
    if told.get("isError") and any(words in told["content"][0]["text"] for words in _UNFIT):
        return "arguments that fit no schema"
    return "a result" if name in KNOWN and "content" in told else told


async def _told(ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return _plain(await ask())
    except MCPError as error:
        return {"error": error.code}


async def _progress(client: Client) -> Any:
    heard: list[Any] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append([progress, total])

    given = {"duration": 0.4, "steps": 4}
    await client.call_tool("trigger-long-running-operation", given, progress_callback=progress)
    return heard


async def _cancelled(client: Client) -> Any:
    """Give up a call of a minute as soon as it has begun; the server must go on to answer others."""
    begun = asyncio.Event()

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    given = {"duration": 60, "steps": 600}
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await client.call_tool("trigger-long-running-operation", given, progress_callback=progress)

            tasks.start_soon(call)
            await begun.wait()
            scope.cancel()
    return {"begun": begun.is_set(), "then": await _call(client, "echo", {"message": "after"})}


_TIME = re.compile(
    r"\b\d{1,2}:\d\d:\d\d(\s?[AP]M)?\b"
    r"|\b\d{4}-\d\d-\d\dT[\d:.]+Z\b" + r"|\b[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d{4}.*"
)
_UNFIT = ("Invalid arguments for tool", "not authorized")
_OF_AN_ERA = ("_meta", "resultType", "ttlMs", "cacheScope", "execution")


def _plain(told: Any) -> Any:
    """Return what was told without the hour, and without what only one of the eras says."""
    return _timeless(told.model_dump(mode="json", by_alias=True, exclude_none=True))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _timeless(part) for name, part in value.items() if name not in _OF_AN_ERA}
        if str(kept.get("mimeType", "")).startswith("text/") and "blob" in kept:
            kept["blob"] = _timeless(base64.b64decode(kept["blob"]).decode(errors="replace"))
        return kept
    if isinstance(value, list):
        return [_timeless(part) for part in value]
    return _TIME.sub("TIME", value) if isinstance(value, str) else value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) < 400 else f"{text[:400]}…"
