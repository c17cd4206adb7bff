"""The tools of an MCP server are listed within bounds, and nothing of the server outlives that."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.adapters.mcp import live
from ringfence.adapters.mcp.live import ListingError, live_tools

HONEST = """
import os
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("honest")

@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def look(name: str, limit: int = 3) -> str:
    "Look it up."
    return name

@server.tool()
def told_of() -> str:
    return "never called"

told_of_env = ",".join(sorted(os.environ))
server.add_tool(lambda: "x", name="env", description=told_of_env)
server.run(*ARGS, **KEYWORDS)
"""

# A server by hand: it answers each request with what `answer` makes of it.
BY_HAND = """
import json, os, subprocess, sys, time

def send(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()

TOOL = {"name": "a", "inputSchema": {"type": "object"}}

def begin(request):
    if request.get("method") == "initialize":
        send({"jsonrpc": "2.0", "id": request["id"], "result": {
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "x", "version": "1"}}})
        return True
    if request.get("method") != "tools/list":
        if "id" in request:
            send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no"}})
        return True
    return False

def listed(request, tools, **more):
    send({"jsonrpc": "2.0", "id": request["id"], "result": {"tools": tools, **more}})

BEFORE
for line in sys.stdin:
    request = json.loads(line)
    if not begin(request):
        ANSWER
"""


def by_hand(folder: Path, answer: str, before: str = "") -> str:
    path = folder / "server.py"
    path.write_text(BY_HAND.replace("ANSWER", answer).replace("BEFORE", before))
    return f"{sys.executable} {path}"


def honest(folder: Path, args: str = "", keywords: str = "") -> str:
    path = folder / "honest.py"
    path.write_text(HONEST.replace("*ARGS, **KEYWORDS", ", ".join(filter(None, (args, keywords)))))
    return f"{sys.executable} {path}"


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def gone(pid: int, within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_alive(pid)


def test_a_server_tells_its_tools_and_sees_none_of_our_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    look, _, env = live_tools(honest(tmp_path))
    assert (look.name, look.description, look.own) == ("look", "Look it up.", False)
    assert look.annotations == {"readOnlyHint": True}
    assert look.schema is not None and set(look.schema["properties"]) == {"name", "limit"}
    assert "PATH" in env.description.split(",") and "OPENAI_API_KEY" not in env.description


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = honest(tmp_path, '"streamable-http"', f'host="127.0.0.1", port={port}')
    server = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, "the server did not begin"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait()


def test_a_server_at_a_url_is_asked_and_may_not_say_too_much(url: str) -> None:
    assert [tool.name for tool in live_tools(url)] == ["look", "told_of", "env"]
    with pytest.raises(ListingError, match="more than 100 bytes"):
        live_tools(url, most_bytes=100)


def test_pages_are_followed_to_their_end(tmp_path: Path) -> None:
    answer = (
        "cursor = (request.get('params') or {}).get('cursor'); "
        "more = {} if cursor else {'nextCursor': 'two'}; "
        "listed(request, [{**TOOL, 'name': cursor or 'one'}], **more)"
    )
    assert [tool.name for tool in live_tools(by_hand(tmp_path, answer))] == ["one", "two"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("listed(request, [TOOL], nextCursor='again')", "more than 3 pages"),
        ("listed(request, [{**TOOL, 'name': str(n)} for n in range(20)])", "more than 10 tools"),
        ("listed(request, [{**TOOL, 'description': 'x' * 200_000}])", "more than 100,000 bytes"),
        ("listed(request, [{'name': 5}])", "validation error"),
        ("sys.exit(3)", "closed"),
        (
            "sys.stderr.write('no key is set'); sys.stderr.flush(); sys.exit(3)",
            "the last of it: server: no key is set",
        ),
        (
            "send({'jsonrpc': '2.0', 'id': request['id'], 'error': {'code': 1, 'message': 'not you'}})",
            "not you",
        ),
    ],
)
def test_a_server_that_goes_wrong_gives_no_tools(
    tmp_path: Path, answer: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_PAGES", 3)
    monkeypatch.setattr(live, "MOST_TOOLS", 10)
    with pytest.raises(ListingError, match=why):
        live_tools(by_hand(tmp_path, answer), most_bytes=100_000, within_s=30)


def test_one_of_several_servers_has_its_name_before_its_tools(tmp_path: Path) -> None:
    command = by_hand(tmp_path, "listed(request, [TOOL])")
    assert [tool.name for tool in live_tools(f"desk={command}")] == ["desk/a"]


def test_what_is_no_message_is_passed_over(tmp_path: Path) -> None:
    answer = "print('hello\\n{\\n[]', flush=True); listed(request, [TOOL])"
    assert [tool.name for tool in live_tools(by_hand(tmp_path, answer))] == ["a"]


def test_a_server_that_hangs_is_given_up_and_all_it_has_started_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    before = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(json.dumps([os.getpid(), inner.pid]))"
    )
    with pytest.raises(ListingError, match="within 3 seconds"):
        live_tools(by_hand(tmp_path, "time.sleep(600)", before), within_s=3)
    outer, inner = json.loads(pids.read_text())
    assert gone(outer) and gone(inner)


def test_a_grandchild_does_not_outlive_a_server_that_ends_politely(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    before = (
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(str(inner.pid))"
    )
    assert len(live_tools(by_hand(tmp_path, "listed(request, [TOOL])", before))) == 1
    assert gone(int(pids.read_text()))
    assert os.getpgid(0) == os.getpgrp()  # we are not of that group
