"""Resources, prompts, completions, logs: tools of the policy, and nothing where it has none of them."""

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError

from ringfence.engine.decision.events import CallDecided, CallRequested
from tests.adapters.mcp.near import ERAS, near

BARE = "language 1\npolicy bare\ntool look { allow always }\n"
POLICY = """
language 1
policy library
tool look { allow always }
tool list_resources is "mcp/resources/list" { takes server: text  allow always }
tool list_templates is "mcp/resources/templates/list" { takes server: text  allow always }
tool read_resource is "mcp/resources/read" {
  takes server: text, uri: text
  allow when uri starts with "docs://open/"
  result at most 20 KB
}
tool list_prompts is "mcp/prompts/list" { takes server: text  allow always }
tool get_prompt is "mcp/prompts/get" {
  takes server: text, name: text, arguments: record
  allow when name == "greet"
}
tool complete is "mcp/completion/complete" {
  takes server: text, prompt: text optional, uri: text optional, argument: text, value: text
  allow when argument == "who"
}
"""


def library(name: str = "library") -> MCPServer:
    server = MCPServer(name)

    @server.tool(structured_output=False)
    def look() -> str:
        return "seen"

    @server.resource("docs://open/readme")
    def readme() -> str:
        return "read me"

    @server.resource("docs://closed/secret")
    def secret() -> str:
        return "SECRET"

    @server.resource("docs://open/{page}")
    def page(page: str) -> str:
        return f"page {page}"

    @server.prompt()
    def greet(who: str) -> str:
        return f"hello {who}"

    @server.prompt()
    def scold(who: str) -> str:
        return f"bad {who}"

    @server.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> types.Completion:
        return types.Completion(values=[f"{argument.value}!"])

    return server


async def refused(work: Any) -> str:
    with pytest.raises(MCPError) as error:
        await work
    return str(error.value)


@pytest.mark.parametrize("era", ERAS)
async def test_what_the_policy_does_not_have_does_not_exist(era: str) -> None:
    async with near(BARE, library(), era=era) as here:
        client = here.client
        has = client.server_capabilities
        assert has.tools is not None
        assert (has.resources, has.prompts, has.completions, has.logging) == (None, None, None, None)
        for work in (
            client.list_resources(),
            client.list_resource_templates(),
            client.read_resource("docs://open/readme"),
            client.list_prompts(),
            client.get_prompt("greet", {"who": "ann"}),
            client.complete(types.PromptReference(name="greet"), {"name": "who", "value": "a"}),
        ):
            assert await refused(work) == "Method not found"
        assert here.events(CallRequested) == []


@pytest.mark.parametrize("era", ERAS)
async def test_resources_are_read_as_the_policy_says(era: str) -> None:
    async with near(POLICY, library(), era=era) as here:
        client = here.client
        listed = [one.uri for one in (await client.list_resources()).resources]
        assert sorted(listed) == ["docs://closed/secret", "docs://open/readme"]
        assert [one.uri_template for one in (await client.list_resource_templates()).resource_templates] == [
            "docs://open/{page}"
        ]
        (part,) = (await client.read_resource("docs://open/readme")).contents
        assert isinstance(part, types.TextResourceContents) and part.text == "read me"
        assert await refused(client.read_resource("docs://closed/secret")) == "not authorized"
        decided = [one.verdict for one in here.events(CallDecided)]
        assert decided == ["allow", "allow", "allow", "deny"], "lists and reads are calls, on the record"


@pytest.mark.parametrize(
    "uri",
    ["docs://open/../closed/secret", "docs://open/%2e%2e/closed/secret", "docs://open/..%2fclosed/secret",
     "DOCS://closed/./secret", "docs://me@open/readme", "docs://open/a\\..\\b", "nothing"],
)  # fmt: skip
async def test_a_uri_is_decided_in_the_form_in_which_it_is_asked_for(uri: str) -> None:
    async with near(POLICY, library()) as here:
        told = await refused(here.client.read_resource(uri))
        for asked in here.events(CallRequested):
            assert ".." not in str(asked.arguments), "what is decided is in its normal form"
        # Without its dots the path is another one, below what is open: there is nothing.
        dotted = uri in ("docs://open/../closed/secret", "docs://open/%2e%2e/closed/secret")
        assert told == ("the tool failed" if dotted else "not authorized")


