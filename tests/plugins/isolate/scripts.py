"""JavaScript for a pool with real workers: hostile, and how each must end."""

from dataclasses import dataclass

from ringfence.engine.seams.isolates import IsolateJob, Lockdown
from tests.plugins.isolate.workers import MB, SECOND, job


@dataclass(frozen=True)
class Script:
    """A tool body and what becomes of it."""

    source: str
    ends: frozenset[str | None]
    cheap: bool = True
    """Its worker goes on, or dies without taking long."""


def _ends(*failures: str | None) -> frozenset[str | None]:
    return frozenset(failures)


LIVENESS = {
    "loop": "a => { while (1); }",
    "microtasks": "async a => { for (;;) await 0 }",
    "then for ever": "a => { (function f() { Promise.resolve().then(f) })(); return new Promise(() => {}) }",
    "then after the result": "a => { (function f() { Promise.resolve().then(f) })(); return 1 }",
    "regular expression": "a => /^(a+)+$/.test('a'.repeat(50) + 'b')",
    "toJSON": "a => ({ toJSON() { for (;;); } })",
    "getter": "a => ({ get x() { for (;;); } })",
    "proxy": "a => new Proxy({}, { ownKeys() { for (;;); } })",
    "error text": "a => { throw { get message() { for (;;); } } }",
    "calls without a pause": "a => { for (;;) tools.add({ x: 1 }) }",
    "resolve": "a => { Promise.withResolvers = () => { for (;;); }; for (;;); }",
}
"""These end at the deadline only."""

MEMORY = {
    "heap": "a => { let z = []; for (;;) z.push({ x: 1, y: [1, 2] }) }",
    "one array": "a => { let z = new Array(2 ** 27).fill(1.5); return z.length }",
    "many buffers": "a => { let z = []; for (;;) z.push(new Uint8Array(1 << 20).fill(1)) }",
    "one buffer": "a => new Uint8Array(2 ** 30).fill(1).length",
    "text": "a => { let s = 'xy'; for (;;) s = [s, s].join('') }",
}
"""These want more than there is."""

QUICK = {
    "recursion": Script("a => { const f = () => f() + 1; return f() }", _ends("exception")),
    "never": Script("a => new Promise(() => {})", _ends("stalled")),
    "eval": Script("a => eval('1')", _ends("exception")),
    "Function": Script("a => (() => {}).constructor('return 1')()", _ends("exception")),
    "AsyncFunction": Script("a => (async () => {}).constructor('return 1')()", _ends("exception")),
    "generator": Script("a => (function* () {}).constructor('yield 1')()", _ends("exception")),
    "constructor of the arguments": Script(
        "a => a.constructor.constructor('return process')()", _ends("exception")
    ),
    "constructor of an answer": Script(
        "async a => (await tools.add({ x: 1 })).constructor.constructor('return 1')()", _ends("exception")
    ),
    "constructor of a refusal": Script(
        "async a => { try { await tools.add(1n) } "
        "catch (e) { return e.constructor.constructor('return 1')() } }",
        _ends("exception"),
    ),
    "shared memory": Script("a => new SharedArrayBuffer(8).byteLength", _ends("exception")),
    "Atomics": Script("a => Atomics.wait(new Int32Array(8), 0, 0, 1e9)", _ends("exception")),
    "timers": Script("a => new Promise(done => setTimeout(done, 1e9))", _ends("exception")),
    "import": Script("a => import('fs')", _ends("exception")),
    "process": Script("a => process.env", _ends("exception")),
    "require": Script("a => require('fs')", _ends("exception")),
    "fetch": Script("a => fetch('http://127.0.0.1/')", _ends("exception")),
    "WebAssembly": Script("a => new WebAssembly.Memory({ initial: 1 })", _ends("exception")),
    "breakout": Script("a => 1); while (1); (1", _ends("syntax")),
    "brackets": Script("a => 1)}; while (1); (function () { return (1", _ends("syntax")),
    "no function": Script("42", _ends("no function")),
    "syntax": Script("a => {", _ends("syntax")),
    "BigInt": Script("a => 1n", _ends("not JSON")),
    "cycle": Script("a => { let z = []; z.push(z); return z }", _ends("not JSON")),
    "deep": Script(
        "a => { let z = []; for (let i = 0; i < 1e5; i++) z = [z]; return z }",
        _ends("not JSON", "exception", "output"),
    ),
    "deeper than frames": Script(
        "a => { let z = []; for (let i = 0; i < 300; i++) z = [z]; return z }", _ends("not JSON")
    ),
    "deep arguments": Script(
        "a => { let z = []; for (let i = 0; i < 300; i++) z = [z]; return tools.add({ z }) }", _ends("calls")
    ),
    "large": Script("a => 'x'.repeat(3e6)", _ends("output")),
    "very large": Script("a => 'x'.repeat(2 ** 28)", _ends("output", "memory", "exception"), cheap=False),
    "flood": Script(
        "async a => { let p = []; for (let i = 0; i < 2e5; i++) p.push(tools.add({ x: i })); "
        "await Promise.all(p) }",
        _ends("calls"),
    ),
    "flood one by one": Script(
        "async a => { for (;;) await tools.add({ x: 1 }) }", _ends("calls"), cheap=False
    ),
    "large calls": Script(
        "async a => { let s = 'x'.repeat(2e6); "
        "await Promise.all([1, 2, 3, 4, 5].map(() => tools.add({ s }))) }",
        _ends("calls", "memory"),
        cheap=False,
    ),
    "hijack": Script(
        "async a => { JSON.stringify = () => 'x'; JSON.parse = () => 'y'; Promise.prototype.then = () => {}; "
        "Array.prototype.push = () => {}; Object.prototype.toJSON = () => 1; "
        "return await tools.add({ x: 1 }) }",
        _ends(None, "stalled", "exception"),
    ),
    "pollution": Script(
        "a => { Object.prototype.polluted = 'yes'; globalThis.left = 1; return 1 }", _ends(None)
    ),
    "surrogate": Script("a => '\\ud800'", _ends(None)),
}
"""These end by themselves."""


def body(
    source: str,
    arguments: object = None,
    *,
    lockdown: Lockdown = "full",
    owner: str = "a session",
    **limits: int,
) -> IsolateJob:
    """A job for a real worker."""
    whole = {"memory_bytes": 32 * MB, "time_ns": 20 * SECOND, "cpu_ns": 20 * SECOND, **limits}
    return job(source, arguments, lockdown=lockdown, owner=owner, **whole)
