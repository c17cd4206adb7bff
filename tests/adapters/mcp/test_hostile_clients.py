"""Clients without manners: what reads two ways is refused, and nothing runs that was not decided."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.adapters.mcp.frames import CLIENT_FRAME_BYTES
from ringfence.engine.decision.events import CallDecided, CallRequested, RunEnded
from tests.adapters.mcp.raw_client import wired
from tests.adapters.mcp.rig import POLICY, until

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"look","arguments":'
WELL = ["look"]
"""What reached the server once `is_well` has asked it."""

UNREADABLE = {
    "a name twice in the arguments": CALL + b'{"what":"ok","what":"secret"}}}',
    "a name twice around them": CALL + b'{"what":"secret"},"arguments":{"what":"ok"}}}',
    "a method twice": CALL.replace(b'"id"', b'"method":"ping","id"') + b'{"what":"ok"}}}',
    "an escaped name twice": CALL + b'{"what":"ok","wh\\u0061t":"secret"}}}',
    "NaN": CALL + b'{"what":NaN}}}',
    "an infinity": CALL + b'{"what":1e999}}}',
    "an integer that readers round": CALL + b'{"what":9007199254740993}}}',
    "half a character": CALL + b'{"what":"\\ud800"}}}',
    "no UTF-8": CALL + b'{"what":"\xff"}}}',
    "too deep": CALL + b'{"what":' + b"[" * 200 + b"]" * 200 + b"}}}",
    "far too deep": CALL + b'{"what":' + b"[" * 100_000,
    "a comment": CALL + b'{"what":"ok"}/* */}}',
    "single quotes": CALL + b"{'what':'ok'}}}",
    "something after it": CALL + b'{"what":"ok"}}} {"jsonrpc":"2.0"}',
    "a number": b"17",
    "a text": b'"look"',
    "null": b"null",
    "nothing of the protocol": b'{"look":"ok"}',
    "another protocol": CALL.replace(b"2.0", b"1.0", 1) + b'{"what":"ok"}}}',
    "a batch": b"[" + CALL + b'{"what":"ok"}}}]',
    "an empty batch": b"[]",
    "an id that is a record": CALL.replace(b'"id":7', b'"id":{}') + b'{"what":"ok"}}}',
    "an id that is half a character": CALL.replace(b'"id":7', b'"id":"\\ud800"') + b'{"what":"ok"}}}',
    "too large": CALL + b'{"what":"' + b"x" * CLIENT_FRAME_BYTES + b'"}}}',
    "bytes": bytes(range(1, 10)) + bytes(range(11, 256)),
}


@pytest.mark.parametrize("frame", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_one_way_only_runs_nothing(frame: bytes, tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        await wire.write(frame + b"\n")
        await wire.is_well()
        assert wire.rig.witnessed() == WELL
        events = await asyncio.to_thread(wire.rig.events)
        assert [event.verdict for event in events if isinstance(event, CallDecided)] == ["allow"]


async def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        for _ in range(20):
            await wire.write(b"x" * 1_000_000)
        await wire.write(b"\n")
        await wire.is_well()


ILL_FORMED: dict[str, Any] = {
    "no params": None,
    "no name": {"arguments": {"what": "ok"}},
    "a name that is a number": {"name": 5, "arguments": {"what": "ok"}},
    "arguments in a list": {"name": "look", "arguments": ["ok"]},
    "arguments in a text": {"name": "look", "arguments": '{"what":"ok"}'},
    "params in a list": ["look", {"what": "ok"}],
}


@pytest.mark.parametrize("params", ILL_FORMED.values(), ids=ILL_FORMED)
async def test_a_call_of_no_form_is_an_error_of_the_protocol(params: Any, tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        await wire.say({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
        if not isinstance(params, list):  # that is no message of the protocol, and may be passed over
            assert "error" in await wire.answer(7)
        await wire.is_well()
        assert wire.rig.witnessed() == WELL


REFUSED: dict[str, dict[str, Any]] = {
    "a tool that nobody declared": {"name": "wipe", "arguments": {}},
    "a tool that no server has": {"name": "pay", "arguments": {"amount": 1}},
    "a name with a space": {"name": "look ", "arguments": {"what": "ok"}},
    "a name in capitals": {"name": "LOOK", "arguments": {"what": "ok"}},
    "a name with something unseen": {"name": "look\u200b", "arguments": {"what": "ok"}},
    "a name of the protocol": {"name": "mcp/resources/read", "arguments": {"uri": "file:///etc/passwd"}},
    "an argument that nobody declared": {"name": "look", "arguments": {"what": "ok", "also": "x"}},
    "an argument too few": {"name": "look", "arguments": {}},
    "no arguments": {"name": "look"},
    "an argument of another type": {"name": "look", "arguments": {"what": 17}},
    "what the policy denies": {"name": "look", "arguments": {"what": "secret"}},
    "a task": {"name": "look", "arguments": {"what": "ok"}, "task": {"ttl": 60_000}},
    "a state that we never gave": {"name": "look", "arguments": {"what": "ok"}, "requestState": "x"},
}


@pytest.mark.parametrize("params", REFUSED.values(), ids=REFUSED)
async def test_a_refused_call_reaches_no_server_and_gives_nothing_away(
    params: dict[str, Any], tmp_path: Path
) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        told = await wire.ask("tools/call", params, 7)
        if "requestState" in params and "result" in told:  # in this era it means nothing
            assert wire.rig.witnessed() == ["look"]
            return
        assert "error" in told or told["result"]["isError"] is True
        assert not any(word in json.dumps(told) for word in ("secret", "fence", "rule", "policy"))
        await wire.is_well()
        assert wire.rig.witnessed() == WELL


METHODS = [
    *("unheard/of", "tools/execute", "rpc.discover", "", "__init__", "tools/list/../call"),
    *(
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tasks/list",
        "tasks/get",
        "tasks/result",
    ),
    *("tasks/cancel", "resources/read", "prompts/get", "completion/complete", "resources/subscribe"),
]


async def test_methods_that_nobody_knows_or_declared_are_refused(tmp_path: Path) -> None:
    params = {
        **{"uri": "file:///etc/passwd", "name": "look", "taskId": "1", "arguments": {"what": "ok"}},
        **{"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}},
    }
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        for number, method in enumerate(METHODS):
            told = await wire.ask(method, params, number)
            assert "error" in told, method
        await wire.is_well()
        assert wire.rig.witnessed() == WELL


async def test_a_call_before_the_handshake_runs_nothing(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        told = await wire.ask("tools/call", {"name": "look", "arguments": {"what": "ok"}}, 1)
        assert "error" in told
        assert wire.rig.witnessed() == []


async def test_noise_of_a_client_changes_nothing(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        for number in range(200):
            await wire.say({"jsonrpc": "2.0", "id": number, "result": {"action": "accept"}})
            await wire.say({"jsonrpc": "2.0", "id": number, "error": {"code": 1, "message": "x"}})
            await wire.say(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}}
            )
            await wire.say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
            await wire.say({"jsonrpc": "2.0", "method": "notifications/unheard_of"})
        await wire.is_well()


async def test_one_id_used_for_many_calls_at_once_runs_only_what_was_decided(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        for _ in range(5):
            await wire.write(CALL + b'{"what":"ok"}}}\n' + CALL + b'{"what":"secret"}}}\n')
        await until(lambda: wire.rig.witnessed().count("look") >= 1, "no call reached the server")
        await wire.is_well()
        seen = [json.loads(line)["arguments"] for line in wire.rig.witness.read_text().splitlines()]
        assert {"what": "secret"} not in seen


async def test_a_second_handshake_changes_nothing(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        other = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        }
        await wire.ask("initialize", other, "again")
        await wire.is_well()


async def test_a_client_that_hangs_up_in_a_call_ends_its_run(tmp_path: Path) -> None:
    async with wired(tmp_path, "hangs") as wire:
        await wire.shake_hands()
        await wire.write(CALL + b'{"what":"ok"}}}\n')
        await until(lambda: wire.rig.witnessed() == ["look"], "the call never reached the server")
        wire.hang_up()
    assert isinstance(wire.rig.recorded[-1], RunEnded)


async def test_a_client_that_reads_nothing_holds_up_no_end(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        await wire.shake_hands()
        for number in range(3_000):
            await wire.say({"jsonrpc": "2.0", "id": number, "method": "tools/list"})
        # Nobody reads the answers; hanging up must still end it all (`wired` waits for that).


NUMBERS = {"3": 3, "3.0": 3, "3e0": 3, "30E-1": 3, "-0": 0, "-0.0": 0, "0.0": 0}
NO_NUMBERS = [
    "3.5",
    '"3"',
    "true",
    "null",
    "[3]",
    "9007199254740993",
    "1e400",
    "3.0000000000000001e3",
    "4",
    "1e1",
]
PAYS = f'{POLICY}tool pay is "pay" {{ needs read_data takes amount: integer allow when amount <= 3 }}\n'
PAY = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"pay","arguments":{"amount":%s}}}\n'


async def test_a_number_is_decided_and_sent_in_one_form_however_it_is_written(tmp_path: Path) -> None:
    async with wired(tmp_path, "pays", policy=PAYS) as wire:
        await wire.shake_hands()
        for text in (*NUMBERS, *NO_NUMBERS):
            await wire.write(PAY % text.encode())
            told = await wire.hear()
            assert ("result" in told and not told["result"].get("isError")) == (text in NUMBERS), text
        lines = wire.rig.witness.read_text().splitlines()
        assert [json.loads(line)["arguments"] for line in lines] == [{"amount": n} for n in NUMBERS.values()]
        assert all(".0" not in line and "-" not in line for line in lines), "the very digits"
        events = await asyncio.to_thread(wire.rig.events)
        given = [event.arguments for event in events if isinstance(event, CallRequested)]
        assert [repr(one) for one in given][: len(NUMBERS)] == [repr({"amount": n}) for n in NUMBERS.values()]


ALIASES: dict[str, dict[str, Any]] = {
    "in capitals": {"Amount": 1, "amount": 1},
    "with a blank": {"amount ": 1, "amount": 1},
    "composed otherwise": {"amount": 1, "amo\u200bunt": 1},
    "beside it": {"amount": 1, "arguments": {"amount": 100}},
    "a class of its own": {"amount": 1, "__proto__": {"amount": 100}},
}


@pytest.mark.parametrize("arguments", ALIASES.values(), ids=ALIASES)
async def test_an_argument_under_another_name_is_none_that_was_declared(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    async with wired(tmp_path, "pays", policy=PAYS) as wire:
        await wire.shake_hands()
        told = await wire.ask("tools/call", {"name": "pay", "arguments": arguments}, 7)
        assert told["result"]["isError"] is True
        assert wire.rig.witnessed() == []
