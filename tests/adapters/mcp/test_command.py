"""`ringfence mcp` as a process: stdout is the protocol's, servers get nothing of ours, all ends with it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.adapters.mcp.near import text_of
from tests.adapters.mcp.rig import gone, until

ROOT = Path(__file__).parent.parent.parent.parent
SERVER = [sys.executable, str(Path(__file__).with_name("plain_server.py"))]
POLICY = """
language 1
policy plain
tool look { allow when principal.user == "ann" }
tool spawn { allow always }
tool pid { allow always }
"""
INIT: dict[str, Any] = {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
}  # fmt: skip


class Spoken:
    """The gateway's process, spoken to line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def ask(self, method: str, params: dict[str, Any], id: int) -> dict[str, Any]:
        await self.say(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode())
        while (heard := await self.hear()).get("id") != id:
            pass
        return heard

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 30)
        assert line, "the gateway has ended"
        self.lines.append(line.decode())
        heard: dict[str, Any] = json.loads(line)
        return heard

    async def call(self, tool: str, id: int) -> str:
        answer = await self.ask("tools/call", {"name": tool, "arguments": {}}, id)
        return str(answer["result"]["content"][0]["text"])

    async def greet(self) -> None:
        await self.ask("initialize", INIT, 0)
        await self.say(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    async def end(self) -> tuple[int, str]:
        """Return how it ended, and what it said to people."""
        assert self.process.stderr is not None
        said = await asyncio.wait_for(self.process.stderr.read(), 30)
        return await asyncio.wait_for(self.process.wait(), 30), said.decode()


@asynccontextmanager
async def gateway(folder: Path, *words: str, **env: str) -> AsyncIterator[Spoken]:
    (folder / "plain.fence").write_text(POLICY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ringfence", "mcp", "--policy", "plain.fence", "--store", "memory:", *words,
        cwd=folder, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **env}, limit=2**24,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Spoken(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_server_gets_nothing_of_our_environment_but_what_is_named(tmp_path: Path) -> None:
    secrets = {"OPENAI_API_KEY": "k", "RINGFENCE_STORE": "memory:", "FOR_IT": "yes"}
    async with gateway(tmp_path, "--user", "ann", "--env", "FOR_IT", "--", *SERVER, **secrets) as spoken:
        await spoken.greet()
        env = json.loads(await spoken.call("look", 1))
    assert env["FOR_IT"] == "yes" and "PATH" in env
    assert not {"OPENAI_API_KEY", "RINGFENCE_STORE", "PYTHONPATH"} & env.keys()
    record = (tmp_path / "plain.pins.json").read_text()
    assert "yes" not in record, "the values of variables stand in no file of ours"


async def test_a_gateway_that_is_killed_outright_leaves_no_server_behind(tmp_path: Path) -> None:
    """Not even one that takes no notice of the end of its input."""
    code = "import os, pathlib, subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
    code += "pathlib.Path('pids').write_text(f'{os.getpid()} {child.pid}\\n')\ntime.sleep(600)"
    async with gateway(tmp_path, "--", sys.executable, "-c", code) as spoken:
        file = tmp_path / "pids"
        await until(lambda: file.exists() and file.read_text().endswith("\n"), "the server was not started")
        spoken.process.kill()
        await spoken.process.wait()
        await gone([int(pid) for pid in file.read_text().split()])


@pytest.mark.parametrize("how", ["hangs up", "SIGTERM", "SIGINT"])
async def test_all_processes_end_with_the_gateway(how: str, tmp_path: Path) -> None:
    async with gateway(tmp_path, "--", *SERVER) as spoken:
        await spoken.greet()
        pids = [int(await spoken.call("pid", 1)), int(await spoken.call("spawn", 2))]
        if how == "hangs up":
            assert spoken.process.stdin is not None
            spoken.process.stdin.close()
        else:
            spoken.process.send_signal(getattr(signal, how))
        code, said = await spoken.end()
    await gone(pids)
    assert code == 0, said
    assert "server: this is not for the protocol" in said
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in spoken.lines)


async def test_a_server_that_is_still_starting_ends_with_the_gateway(tmp_path: Path) -> None:
    code = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)"
    async with gateway(tmp_path, "--", sys.executable, "-c", code) as spoken:
        file = tmp_path / "pid"
        await until(lambda: file.exists() and file.read_text() != "", "the server was not started")
        spoken.process.terminate()
        ended, said = await spoken.end()
    await gone([int(file.read_text())])
    assert ended == 0, said


