"""Servers that die, lie, flood and cheat: the call fails and is recorded, and the gateway lives on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp import Gateway, back, link
from ringfence.adapters.mcp.link import ServerAwayError
from ringfence.engine.decision.events import CallFailed, CallFinished
from tests.adapters.mcp.rig import POLICY, Rig, behind, gone, spec_of, until
from tests.guards import make_guard

FAILS = [
    "dies",
    "dies_in_its_word",
    "dies_with_a_child",
    "hangs",
    "malformed",
    "not_a_number",
    "deep",
    "huge",
    "endless_line",
    "no_result",
    "result_is_a_number",
    "error_with_words",
    "input_required",
    "surrogate",
]
"""Ways in which a call has no answer that could be handed on."""

SUCCEEDS = {
    "malformed_first": "done",
    "unasked": "done",
    "twice": "first",
    "floods": "done",
    "changes_often": "done",
    "cancels": "done",
    "garbage_first": "done",
    "shouts": "done",
    "deaf": "done",
    "leaves_children": "done",
    "instructs": "done",
}
"""Ways that do not keep a call from its one right answer."""


@pytest.mark.parametrize("way", FAILS)
async def test_a_call_without_a_sound_answer_fails_and_the_gateway_lives_on(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as rig:
        assert await rig.call("look", what="x") == (False, "the tool failed")
        assert [call for call in rig.witnessed() if call == "look"] == ["look"]
        # The next call finds the gateway whole, and the server again or not.
        assert (await rig.call("look", what="secret"))[0] is False
        assert rig.witnessed() == ["look"]
        await rig.names()
        events = await asyncio.to_thread(rig.events)
    assert [type(event) for event in events if isinstance(event, CallFailed | CallFinished)] == [CallFailed]


@pytest.mark.parametrize("way", SUCCEEDS)
async def test_noise_around_an_answer_does_not_change_it(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as rig:
        assert await rig.call("look", what="x") == (True, SUCCEEDS[way])
        assert await rig.call("spare") == (True, SUCCEEDS[way])
        assert rig.witnessed() == ["look", "spare"]


async def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    async with behind("dies_once", tmp_path) as rig:
        assert await rig.call("look", what="x") == (False, "the tool failed")
        assert await rig.call("look", what="x") == (True, "done")


async def test_a_server_that_always_dies_stays_down_after_some_starts(tmp_path: Path) -> None:
    async with behind("dies", tmp_path) as rig:
        for _ in range(2 * link.STARTS_AT_MOST):
            assert (await rig.call("look", what="x"))[0] is False
        assert len(rig.witnessed()) <= link.STARTS_AT_MOST
        assert await rig.names() == []


async def test_a_server_that_stops_listening_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind("hangs_whole", tmp_path) as rig:
        assert await rig.names() == ["look", "spare"]
        monkeypatch.setattr(back, "LISTS_S", 0.5)
        assert await rig.call("look", what="x") == (False, "the tool failed")
        assert (await rig.call("spare"))[0] is False
        assert rig.witnessed() == ["look"]
        assert await rig.names() == []


async def test_an_answer_reaches_the_call_that_it_names_and_no_other(tmp_path: Path) -> None:
    """Two calls wait at once; the server answers the first with what belongs to the second."""
    async with behind("other_call", tmp_path) as rig:
        first = asyncio.create_task(rig.call("look", what="one"))
        await until(lambda: len(rig.witnessed()) == 1, "the first call never reached the server")
        second = asyncio.create_task(rig.call("look", what="two"))
        # What a server says of a call is its own affair; that the other call got nothing is ours.
        assert await first == (True, "of {'what': 'two'}")
        assert await second == (False, "the tool failed")


ONE_OF = {
    "two_results": {"two"},
    "result_and_error": {"done", "the tool failed"},
    "half_bytes": {"the tool failed"},
}


@pytest.mark.parametrize("way", ONE_OF)
async def test_an_answer_that_reads_two_ways_ends_in_one(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as rig:
        told = await rig.call("look", what="x")
        assert told[1] in ONE_OF[way]
        assert await rig.names() == ["look", "spare"]
        events = await asyncio.to_thread(rig.events)
    ends = [event for event in events if isinstance(event, CallFailed | CallFinished)]
    assert [isinstance(event, CallFinished) for event in ends] == [told[0]]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_server_may_ask_nothing_that_the_policy_does_not_name(mode: str, tmp_path: Path) -> None:
    async with behind("asks", tmp_path, mode=mode, asks=True) as rig:
        ended_well, text = await rig.call("look", what="x")
        assert ended_well
        assert set(json.loads(text).values()) == {"refused"}
        (asked,) = rig.witnessed("asked")
        assert asked == json.loads(text) and len(asked) == 5
        assert not [line for line in rig.said if line.startswith("the client was asked")]
        assert rig.witnessed() == ["look"]


async def test_a_call_that_ends_while_its_client_is_asked_keeps_its_answer(tmp_path: Path) -> None:
    """A client of 2026 comes again with its answer: what its call came to meanwhile is told it then."""
    policy = f'{POLICY}tool roots is "mcp/roots/list" {{ needs read_data allow always rate 9 per run }}\n'
    async with behind("asks_in_passing", tmp_path, policy=policy, asks=True) as rig:
        question = await rig.client.session.call_tool("look", {"what": "x"}, allow_input_required=True)
        assert isinstance(question, types.InputRequiredResult) and question.input_requests is not None
        (tmp_path / "witness.go").touch()
        await until(lambda: _has_ended(rig, "look"), "the call never ended")
        answers: Any = dict.fromkeys(question.input_requests, types.ListRootsResult(roots=[]))
        call = {"what": "x"}
        told = await rig.client.session.call_tool(
            "look", call, input_responses=answers, request_state=question.request_state
        )
        assert not told.is_error and told.content == [types.TextContent(type="text", text="done")]
        with pytest.raises(MCPError):  # it is told once
            await rig.client.session.call_tool(
                "look", call, input_responses=answers, request_state=question.request_state
            )
        assert rig.witnessed() == ["look"]


def _has_ended(rig: Rig, tool: str) -> bool:
    run = rig.gateway.connections.all[0].run
    assert run is not None
    return any(call.tool == tool and call.outcome is not None for call in run.state.calls.values())


async def test_what_a_server_says_in_an_error_reaches_no_model_and_steers_no_terminal(tmp_path: Path) -> None:
    async with behind("error_with_words", tmp_path) as rig:
        _, text = await rig.call("look", what="x")
        assert text == "the tool failed"
        assert all(line.isprintable() for line in rig.said)


async def test_a_flood_is_cut(tmp_path: Path) -> None:
    async with behind("floods", tmp_path) as rig:
        heard = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        result = await rig.client.call_tool("look", {"what": "x"}, progress_callback=progress)
        assert not result.is_error
        assert len(heard) <= 1_000


# ---- lists --------------------------------------------------------------------------------------------

NOT_LISTED = ["endless_pages", "same_page", "wide", "not_a_list", "never", "nested", "bare"]


@pytest.mark.parametrize("way", NOT_LISTED)
async def test_of_a_list_without_end_or_form_nothing_is_shown_or_called(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back, "LISTS_S", 1.0)
    async with behind(way, tmp_path) as rig:
        assert await rig.names() == []
        assert (await rig.call("look", what="x"))[0] is False
        assert rig.witnessed() == []
        assert any("list" in line for line in rig.said)


async def test_of_two_tools_of_one_name_neither_is_shown_or_called(tmp_path: Path) -> None:
    async with behind("doubles", tmp_path) as rig:
        assert await rig.names() == ["spare"]
        assert (await rig.call("look", what="x"))[0] is False
        assert await rig.call("spare") == (True, "done")
        assert rig.witnessed() == ["spare"]


async def test_what_a_server_says_of_its_tools_grants_nothing(tmp_path: Path) -> None:
    async with behind("annotated", tmp_path) as rig:
        assert await rig.names() == ["look"]
        ended_well, text = await rig.call("wipe")
        assert not ended_well and "wipe" not in text
        assert rig.witnessed() == []


# ---- schemas ------------------------------------------------------------------------------------------


async def test_a_schema_elsewhere_is_not_fetched_and_fitted_by_nothing(tmp_path: Path) -> None:
    fetched = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fetched.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    (tmp_path / "witness.address").write_text(f"http://{host}:{port}")
    async with server, behind("remote", tmp_path) as rig:
        assert (await rig.call("look", what="x"))[0] is False
        assert await rig.call("spare") == (True, "done")
        assert rig.witnessed() == ["spare"]
    assert not fetched.is_set()


@pytest.mark.parametrize("way", ["recursive", "exploding", "bad_pattern", "false_schema"])
async def test_a_schema_that_cannot_be_followed_is_fitted_by_nothing_and_holds_up_nothing(
    way: str, tmp_path: Path
) -> None:
    async with behind(way, tmp_path) as rig:
        assert (await rig.call("look", what="x"))[0] is False
        assert await rig.call("spare") == (True, "done")
        assert rig.witnessed() == ["spare"]


async def test_a_pattern_that_explodes_elsewhere_is_decided_at_once(tmp_path: Path) -> None:
    async with behind("pattern", tmp_path) as rig:
        assert (await rig.call("look", what="a" * 5_000 + "!"))[0] is False
        assert await rig.call("look", what="a" * 5_000) == (True, "done")
        assert rig.witnessed() == ["look"]


async def test_a_form_of_answers_that_explodes_holds_up_nothing(tmp_path: Path) -> None:
    """Answers are not checked against what a server promises: that is a stranger's program."""
    async with behind("output_pattern", tmp_path) as rig:
        call = types.CallToolRequest(params=types.CallToolRequestParams(name="look", arguments={"what": "x"}))
        found = await rig.client.session.send_request(call, types.CallToolResult)
        assert found.structured_content == {"x": "a" * 60 + "!"}
        assert await rig.call("spare") == (True, "done")


# ---- processes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["leaves_children", "deaf", "dies_with_a_child", "leaves_a_daemon"])
async def test_nothing_that_a_server_started_outlives_the_gateway(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as rig:
        await rig.call("look", what="x")
        if way != "deaf":
            assert rig.children()
    # `behind` fails if one of them still runs.


async def test_a_server_that_never_shakes_hands_ends_the_start_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STARTS_S", 1.0)
    guard = make_guard()
    witness = tmp_path / "witness"
    with pytest.raises(ServerAwayError, match="no handshake"):
        async with Gateway(guard, [spec_of("never_ready", witness)]):
            raise AssertionError("it started")
    await guard.aclose()
    await gone([json.loads(witness.read_text())["child"]])


async def test_a_server_of_no_known_version_ends_the_start_in_words(tmp_path: Path) -> None:
    guard = make_guard()
    with pytest.raises(ServerAwayError, match="cannot be reached"):
        async with Gateway(guard, [spec_of("wrong_version", tmp_path / "witness")]):
            raise AssertionError("it started")
    await guard.aclose()
