"""V8's flags, and whether they took effect.

SECURITY: V8 drops an unknown flag *and every flag after it* with no more than a line on a stream that nobody
reads, so each is proved by what it does, and the last by itself.
"""

import json
from collections.abc import Callable

from ringfence.plugins.isolate.worker.layers import Layer

_NAME = "V8 flags"
_LEAST_HEAP_MB = 16

_PROBE = """
(() => {
  let generated = true;
  try { Function('return 1'); } catch { generated = false; }
  return JSON.stringify({
    generated,
    wasm: typeof WebAssembly,
    shared: typeof SharedArrayBuffer,
    temporal: typeof Temporal,
    offset: new Date(0).getTimezoneOffset(),
    chance: Math.random(),
  });
})()
"""

_WANTED = {
    "generated": False,
    "wasm": "undefined",
    "shared": "undefined",
    "temporal": "undefined",
    "offset": 0,
}


def heap_megabytes(memory_bytes: int) -> int:
    """Return V8's own limit of the heap for a budget."""
    return max(_LEAST_HEAP_MB, memory_bytes >> 20)


def wanted_flags(memory_bytes: int) -> tuple[str, ...]:
    """Return the flags; the last one's effect proves that none was dropped."""
    return (
        "--single-threaded",
        "--jitless",  # no code is made, so no memory need ever be executable
        "--disallow-code-generation-from-strings",
        "--enable-sharedarraybuffer-per-context",  # and this context has none
        "--no-harmony-temporal",
        "--stack-size=400",
        f"--max-heap-size={heap_megabytes(memory_bytes)}",
        "--hash-seed=7",
        "--random-seed=7",
    )


def proved(evaluated_afresh: Callable[[str], object], heap_limit_bytes: int, memory_bytes: int) -> Layer:
    """Look at what the flags do.

    Args:
        evaluated_afresh: Runs a text in an isolate of its own, in which nothing of ours is.
    """
    first, second = _seen(evaluated_afresh(_PROBE)), _seen(evaluated_afresh(_PROBE))
    wrong = [name for name, value in _WANTED.items() if first.get(name, "missing") != value]
    if not first or first.get("chance") != second.get("chance"):
        wrong.append("seed")
    # V8 adds its young generation to what it was given
    if heap_limit_bytes > (heap_megabytes(memory_bytes) << 20) * 2:
        wrong.append("heap")
    if wrong:
        return Layer(_NAME, False, f"without effect: {', '.join(wrong)}")
    return Layer(
        _NAME,
        True,
        "no code from strings, no WebAssembly, no shared memory; the same seed in two isolates; "
        f"heap {heap_limit_bytes >> 20} MB",
    )


def _seen(answer: object) -> dict[str, object]:
    if type(answer) is not str:
        return {}
    seen = json.loads(answer)
    return seen if type(seen) is dict else {}
