"""How a recorded run passes a guard, and how it comes out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """What one guard said to the calls of a run."""

    calls: int
    """Those that reached the guard."""
    denied: tuple[tuple[str, str], ...]
    """Tool and reason of each call that was denied."""
    asked: tuple[tuple[str, str], ...]
    """Tool and reason of each call that a person was asked about."""
    kept: tuple[bool | None, ...]
    """Of each recorded call: True: it ran; False: it was dropped; None: it never reached a guard."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run came out under one guard."""

    passage: Passage
    done: bool
    """In a benign run: it is useful; in an attacked one: the attack succeeds."""
