"""A machine for the classic BPF that seccomp runs: what a filter says of one system call.

After the kernel's own checker and interpreter: jumps go forwards and stay inside, the end is a verdict.
"""

import struct
from collections.abc import Sequence

from ringfence.plugins.isolate.worker.bpf import Instruction

MOST_STEPS = 4096
_WORDS = 16


def said(
    program: Sequence[Instruction], *, architecture: int, number: int, arguments: Sequence[int] = ()
) -> int:
    """Return the verdict for a call: `struct seccomp_data` is number, architecture, place, six arguments."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(value & (1 << 64) - 1 for value in padded))
    words = struct.unpack(f"<{_WORDS}I", data)
    accumulator, at = 0, 0
    while True:
        step = program[at]
        match step.code:
            case 0x20:
                assert step.word % 4 == 0
                accumulator, jump = words[step.word // 4], 0
            case 0x15:
                jump = step.if_true if accumulator == step.word else step.if_false
            case 0x35:
                jump = step.if_true if accumulator >= step.word else step.if_false
            case 0x45:
                jump = step.if_true if accumulator & step.word else step.if_false
            case 0x06:
                return step.word
            case other:
                raise AssertionError(f"no such instruction: {other:#x}")
        at += 1 + jump


def sound(program: Sequence[Instruction]) -> bool:
    """Say what the kernel checks before it takes a filter."""
    if not 0 < len(program) <= MOST_STEPS or program[-1].code != 0x06:
        return False
    jumps = (0x15, 0x35, 0x45)
    return all(
        step.code in (0x20, 0x06, *jumps)
        and 0 <= step.word < 1 << 32
        and (
            step.code not in jumps
            or all(0 <= jump < 256 and at + 1 + jump < len(program) for jump in (step.if_true, step.if_false))
        )
        for at, step in enumerate(program)
    )