async def test_of_two_servers_the_one_that_has_the_resource_is_asked_and_none_if_both_have() -> None:
    other = MCPServer("other")

    @other.resource("docs://open/readme")
    def readme() -> str:
        return "another"

    @other.resource("docs://open/other-alone/x")
    def alone() -> str:
        return "mine"

    async with near(POLICY, {"one": library(), "two": other}) as here:
        (part,) = (await here.client.read_resource("docs://open/other-alone/x")).contents
        assert isinstance(part, types.TextResourceContents) and part.text == "mine"
        assert await refused(here.client.read_resource("docs://open/readme")) == "not authorized"


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_and_completions_are_decided(era: str) -> None:
    async with near(POLICY, library(), era=era) as here:
        client = here.client
        assert sorted(one.name for one in (await client.list_prompts()).prompts) == ["greet", "scold"]
        got = await client.get_prompt("greet", {"who": "ann"})
        content = got.messages[0].content
        assert isinstance(content, types.TextContent) and content.text == "hello ann"
        assert await refused(client.get_prompt("scold", {"who": "ann"})) == "not authorized"
        reference = types.PromptReference(name="greet")
        found = await client.complete(reference, {"name": "who", "value": "a"})
        assert found.completion.values == ["a!"]
        assert await refused(client.complete(reference, {"name": "other", "value": "a"})) == "not authorized"


async def test_prompts_of_several_servers_have_their_names_before_them() -> None:
    async with near(POLICY, {"one": library(), "two": library()}) as here:
        names = sorted(one.name for one in (await here.client.list_prompts()).prompts)
        assert names == ["one__greet", "one__scold", "two__greet", "two__scold"]
        got = await here.client.get_prompt("two__greet", {"who": "ann"})
        assert isinstance(got.messages[0].content, types.TextContent)
        assert await refused(here.client.get_prompt("greet", {"who": "ann"})) == "not authorized"


async def test_a_resource_that_is_too_large_is_cut_as_the_policy_says() -> None:
    server = MCPServer("large")

    @server.resource("docs://open/large")
    def large() -> str:
        return "x" * 100_000

    async with near(POLICY, server) as here:
        (part,) = (await here.client.read_resource("docs://open/large")).contents
        assert isinstance(part, types.TextResourceContents) and len(part.text) == 20 * 1024


LOGS = BARE + 'tool level is "mcp/logging/setLevel" { takes level: text  allow when level == "warning" }\n'


async def test_what_a_server_logs_reaches_the_client_for_which_it_works_if_the_policy_lets_it() -> None:
    server = MCPServer("talker")

    @server.tool(structured_output=False)
    async def look(ctx: Context) -> str:
        for level in ("debug", "warning"):
            note = types.LoggingMessageNotificationParams(level=level, data=f"{level}\x1b[2J" + "x" * 5_000)
            await ctx.session.send_notification(types.LoggingMessageNotification(params=note), ctx.request_id)
        return "seen"

    for policy, wanted in ((BARE, 0), (LOGS, 1)):
        heard: list[types.LoggingMessageNotificationParams] = []

        async def note(params: types.LoggingMessageNotificationParams) -> None:
            heard.append(params)  # noqa: B023 - called before the loop goes on

        async with near(policy, server, era="legacy", logging_callback=note) as here:
            if policy is LOGS:
                request = types.SetLevelRequest(params=types.SetLevelRequestParams(level="warning"))
                await here.client.session.send_request(request, types.EmptyResult)
                request = types.SetLevelRequest(params=types.SetLevelRequestParams(level="debug"))
                assert await refused(here.client.session.send_request(request, types.EmptyResult))
            assert await here.told("look") == "seen"
            await asyncio.sleep(0)
        assert len(heard) == wanted
        for one in heard:
            assert one.level == "warning" and "\x1b" not in str(one.data) and len(str(one.data)) < 2_100
