"""Clients over HTTP: who may connect, on whose behalf, and what does not get in."""

import json
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp import Gateway, ServerSpec
from ringfence.adapters.mcp.http import application, is_loopback, parse_address
from ringfence.adapters.mcp.servers import ServerMistakeError
from ringfence.adapters.mcp.tokens import Tokens
from ringfence.engine.decision.events import RunEnded, RunStarted
from tests.adapters.mcp.by_token import ANN, BOB, POLICY, client_of, served
from tests.adapters.mcp.near import ERAS, text_of
from tests.adapters.mcp.rig import until
from tests.guards import make_guard


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_says_on_whose_behalf_a_client_acts(era: str, tmp_path: Path) -> None:
    async with served(tmp_path) as (guard, url, _):
        for token, user, other in ((ANN, "ann", "bob"), (BOB, "bob", "ann")):
            async with client_of(url, token, era) as client:
                assert text_of(await client.call_tool("mine", {"what": user})) == f"of {user}"
                assert text_of(await client.call_tool("mine", {"what": other})) == "? not authorized"
        begun = [
            one.event.principal
            for row in reversed(list(guard.runs.list()))
            for one in guard.runs.get(row.run).events
            if isinstance(one.event, RunStarted)
        ]
        assert begun == [{"user": "ann", "tier": "gold"}, {"user": "bob"}]


@pytest.mark.parametrize("token", [None, "x", "wrong", ANN[:-1], ANN + "x", ANN.upper()])
async def test_without_a_token_nothing_is_answered(token: str | None, tmp_path: Path) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with served(tmp_path) as (guard, url, _), httpx2.AsyncClient(headers=headers) as http:
        for method in ("GET", "POST", "DELETE"):
            answer = await http.request(method, url, content=b"{")
            assert answer.status_code == 401, "refused before anything of it is read"
        assert list(guard.runs.list()) == []


async def test_one_token_cannot_use_the_session_of_another(tmp_path: Path) -> None:
    async with served(tmp_path) as (guard, url, gateway):
        async with client_of(url, ANN, "legacy") as client:
            await client.call_tool("mine", {"what": "ann"})
            (connection,) = gateway.connections.all
            session = connection.key[1]
            body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call"}
            body["params"] = {"name": "mine", "arguments": {"what": "ann"}}
            headers = {
                "Authorization": f"Bearer {BOB}", "mcp-session-id": session, "Accept":
                "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25",
            }  # fmt: skip
            async with httpx2.AsyncClient(headers=headers) as http:
                assert (await http.post(url, json=body)).status_code == 404
        assert len(list(guard.runs.list())) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_the_run_of_a_session_ends_with_it_and_that_of_a_token_goes_on(
    era: str, tmp_path: Path
) -> None:
    """A client of 2026 has no session: all that comes with its token is one run, bounds and all."""
    async with served(tmp_path) as (guard, url, gateway):
        for _ in range(2):
            async with client_of(url, ANN, era) as client:
                for _ in range(2):
                    await client.call_tool("mine", {"what": "ann"})
        if era == "legacy":
            await until(lambda: not gateway.connections.all, "a session that was closed is still known")
        statuses = [row.status for row in guard.runs.list()]
        assert statuses == (["done", "done"] if era == "legacy" else ["halted"]), "at most 3 calls a run"


async def test_a_halted_run_is_not_waited_out(tmp_path: Path) -> None:
    async with served(tmp_path) as (guard, url, gateway), client_of(url, ANN, "auto") as client:
        for _ in range(4):
            last = await client.call_tool("mine", {"what": "ann"})
        assert text_of(last) == "? not authorized"
        await gateway.connections.end_idle(1e12)
        assert text_of(await client.call_tool("mine", {"what": "ann"})) == "? not authorized"
        assert (await client.list_tools()).tools == []
        assert len(list(guard.runs.list())) == 1


async def test_a_session_of_its_own_making_gives_a_client_no_new_run(tmp_path: Path) -> None:
    async with served(tmp_path) as (guard, url, _):
        told = []
        for number in range(5):
            headers = {"Authorization": f"Bearer {ANN}", "mcp-session-id": f"made-up-{number}"}
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                Client(
                    streamable_http_client(url, http_client=http), mode="2026-07-28", cache=None
                ) as client,
            ):
                told.append(text_of(await client.call_tool("mine", {"what": "ann"})))
        assert told == ["of ann"] * 3 + ["? not authorized"] * 2
        assert len(list(guard.runs.list())) == 1