LINES = {
    b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "method": "tools/list"}': (7, -32700),
    b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"x": NaN}}': (7, -32700),
    b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"x": 1e999}}': (7, -32700),
    b"nonsense": (None, -32700),
    b"[]": (None, -32600),
    b'{"jsonrpc": "2.0", "id": 7, "method": "no/such"}': (7, -32601),
    b" " + b"x" * 5_000_000: (None, -32600),
}


async def test_lines_that_are_no_requests_are_answered_and_the_next_one_is_served(tmp_path: Path) -> None:
    async with gateway(tmp_path, "--user", "bob", "--", *SERVER) as spoken:
        await spoken.greet()
        for line, (id, code) in LINES.items():
            await spoken.say(line)
            heard = await spoken.hear()
            assert (heard.get("id"), heard["error"]["code"]) == (id, code), line[:80]
        assert await spoken.call("look", 9) == "not authorized"


WRONG = {
    (): (1, "no server is named"),
    ("--", "no-such-command"): (1, "there is no such command"),
    ("--", sys.executable, "-c", "pass"): (1, "cannot be reached"),
    ("--server", "NAME=x", "--server", "b=y"): (1, "is no name for a server"),
    ("--server", "a=x", "--server", "a=y"): (1, "two servers are called `a`"),
    ("--server", "a=x", "--", "y"): (1, "the only server"),
    ("--env", "NOT_SET_ANYWHERE", "--", "x"): (1, "is not set"),
    ("--principal", "tier=gold", "--", "x"): (1, "asks of a principal"),
    ("--listen", "0.0.0.0:0", "--", *SERVER): (1, "--token-file"),
    ("--listen", "nowhere", "--", *SERVER): (1, "is no address"),
    ("--policy", "missing.fence", "--", "x"): (3, "cannot be read"),
    ("--policy", "bad.fence", "--", "x"): (3, "E003"),
}


@pytest.mark.parametrize(("words", "wanted"), WRONG.items(), ids=[" ".join(w)[:40] for w in WRONG])
async def test_a_mistake_is_said_in_words(
    words: tuple[str, ...], wanted: tuple[int, str], tmp_path: Path
) -> None:
    (tmp_path / "bad.fence").write_text("language 1\npolicy bad\ntool x { alow always }\n")
    async with gateway(tmp_path, *words) as spoken:
        code, said = await spoken.end()
    assert (code, wanted[1] in said) == (wanted[0], True), said
    assert "Traceback" not in said


async def test_over_http_the_address_is_told_and_the_settings_name_the_servers(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_text(
        'policy = "named.fence"\n[mcp.servers.one]\n'
        f"command = {json.dumps(SERVER[0])}\nargs = {json.dumps(SERVER[1:])}\n"
        'env = { TOKEN = "env:FOR_IT" }\n'
    )
    (tmp_path / "named.fence").write_text(
        'language 1\npolicy named\ntool look is "one/look" { allow when principal.user == "ann" }\n'
    )
    words = ("--policy", "named.fence", "--listen", "127.0.0.1:0", "--json", "--user", "ann")
    async with gateway(tmp_path, *words, FOR_IT="told") as spoken:
        assert spoken.process.stdout is not None
        said = b""
        while b"}" not in said:
            said += await asyncio.wait_for(spoken.process.stdout.readline(), 30)
        async with Client(json.loads(said)["url"], cache=None) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["one__look"]
            env = json.loads(text_of(await client.call_tool("one__look", {})))
            assert env["TOKEN"] == "told" and "FOR_IT" not in env
        spoken.process.terminate()
        code, _ = await spoken.end()
    assert code == 0
