"""One wall around the worker: whether it holds, and what was seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """A wall, as the worker proved it."""

    name: str
    holds: bool
    evidence: str
    """What the self-test saw, or what is missing."""


def lacking(name: str, problem: OSError) -> Layer:
    """Return the layer that this machine did not give."""
    return Layer(name, False, f"the system refused it: {problem.strerror or 'unknown'} ({problem.errno})")


def left_out(name: str) -> Layer:
    """Return a layer that whoever started the worker did not want."""
    return Layer(name, False, "left out, as the worker was told")
