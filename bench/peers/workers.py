"""The director's end of a worker: one question, one answer, within a time."""

import json
import os
import subprocess
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

from bench.peers.environments import ROOT


class NoFigureError(Exception):
    """The engine gives no figure; the text says why, and is shown."""


class Asked:
    """A worker's process."""

    def __init__(self, python: Path, module: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", "bench.peers.worker", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )

    def ask(self, do: str, *, within_s: float = 150.0, **told: Any) -> dict[str, Any]:
        """Return the answer; raise NoFigureError where there is none in time, or it is a failure."""
        assert self._process.stdin is not None and self._process.stdout is not None
        late = Timer(within_s, self._process.kill)
        late.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **told}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:  # closed: no answer, which the next lines tell
            line = ""
        finally:
            late.cancel()
        if not line:
            raise NoFigureError(f"its process ended, or took more than {within_s:g} s, in `{do}`")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise NoFigureError(answer["failed"].replace(str(ROOT), ".")[:160])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
