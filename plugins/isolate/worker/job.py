"""What the parent asks for: one run, read strictly."""

import re
from typing import Any, Literal, NamedTuple, get_args

Kind = Literal["body", "code"]

_SEED = re.compile(r"[0-9a-f]{32}")


class JobError(ValueError):
    """The parent sent what is no job: its fault, not the code's."""


class Job(NamedTuple):
    """One run of code in a fresh isolate; as the engine's `IsolateJob`, without what the parent enforces."""

    source: str
    kind: Kind
    name: str
    arguments: str
    tools: tuple[str, ...]
    output_bytes: int
    memory_bytes: int
    now_ms: int
    tick_ms: int | None
    seed: str


_TYPES: dict[str, type] = {
    "source": str,
    "kind": str,
    "name": str,
    "arguments": str,
    "tools": list,
    "output_bytes": int,
    "memory_bytes": int,
    "now_ms": int,
    "seed": str,
}


_MEMBERS = frozenset({*_TYPES, "tick_ms"})
_KINDS = frozenset(get_args(Kind))


def read(said: Any) -> Job:
    """Read a job; raise `JobError` for anything that is not exactly understood."""
    if type(said) is not dict or said.keys() != _MEMBERS:
        raise JobError("not the members of a job")
    if any(type(said[name]) is not wanted for name, wanted in _TYPES.items()):
        raise JobError("a member of a job that has another type")
    if said["tick_ms"] is not None and (type(said["tick_ms"]) is not int or said["tick_ms"] < 0):
        raise JobError("no length of a tick")
    if said["kind"] not in _KINDS or not _SEED.fullmatch(said["seed"]):
        raise JobError("no kind of code, or no seed of 128 bits")
    if said["output_bytes"] < 0 or said["memory_bytes"] < 1:
        raise JobError("a limit below nothing")
    if not all(type(tool) is str for tool in said["tools"]):
        raise JobError("a tool without a name")
    return Job(**{**said, "tools": tuple(said["tools"])})
