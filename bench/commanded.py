"""One `ringfence` command in a process of its own, and what it took, with the processes that it starts."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What a command took."""

    code: int
    wall_s: float
    cpu_s: float
    """Of the process and of those that it started."""
    peak_bytes: int | None
    """The most memory of the process itself; None: this system does not tell."""


def taken(*words: str) -> Taken:
    """Run a command, throw away what it prints to stdout, and return what it took."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench.commanded", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wall_s = time.perf_counter() - start
    lines = done.stderr.splitlines()
    if not (lines and lines[-1].startswith("{")):
        raise RuntimeError(f"`ringfence {' '.join(words)}` broke off: {done.stderr}")
    return Taken(**{**json.loads(lines[-1]), "wall_s": wall_s})


def _peak_bytes() -> int | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = [line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 if found else None


def main(words: Sequence[str]) -> int:
    """Run the command here, and say on the last line of stderr what it took."""
    from ringfence.__main__ import main as ringfence

    code = ringfence(words)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = time.process_time() + children.ru_utime + children.ru_stime
    said = Taken(code, 0.0, cpu_s, _peak_bytes())
    print(json.dumps(asdict(said)), file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