async def test_an_idle_connection_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as (guard, url, gateway), client_of(url, ANN, "auto") as client:
        await client.call_tool("mine", {"what": "ann"})
        await gateway.connections.end_idle(1e12)
        run = guard.runs.list()[0].run
        assert isinstance(guard.runs.get(run).events[-1].event, RunEnded)
        assert text_of(await client.call_tool("mine", {"what": "ann"})) == "of ann", "it begins another"


BODIES = {
    "a name that stands twice": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "method": "tools/call"}',
    "NaN": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": NaN}}',
    "an integer that readers round": b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"x": %d}}'
    % 2**60,
    "a batch": b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
    "no JSON": b"{",
    "half a character": b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"x": "\\ud800"}}',
}


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_what_reads_two_ways_is_refused(body: bytes, version: str, tmp_path: Path) -> None:
    headers = {
        "Authorization": f"Bearer {ANN}", "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json", "mcp-protocol-version": version,
    }  # fmt: skip
    async with served(tmp_path) as (_, url, _), httpx2.AsyncClient(headers=headers) as http:
        answer = await http.post(url, content=body)
        assert answer.status_code == 400 and "error" in json.loads(answer.content)
        assert (await http.post(url, content=b" " * 5_000_000)).status_code == 413


ELSEWHERE = [
    *({"Host": host} for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1:80.evil.example", "")),
    *(
        {"Origin": origin}
        for origin in ("https://evil.example", "null", "file://", "http://127.0.0.1.evil.example")
    ),
    *(
        {"Origin": origin}
        for origin in ("http://localhost:80@evil.example", "http://localhost:1.evil.example")
    ),
]


@pytest.mark.parametrize("header", ELSEWHERE, ids=str)
async def test_a_page_of_another_site_cannot_speak_to_it(header: dict[str, str], tmp_path: Path) -> None:
    headers = {
        "Authorization": f"Bearer {ANN}", "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json", **header,
    }  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with served(tmp_path) as (_, url, _), httpx2.AsyncClient(headers=headers) as http:
        assert (await http.post(url, json=body)).status_code in (403, 421)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example"])
async def test_without_tokens_only_this_machine_can_connect(host: str) -> None:
    assert not is_loopback(host)
    guard = make_guard(POLICY)
    try:
        gateway = Gateway(guard, [ServerSpec(target=MCPServer("x"))])
        with pytest.raises(ServerMistakeError, match="token-file"):
            application(gateway, host=host, tokens=None)
    finally:
        await guard.aclose()


FILES = {
    "": "holds no token",
    "x": "is not TOML",
    "x = 1": "is no table",
    "[x]\nuser = 'ann'": "either `token` or `sha256`",
    "[x]\ntoken = 'short'": "less than 24 characters",
    "[x]\nsha256 = 'ABC'": "64 digits",
    f"[x]\ntoken = '{'t' * 30}'\nrank = 'high'": "`rank`, which the policy asks of no principal",
    f"[x]\ntoken = '{'t' * 30}'\n[y]\ntoken = '{'t' * 30}'": "twice",
}


@pytest.mark.parametrize(("text", "why"), FILES.items())
async def test_a_file_of_tokens_with_a_mistake_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    file.chmod(0o600)
    guard = make_guard(POLICY)
    try:
        with pytest.raises(ServerMistakeError) as error:
            Tokens.read(file, guard.plan)
        assert why in str(error.value) and "t" * 30 not in str(error.value)
        file.chmod(0o644)
        with pytest.raises(ServerMistakeError, match="chmod 600"):
            Tokens.read(file, guard.plan)
    finally:
        await guard.aclose()


@pytest.mark.parametrize(
    ("said", "wanted"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("a:1", ("a", 1))]
)
def test_an_address_is_read(said: str, wanted: tuple[str, int]) -> None:
    assert parse_address(said) == wanted


@pytest.mark.parametrize("said", ["", "80", ":80", "a:", "a:b", "a:70000", "a:-1", "a:١"])
def test_what_is_no_address_is_refused(said: str) -> None:
    with pytest.raises(ServerMistakeError):
        parse_address(said)


async def test_a_halted_session_is_not_waited_out_either(tmp_path: Path) -> None:
    """An open stream keeps the protocol's session; nothing else of it is kept, and no other run begins."""
    async with served(tmp_path) as (guard, url, gateway), client_of(url, ANN, "legacy") as client:
        for _ in range(4):
            last = await client.call_tool("mine", {"what": "ann"})
        assert text_of(last) == "? not authorized"
        await gateway.connections.end_idle(1e12)
        assert gateway.connections.all == []
        with pytest.raises(MCPError):
            await client.call_tool("mine", {"what": "ann"})
        assert len(list(guard.runs.list())) == 1
