"""What the parent says when it starts a worker: one JSON object, strictly."""

import json
from dataclasses import dataclass, fields

LEAVABLE = frozenset(
    {
        "no new privileges",
        "dies with parent",
        "not dumpable",
        "namespaces",
        "no capabilities",
        "limits",
        "Landlock",
        "seccomp",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """How this worker is to be."""

    memory_bytes: int
    """The memory class: the most that a job of this worker may want."""
    cpu_seconds: int = 3600
    """Of the whole life of the worker: a backstop, as nobody can set it anew for a job."""
    leave_out: tuple[str, ...] = ()
    """Layers that are not put up, so that a test can show what they are good for."""
    injection: int | None = None
    """For tests: a descriptor that says whether Python may be handed in after the lock-down."""


class OptionsError(ValueError):
    """This is not how a worker is started."""


def read(text: str) -> Options:
    """Read the options; raise `OptionsError` for anything that is not exactly understood."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise OptionsError("not JSON") from error
    known = {field.name for field in fields(Options)}
    if type(said) is not dict or not set(said) <= known or "memory_bytes" not in said:
        raise OptionsError("not the members that a worker knows")
    left = said.pop("leave_out", [])
    if type(left) is not list or not all(type(name) is str and name in LEAVABLE for name in left):
        raise OptionsError("no such layer")
    injection = said.pop("injection", None)
    if injection is not None and type(injection) is not int:
        raise OptionsError("no descriptor")
    if not all(type(value) is int and value > 0 for value in said.values()):
        raise OptionsError("no whole number above 0")
    return Options(**said, leave_out=tuple(left), injection=injection)
