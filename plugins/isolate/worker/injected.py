"""For tests: Python handed in after the lock-down, in the place of an intruder who has taken V8 over.

SECURITY: nothing of this exists in a worker unless whoever started it also handed over a descriptor that
says `PHRASE`; a parent that means to run code never does.
"""

import os

PHRASE = b"run what is injected"


def wanted(descriptor: int | None) -> bool:
    """Read the descriptor and close it; raise `PermissionError` if it is there and says anything else."""
    if descriptor is None:
        return False
    try:
        said = os.read(descriptor, len(PHRASE) + 1)
    finally:
        os.close(descriptor)
    if said != PHRASE:
        raise PermissionError("nothing may be injected here")
    return True


def run(source: object, names: dict[str, object]) -> str:
    """Run Python that leaves what it saw in `seen`; whatever goes wrong is what was seen."""
    if type(source) is not str:
        raise PermissionError("only a text can be injected")
    try:
        exec(source, names)
    except Exception as problem:  # the answer that the test asked for
        code = getattr(problem, "errno", None)
        return f"{type(problem).__name__} {problem if code is None else code}"
    return repr(names.get("seen"))
