"""The demo shows what it says: the harm is real without the guard, and gone with it."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from examples.support_desk import harm
from examples.support_desk.__main__ import play
from examples.support_desk.held import SETTINGS, Play
from examples.support_desk.models import real_model_name
from examples.support_desk.scenes import Scene, scenes
from examples.support_desk.stage import Stage
from examples.support_desk.tools import tools_of
from examples.support_desk.world import ATTACKER, world
from rich.console import Console

from ringfence import Guard
from ringfence.engine.retrospect.timeline import Moment


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SUPPORT_DESK_MODEL"):
        monkeypatch.delenv(name, raising=False)


def quiet() -> Stage:
    return Stage(screen=Console(file=io.StringIO()))


def test_with_the_guard_off_the_same_script_does_the_harm(tmp_path: Path) -> None:
    with world(tmp_path) as there:
        harm.play(there, tools_of(there), quiet())
        (mail,) = there.mailbox.to(ATTACKER)
        assert b"4000 0000 0000 0050" in bytes(mail.get_payload(decode=True))
        assert len([mail for mail in there.mailbox.messages if mail["Subject"] == "Migration"]) == 200
        assert there.rows("SELECT count(*) FROM customers") == [(0,)]
        assert there.rows("SELECT note FROM crm") == [("refund on its way",)]


def test_the_demo_holds_what_it_prints(tmp_path: Path) -> None:
    stage = quiet()
    play(stage, tmp_path)
    assert stage.broken == []
    said = "\n".join(stage.lines)
    for words in (
        "1, transfer_funds: unknown by unknown; not run",
        "2, wipe_customers: unknown by unknown; not run",
        "200 customers of 200 are there",
        "query_database: deny by query_database.allow",
        "query_database: deny by query_database.row_cap",
        "send_email: deny by send_email.known_domain",
        "0 mails for eve@evil.example",
        "11, send_email: deny by send_email.rate",
        "halted by send_email.rate",
        "10 mails of 200 arrived",
        "--by dana",
        "halted by night_watch.stop",
        "identical",
        "intact",
        "changed",
    ):
        assert words in said, f"{words!r} is missing in:\n{said}"


class _OpenAi(BaseHTTPRequestHandler):
    """A model server on loopback that speaks the OpenAI protocol and plays a scene."""

    scene: Scene

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = [message for message in asked["messages"] if message["role"] == "assistant"]
        turn = self.scene.turns[len(said)] if len(said) < len(self.scene.turns) else ()
        calls = [
            {
                "id": f"c{len(said)}{n}",
                "type": "function",
                "function": {"name": tool, "arguments": json.dumps(given)},
            }
            for n, (tool, given) in enumerate(turn)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": None if calls else "Done."}
        if calls:
            message["tool_calls"] = calls
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def openai_server(scene: Scene) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (_OpenAi,), {"scene": scene}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def test_with_a_key_a_real_model_client_is_used_and_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as there:
        scene = next(scene for scene in scenes(there.web) if scene.name == "attacker")
        with openai_server(scene) as url:
            monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            assert real_model_name() == "openai:gpt-5-mini"
            guard = Guard.load(settings=SETTINGS, store="memory:")
            try:
                run = Play(there, tools_of(there), quiet(), guard, "memory:")._run(scene)
            finally:
                guard.close()
        assert [(call.tool, call.verdict) for call in run.calls] == [
            ("web_fetch", "allow"),
            ("query_database", "deny"),
            ("send_email", "deny"),
        ]
        answers = [
            step.said["usage"] for step in run.steps if isinstance(step, Moment) and step.step == "model"
        ]
        assert answers and all(usage["input_tokens"] == 7 for usage in answers)
        assert there.mailbox.messages == []
