"""The recorded runs: which of them count, and which half of the pairs each belongs to."""

import json
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

Kind = Literal["attack", "benign", "run error", "dos attack", "injection task as user task"]
Half = Literal["tune", "held out"]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call of a recorded run, with what the model was shown."""

    tool: str
    args: Mapping[str, Any]
    result: str | None
    failed: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """One line of the corpus."""

    model: str
    suite: str
    version: str
    user_task: str
    injection_task: str | None
    attack: str | None
    utility: bool
    security: bool
    """In an attacked run: the attack succeeded."""
    run_error: str | None
    prompt: str
    injections: Mapping[str, str]
    output: str
    calls: tuple[RecordedCall, ...]

    @property
    def kind(self) -> Kind:
        """What the run is; only `attack` and `benign` count."""
        if self.run_error:
            return "run error"
        if self.user_task.startswith("injection"):
            return "injection task as user task"
        if self.attack is None:
            return "benign"
        return "dos attack" if self.attack.endswith("dos") else "attack"

    @property
    def half(self) -> Half:
        """The half of its pair (user task, injection task), by hash: policies are tuned on one alone."""
        pair = f"{self.suite}|{self.user_task}|{self.injection_task}"
        return "tune" if sha256(pair.encode()).digest()[0] % 2 == 0 else "held out"

    @property
    def environment(self) -> str:
        """What the environment is made of: runs that agree in it share one."""
        return json.dumps([self.suite, self.version, self.user_task, dict(self.injections)], sort_keys=True)


def read(corpus: Path) -> Iterator[Recording]:
    """Yield the runs of a corpus, JSON lines under xz."""
    with lzma.open(corpus, "rt", encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line)
            calls = tuple(
                RecordedCall(call["tool"], call["args"], call["result"], bool(call.get("error")))
                for call in said["calls"]
            )
            yield Recording(
                **{name: said[name] for name in Recording.__slots__ if name not in ("calls", "output")},
                output=said["output"] or "",
                calls=calls,
            )
