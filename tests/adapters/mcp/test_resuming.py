"""Streams over HTTP that broke, taken up again by the session to which they belong, and by nobody else."""

from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp_types import JSONRPCResponse

from ringfence.adapters.mcp.kept_events import KeptEvents
from tests.adapters.mcp.by_token import ANN, BOB, served


def _hello(id: int = 0) -> dict[str, Any]:
    client = {"name": "raw", "version": "0"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    return {"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params}


def _headers(token: str, session: str | None = None) -> dict[str, str]:
    known = {} if session is None else {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    accept = "application/json, text/event-stream"
    return {"Authorization": f"Bearer {token}", "Accept": accept, **known}


async def _begun(http: httpx2.AsyncClient, url: str, token: str) -> str:
    """Begin a session by hand; return its id."""
    answer = await http.post(url, json=_hello(), headers=_headers(token))
    session = answer.headers["mcp-session-id"]
    said = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await http.post(url, json=said, headers=_headers(token, session))
    return session


async def _events(
    http: httpx2.AsyncClient, url: str, headers: dict[str, str], most: int, call: Any = None
) -> tuple[int, list[tuple[str, str]]]:
    """Return the status, and (id, data) of the first events of a stream, of which there may be none."""
    found: list[tuple[str, str]] = []
    method = "GET" if call is None else "POST"
    async with http.stream(method, url, headers=headers, json=call) as answer:
        id = ""
        if answer.status_code != 200:
            return answer.status_code, []
        with anyio.move_on_after(2.0):
            async for line in answer.aiter_lines():
                if line.startswith("id:"):
                    id = line[3:].strip()
                if line.startswith("data:"):
                    found.append((id, line[5:].strip()))
                if len(found) == most:
                    break
    return 200, found


async def test_a_broken_stream_is_taken_up_again_by_its_own_client_alone(tmp_path: Path) -> None:
    """All number their requests alike: whose a stream is must not depend on that, nor on an event's id."""
    async with served(tmp_path) as (_, url, _), httpx2.AsyncClient(timeout=10.0) as http:
        ann, also_ann, bob = [await _begun(http, url, token) for token in (ANN, ANN, BOB)]
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
        primed: dict[str, str] = {}
        for session, token, user in ((ann, ANN, "ann"), (also_ann, ANN, "ann"), (bob, BOB, "bob")):
            params = {"name": "mine", "arguments": {"what": user}}
            asked = {**call, "params": params}
            _, events = await _events(http, url, _headers(token, session), 2, asked)
            assert len(events) == 2 and events[0][1] == "" and f"of {user}" in events[1][1]
            primed[session] = events[0][0]
        assert len(set(primed.values())) == 3

        def again(token: str, session: str, event: str) -> dict[str, str]:
            return {**_headers(token, session), "Last-Event-ID": event}

        status, events = await _events(http, url, again(ANN, ann, primed[ann]), 1)
        assert status == 200 and "of ann" in events[0][1]
        # The number of another's event, and another's session, give nothing.
        status, events = await _events(http, url, again(BOB, bob, primed[ann]), 1)
        assert not any("of ann" in data for _, data in events)
        status, events = await _events(http, url, again(ANN, also_ann, primed[ann]), 1)
        assert not any("of ann" in data for _, data in events)
        assert (await _events(http, url, again(BOB, ann, primed[ann]), 1))[0] == 404


async def test_kept_events_are_bounded() -> None:
    kept = KeptEvents(most_bytes=10_000)
    store = kept.of_a_session()
    message = JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "x" * 2_000})
    ids = [await store.store_event("1", message) for _ in range(100)]
    seen: list[Any] = []

    async def see(event: Any) -> None:
        seen.append(event.event_id)

    assert await store.replay_events_after(ids[0], see) is None
    assert await store.replay_events_after(ids[-3], see) == "1"
    assert seen == ids[-2:]
    huge = JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "x" * 20_000})
    assert await store.replay_events_after(await store.store_event("1", huge), see) is None
