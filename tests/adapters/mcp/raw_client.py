"""A client without manners: it writes bytes to a gateway's stdin, and reads what comes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ringfence.adapters.mcp.gateway import Gateway, Options
from ringfence.adapters.mcp.stdio import serve_stdio
from tests.adapters.mcp.rig import POLICY, Rig, gone, spec_of
from tests.guards import ALICE, make_guard

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}, "sampling": {}},
    "clientInfo": {"name": "raw", "version": "0"},
}


class Wire:
    """Both ends of the gateway's pipes."""

    def __init__(self, rig: Rig, stdin: int, reader: asyncio.StreamReader) -> None:
        self.rig = rig
        self._stdin = stdin
        self._reader = reader
        self._hung_up = False

    async def write(self, raw: bytes) -> None:
        left = memoryview(raw)
        while left:
            left = left[await asyncio.to_thread(os.write, self._stdin, left[:65_536]) :]

    async def say(self, message: Any) -> None:
        await self.write(json.dumps(message).encode() + b"\n")

    async def hear(self, within_s: float = 20.0) -> Any:
        """Return the next message of the gateway; None: it has hung up."""
        line = await asyncio.wait_for(self._reader.readline(), within_s)
        return json.loads(line) if line else None

    async def answer(self, id: Any) -> Any:
        """Return the answer to a request; what comes before it is passed over."""
        while (message := await self.hear()) is not None:
            if message.get("id") == id and "method" not in message:
                return message
        return None

    async def ask(self, method: str, params: Any = None, id: Any = 1) -> Any:
        request = {"jsonrpc": "2.0", "id": id, "method": method}
        await self.say(request if params is None else {**request, "params": params})
        return await self.answer(id)

    async def shake_hands(self) -> None:
        told = await self.ask("initialize", HELLO, "hello")
        assert told["result"]["protocolVersion"] == HELLO["protocolVersion"]
        await self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def is_well(self) -> None:
        """Fail unless the gateway still answers, and still runs what is allowed."""
        assert (await self.ask("ping", id="well-1"))["result"] == {}
        told = await self.ask("tools/call", {"name": "look", "arguments": {"what": "well"}}, "well-2")
        assert told["result"]["content"][0]["text"] == "done"

    def hang_up(self) -> None:
        if not self._hung_up:
            self._hung_up = True
            os.close(self._stdin)


@asynccontextmanager
async def wired(folder: Path, way: str = "honest", *, policy: str = POLICY) -> AsyncIterator[Wire]:
    """Serve a client without manners, with a server behind."""
    guard = make_guard(policy)
    said: list[str] = []
    witness = folder / "witness"
    ours_out, theirs_in = os.pipe()
    theirs_out, ours_in = os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_out, "rb", 0)
    )
    try:
        async with Gateway(
            guard, [spec_of(way, witness)], Options(principal=ALICE, say=said.append)
        ) as gateway:
            serving = asyncio.create_task(serve_stdio(gateway, stdin=theirs_out, stdout=theirs_in))
            rig = Rig(gateway, guard, None, witness, said)  # type: ignore[arg-type]
            wire = Wire(rig, ours_in, reader)
            try:
                yield wire
            finally:
                wire.hang_up()
                await asyncio.wait_for(serving, 20.0)
        await asyncio.to_thread(rig.require_a_sound_record)
        await gone(rig.children())
    finally:
        transport.close()
        for descriptor in (theirs_in, theirs_out):
            with suppress(OSError):
                os.close(descriptor)
        await guard.aclose()
