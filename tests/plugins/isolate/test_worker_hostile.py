"""Code that means harm: it ends at the deadline or at a limit, and the next job is none the worse."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.isolate.worker_harness import JOB, EndedError, Worker, echoed

pytest.importorskip("py_mini_racer")

DEADLINE_S = 0.4
SIGNALS_OF_NO_MEMORY = {-5, -6, -11, -4}
"""V8 and its allocator end the process when they get no more: trap, abort, or a fault."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("body", "a => { while (1); }"),
        ("body", "(() => { for (;;); })()"),
        ("body", "async a => { for (;;) await 0 }"),
        ("body", "a => (function f() { Promise.resolve().then(f) })()"),
        ("body", "a => /^(a+)+$/.test('a'.repeat(50) + 'b')"),
        ("body", "a => ({ toJSON() { for (;;); } })"),
        ("body", "a => ({ get x() { for (;;); } })"),
        ("body", "a => new Proxy({}, { ownKeys() { for (;;); } })"),
        ("body", "a => ({ then() { for (;;); } })"),
        ("body", "a => { throw { get message() { for (;;); } } }"),
        (
            "body",
            "a => { throw Object.defineProperty(new Error(), 'stack', { get() { for (;;); } }) }",
        ),
        ("body", "a => { for (;;) try { (function f() { f() })() } finally { continue } }"),
        ("body", "a => { let n = 3n; for (;;) n = n * n % (2n ** 60000n) + 3n }"),
        ("code", "Promise.prototype.then = () => { for (;;); }; return { then: Promise.prototype.then }"),
        ("code", "JSON.stringify = () => { for (;;); }; for (;;) await null"),
        ("code", "await tools.look({ toJSON() { for (;;); } })"),
        ("code", "})); while (1); ((async function () {"),
        ("body", "1)}) + `); while (1); (function () { return [1"),
    ],
)
def test_code_that_never_ends_is_killed_at_the_parents_deadline(kind: str, source: str) -> None:
    with Worker() as doomed:
        with pytest.raises(EndedError) as ended:
            doomed.run(source, kind=kind, within_s=DEADLINE_S)
        assert ended.value.status == -9


def test_code_that_hangs_after_an_answer_is_killed_as_well() -> None:
    with Worker() as doomed:
        with pytest.raises(EndedError) as ended:
            doomed.run("await tools.look(); for (;;);", echoed, kind="code", within_s=DEADLINE_S)
        assert ended.value.status == -9


@pytest.mark.parametrize(
    "source",
    [
        "a => { const kept = []; for (;;) kept.push({ x: 1, y: [1, 2] }) }",
        "a => { const kept = []; for (;;) kept.push(new Uint8Array(1 << 20).fill(1)) }",
        "a => { const kept = []; for (;;) kept.push(new ArrayBuffer(1 << 26)) }",
        "a => { const s = 'x'.repeat(1e6), kept = []; for (let i = 0; ; i++) kept.push((s + i).split('')) }",
        "a => { let s = 'xy'; for (;;) { s += s; JSON.stringify(s) } }",
        "a => { const kept = new Map(); for (let i = 0; ; i++) kept.set(i, 'v' + i) }",
        "a => { const kept = []; for (;;) kept.push(new Array(1e6).fill(1)) }",
        "a => { let n = 2n; const kept = []; for (;;) kept.push(n = n << 100000n) }",
        "a => { const b = new ArrayBuffer(0, { maxByteLength: 2e9 }); b.resize(2e9); return b.byteLength }",
        "async a => { const kept = []; for (;;) if (kept.push(new Promise(() => {})) % 1e5 == 0) await 0 }",
        "a => ({ all: 'x'.repeat(1e8) })",
    ],
)
def test_code_that_takes_all_memory_ends_within_its_own(source: str) -> None:
    peak_above = 200 << 20
    with Worker() as doomed:
        before = _peak_bytes(doomed)
        try:
            failure = doomed.failure(source)[0]
        except EndedError as ended:
            assert ended.status in SIGNALS_OF_NO_MEMORY
        else:
            assert failure in ("memory", "exception")
            assert _peak_bytes(doomed) - before < peak_above
            assert doomed.result("() => 2") == 2


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("a => { const kept = []; for (;;) kept.push(new Uint8Array(1 << 20).fill(1)) }", "memory"),
        ("a => new Array(1e10)", "exception"),
        ("a => 'x'.repeat(2 ** 30)", "exception"),
        ("a => new ArrayBuffer(1e10)", "memory"),
        ("a => 'x'.repeat(1e8)", "output"),
    ],
)
def test_one_thing_that_is_too_large_is_refused_by_name(worker: Worker, source: str, failure: str) -> None:
    assert worker.failure(source)[0] == failure


def test_the_next_job_has_the_memory_that_the_last_one_wasted(worker: Worker) -> None:
    for _ in range(5):
        assert (
            worker.failure("a => { const kept = []; for (;;) kept.push(new Uint8Array(1 << 20).fill(1)) }")[0]
            == "memory"
        )
        assert worker.result("a => new Uint8Array(1 << 22).fill(7)[9]") == 7


