"""The parent's side of a worker, as little as a test needs: start, speak, kill after a deadline."""

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from ringfence.plugins.isolate import frames
from ringfence.plugins.isolate.worker import injected
from tests.plugins.isolate.accounts import SITE, Account

FOLDER = Path(__file__).parents[3] / "plugins" / "isolate" / "worker"
PATIENCE_S = 60.0
"""What nothing here ever takes, unless something hangs."""

KERNEL_WALLS = ("namespaces", "no capabilities", "limits", "Landlock", "seccomp", "not dumpable")
JOB: dict[str, Any] = {
    "source": "() => 1",
    "kind": "body",
    "name": "tools/some.js",
    "arguments": "{}",
    "tools": ["look"],
    "output_bytes": 16384,
    "memory_bytes": 32 << 20,
    "now_ms": 1_700_000_000_000,
    "tick_ms": None,
    "seed": "00112233445566778899aabbccddeeff",
}


class EndedError(Exception):
    """The worker has ended, or was killed at its deadline (-9)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with {status}")
        self.status = status


class Worker:
    """One worker process."""

    def __init__(
        self,
        *,
        phrase: bytes | None = None,
        account: Account | None = None,
        environment: dict[str, str] | None = None,
        keep: Sequence[int] = (),
        **options: object,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        handed = [theirs.fileno(), *keep]
        said: dict[str, object] = {"memory_bytes": 32 << 20, **options}
        if phrase is not None:
            reading, writing = os.pipe()
            os.write(writing, phrase)
            os.close(writing)
            handed.append(reading)
            said["injection"] = reading
        account = account or Account()
        command = [account.python, "-I", "-S", "-B", str(FOLDER / "entry.py"), str(theirs.fileno())]
        command += [SITE, str(FOLDER), json.dumps(said)]
        self.process = subprocess.Popen(
            command,
            env=environment or {},
            cwd="/",
            pass_fds=handed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **account.popen(),
        )
        theirs.close()
        if phrase is not None:
            os.close(reading)
        try:
            self.ready: dict[str, Any] = self.receive()["ready"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def layers(self) -> dict[str, bool]:
        return {name: holds for name, holds, _ in self.ready["layers"]}

    def evidence(self, name: str) -> str:
        return str(next(evidence for layer, _, evidence in self.ready["layers"] if layer == name))

    def send(self, value: object) -> None:
        self.send_bytes(frames.written(value))

    def send_bytes(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise EndedError(self.process.wait(PATIENCE_S)) from error

    def receive(self, within_s: float = PATIENCE_S) -> dict[str, Any]:
        until = time.monotonic() + within_s
        size = frames.length(self._exactly(frames.HEADER_BYTES, until))
        return frames.read(self._exactly(size, until))

    def _exactly(self, size: int, until: float) -> bytes:
        parts = b""
        while len(parts) < size:
            if not select.select([self._socket], [], [], max(0.0, until - time.monotonic()))[0]:
                self.process.kill()
                raise EndedError(self.process.wait(PATIENCE_S))
            try:
                part = self._socket.recv(size - len(parts))
            except OSError:  # it ended with words of ours unread
                part = b""
            if not part:
                raise EndedError(self.process.wait(PATIENCE_S))
            parts += part
        return parts

    def run(
        self,
        source: str,
        answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        *,
        within_s: float = PATIENCE_S,
        transcript: list[Any] | None = None,
        **changed: object,
    ) -> dict[str, Any]:
        """Run one job; the last frame, or `EndedError`."""
        self.send({"job": {**JOB, "source": source, **changed}})
        while True:
            frame = self.receive(within_s)
            if transcript is not None:
                transcript.append(frame)
            if "calls" not in frame:
                return frame
            assert answer is not None, frame
            self.send({"answers": [answer(call) for call in frame["calls"]]})

    def result(self, source: str, **changed: Any) -> Any:
        frame = self.run(source, **changed)
        assert "done" in frame, frame
        return json.loads(frame["done"]["result"])

    def code(self, source: str, **changed: Any) -> Any:
        return self.result(source, kind="code", **changed)

    def failure(self, source: str, **changed: Any) -> tuple[str, str, int | None, int | None]:
        frame = self.run(source, **changed)
        assert "failed" in frame, frame
        said = frame["failed"]
        return said["failure"], said["message"], said["line"], said["column"]

    def inject(self, source: str) -> str:
        """Run Python in the worker, as an intruder would; what it leaves in `seen`, as text."""
        self.send({"inject": source})
        seen = self.receive()["injected"]
        assert type(seen) is str
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._socket.close()


def echoed(call: dict[str, Any]) -> dict[str, Any]:
    """Answer a call with what it was given."""
    return {"id": call["id"], "result": call["arguments"], "error": None}


def intruded(**options: Any) -> Worker:
    """Return a worker that Python can be injected into."""
    return Worker(phrase=injected.PHRASE, **options)
