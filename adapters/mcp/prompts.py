"""Prompts that servers offer, and completions of their arguments: listed and filled in as the policy says."""

from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp import Client

from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.connections import Context
from ringfence.adapters.mcp.definitions import oddities
from ringfence.adapters.mcp.lists import lens_of_list
from ringfence.adapters.mcp.protocol import Protocol
from ringfence.adapters.mcp.uris import normal
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.tool_results import ResultLens

LIST: Final = "prompts/list"
GET: Final = "prompts/get"
COMPLETE: Final = "completion/complete"


class Prompts:
    """Answers everything about prompts, and completions."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    @property
    def exist(self) -> bool:
        """Whether the policy has any of it."""
        return self._protocol.declares(LIST) or self._protocol.declares(GET)

    async def list(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """Answer with all prompts that may be listed, on one page; of two of one name, none."""

        async def ask(back: Back) -> list[types.Prompt]:
            async def page(client: Client, cursor: str | None) -> tuple[list[types.Prompt], str | None]:
                found = await client.list_prompts(cursor=cursor, cache_mode="bypass")
                return found.prompts, found.next_cursor

            entries = [] if (await back.capabilities()).prompts is None else await back.pages(page)
            plain = [one for one in entries if not oddities(_plain(one))]
            return [one.model_copy(update={"name": back.spec.shown(one.name)}) for one in plain]

        found = await self._protocol.of_each(context, params, LIST, ask, lens_of_list(types.Prompt))
        names = [one.name for one in found]
        alone = [one for one in found if names.count(one.name) == 1]
        return types.ListPromptsResult(prompts=alone, ttl_ms=0, cache_scope="private")

    async def get(self, context: Context, params: types.GetPromptRequestParams) -> Any:
        """Answer with a prompt, filled in."""

        async def arguments() -> dict[str, Json]:
            back, name = self._named(params.name)
            return {"server": back.spec.argument, "name": name, "arguments": dict(params.arguments or {})}

        async def body(said: Mapping[str, Json]) -> types.GetPromptResult:
            values: dict[str, str] = dict(said["arguments"])
            result = await self._back(said).ask(lambda client: client.get_prompt(str(said["name"]), values))
            return types.GetPromptResult(description=result.description, messages=result.messages)

        return await self._protocol.one(context, params, GET, arguments, body, _PROMPT)

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Answer with completions, which tell names and values."""
        reference = params.ref

        async def arguments() -> dict[str, Json]:
            if isinstance(reference, types.PromptReference):
                back, name = self._named(reference.name)
                about: dict[str, Json] = {"prompt": name}
            else:
                back, about = self._only(), {"uri": _template(reference.uri)}
            given = None if params.context is None else params.context.arguments
            more = {} if given is None else {"context": dict(given)}
            argument = {"argument": params.argument.name, "value": params.argument.value}
            return {"server": back.spec.argument, **about, **argument, **more}

        async def body(said: Mapping[str, Json]) -> types.CompleteResult:
            known: types.PromptReference | types.ResourceTemplateReference
            if "prompt" in said:
                known = types.PromptReference(name=str(said["prompt"]))
            else:
                known = types.ResourceTemplateReference(uri=str(said["uri"]))
            argument = {"name": str(said["argument"]), "value": str(said["value"])}
            context = dict(said["context"]) if "context" in said else None
            result = await self._back(said).ask(lambda client: client.complete(known, argument, context))
            return types.CompleteResult(completion=result.completion)

        found: types.CompleteResult = await self._protocol.one(
            context, params, COMPLETE, arguments, body, _COMPLETION
        )
        return found

    def _named(self, shown: str) -> tuple[Back, str]:
        """Return the server whose prompt the client calls so, and what the server calls it."""
        for back in self._protocol.backs:
            prefix = back.spec.shown("")
            if shown.startswith(prefix):
                return back, shown.removeprefix(prefix)
        raise ValueError("no server has such a prompt")

    def _only(self) -> Back:
        backs = self._protocol.backs
        if len(backs) != 1:
            raise ValueError("of several servers it cannot be told which one has the template")
        return backs[0]

    def _back(self, said: Mapping[str, Json]) -> Back:
        return next(one for one in self._protocol.backs if one.spec.argument == said["server"])


def _template(uri: str) -> str:
    """Return a template as it is, or a URI in its normal form."""
    return uri if "{" in uri else normal(uri)


def _plain(entry: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = entry.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _value(result: types.GetPromptResult) -> Json:
    """Return the text of one message that is one text; of anything else, all of it."""
    if len(result.messages) == 1 and result.description is None:
        content = result.messages[0].content
        if isinstance(content, types.TextContent) and content.annotations is None and not content.meta:
            return content.text
    return result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"result_type"})


def _with_value(result: types.GetPromptResult, value: Json) -> types.GetPromptResult:
    if not isinstance(value, str) or not result.messages:
        raise ValueError("a prompt of several parts cannot be cut")
    content = types.TextContent(type="text", text=value)
    message = types.PromptMessage(role=result.messages[0].role, content=content)
    return types.GetPromptResult(messages=[message])


def _completed(result: types.CompleteResult, value: Json) -> types.CompleteResult:
    if not isinstance(value, list):
        raise ValueError("completions cannot be padded")
    return types.CompleteResult(completion=types.Completion(values=value))


_PROMPT: Final = ResultLens(get=_value, set=_with_value)
_COMPLETION: Final = ResultLens(get=lambda result: list(result.completion.values), set=_completed)
