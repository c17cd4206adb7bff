"""Classic BPF as seccomp takes it: the few instructions that a filter of system calls needs.

Linux `include/uapi/linux/filter.h`, `seccomp.h`.  Jumps are relative and short, so each rule carries its own
verdict: a rule is either not for this call, and skipped, or ends in one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000

_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

NUMBER_AT = 0
ARCHITECTURE_AT = 4


@dataclass(frozen=True, slots=True)
class Instruction:
    """One step: what to do, where to go if so and if not, and a word."""

    code: int
    if_true: int
    if_false: int
    word: int


def refuse(code: int) -> int:
    """Return the verdict that fails a call with this error number."""
    return 0x00050000 | code


def verdict(value: int) -> Instruction:
    """End with this."""
    return Instruction(_RETURN, 0, 0, value)


def load(offset: int) -> Instruction:
    """Take the 32-bit word at this place of the call's description."""
    return Instruction(_LOAD_WORD, 0, 0, offset)


def load_argument(index: int) -> Instruction:
    """Take the low half of an argument; both machines are little-endian."""
    return load(16 + 8 * index)


def equal(value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then`, which ends in a verdict, if the word taken is this."""
    return [Instruction(_JUMP_EQUAL, 0, len(then), value), *then]


def at_least(value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then`, which ends in a verdict, if the word taken is this or more."""
    return [Instruction(_JUMP_AT_LEAST, 0, len(then), value), *then]


def any_bit(mask: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then`, which ends in a verdict, if the word taken has one of these bits."""
    return [Instruction(_JUMP_ANY_BIT, 0, len(then), mask), *then]