def test_a_job_has_its_own_bound_below_that_of_its_worker() -> None:
    with Worker(memory_bytes=128 << 20) as roomy:
        source = (
            "() => { const kept = []; while (kept.push({ at: [kept.length] }) < 3e5); return kept.length }"
        )
        assert roomy.result(source, memory_bytes=128 << 20) == 300000
        assert roomy.failure(source, memory_bytes=8 << 20)[0] == "memory"
        assert roomy.result(source, memory_bytes=128 << 20) == 300000


def _peak_bytes(worker: Worker) -> int:
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


BREAK_OUTS = [
    "a => 1); globalThis.out = 1; (1",
    "1]); globalThis.out = 1; ([1",
    "1)}), globalThis.out = 1, (function () { return (1",
    "1)}); globalThis.out = 1; (function () { return (1",
    "1)})); globalThis.out = 1; ((function () { return (1",
    "1)}) + `); globalThis.out = 1; (function () { return [1",
    "1)}) + `); throw 1; (function () { return [1",
    "1)}) + `); tools.look(); (function () { return [1",
    "1)}) + `, function () { return [1",
    "a => 1, b => 2); (a => 3",
    "...[1]",
    "",
    "// only a comment",
    "a => 1; a => 2",
    "return a => 1",
    "let a = 1",
    "a => 1 /* never closed",
    "a => `never closed",
    "}",
    ")",
    "]",
]


@pytest.mark.parametrize("source", BREAK_OUTS)
def test_a_body_that_is_no_expression_is_a_syntax_error(worker: Worker, source: str) -> None:
    frames: list[Any] = []
    assert worker.run(source, transcript=frames)["failed"]["failure"] == "syntax"
    assert len(frames) == 1


@pytest.mark.parametrize(
    "source",
    [
        "}); globalThis.out = 1; (async function () {",
        "})); globalThis.out = 1; ((async function () {",
        "})); throw 1; ((async function () {",
        "return 1 })); tools.look(); ((async function () {",
        "}), (async function () {",
        "}) && (async function () {",
        "}), 'yes'), ((function () {",
        "}, async function () {",
        "}), 'yes', (function () {",
        "}); (() => 'yes')(function () {",
        "}.name, async function () {",
        "} /* */ , async function () { //",
        "return 1 }); tools.look(); (async function () {",
        "});",
        "}",
        "/*",
        "`",
        "import x from 'fs'",
        "export const x = 1",
    ],
)
def test_code_that_breaks_out_of_its_function_is_a_syntax_error(worker: Worker, source: str) -> None:
    frames: list[Any] = []
    assert worker.run(source, kind="code", transcript=frames)["failed"]["failure"] == "syntax"
    assert len(frames) == 1


@pytest.mark.parametrize(
    "source",
    [
        "return 1\n//# sourceURL=ringfence:prelude",
        "return 1\n//# sourceMappingURL=/etc/passwd",
        "return 1\n<!-- old",
        "return 1\n--> old",
        "return `${[1].map(a => `}`).length}` | 0",
        "return /[/})]/.source.length - 4",
        "return '})'.length - 1",
    ],
)
def test_text_that_only_looks_like_breaking_out_is_code(worker: Worker, source: str) -> None:
    assert worker.code(source) == 1


@pytest.mark.parametrize(
    "source",
    [
        "return Object.getOwnPropertyNames(globalThis).filter(name => name.startsWith('_'))",
        "return Object.getOwnPropertySymbols(globalThis).map(String)",
    ],
)
def test_the_way_in_has_a_name_that_no_list_shows(worker: Worker, source: str) -> None:
    assert set(worker.code(source)) <= {"__timer_manager", "Symbol(Symbol.toStringTag)"}


@pytest.mark.parametrize(
    "text",
    [
        "throw new Error('x')",
        "return null.x",
        "return import('fs').catch(e => { throw e })",
        "return eval('1')",
        "return new Array(-1)",
        "return (function f() { return f() + 1 })()",
        "return new RegExp('[b-a]').x.y",
        "return 1n + 1",
        "return await tools.look(1n)",
        "let a = 1; let a = 2",
        "return @",
        "return tools.look.call.call(1)",
    ],
)
def test_nothing_of_the_host_is_in_a_message(worker: Worker, text: str) -> None:
    seen = worker.failure(text, kind="code", answer=echoed)
    for secret in (
        "/work",
        "/usr",
        ".py",
        "python",
        "Python",
        "py_mini_racer",
        "Traceback",
        "File ",
        "prelude",
        "_racer",
    ):
        assert secret not in seen[1], seen


def test_deep_json_is_refused_where_it_is_made(worker: Worker) -> None:
    source = "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a"
    assert worker.failure(source, kind="code")[0] in ("not JSON", "output")


def test_a_hundred_jobs_leave_no_thread_and_little_memory_behind() -> None:
    with Worker() as busy:
        for _ in range(10):
            busy.result("() => 1")
        before = _resident_bytes(busy)
        for index in range(100):
            busy.run(["() => 1", "() => { throw 1 }", "() => new Promise(() => {})"][index % 3])
        busy.send({"job": {**JOB, "source": "() => tools.look()"}})
        busy.receive()
        # it waits for an answer, so it is making no isolate: its own thread, the isolate's, and that of the
        # isolate in which nothing runs
        assert _threads(busy) == 3
        assert _resident_bytes(busy) - before < 16 << 20


def _resident_bytes(worker: Worker) -> int:
    with open(f"/proc/{worker.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096


def _threads(worker: Worker) -> int:
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
