"""What a worker does with code that means well: results, calls of tools, failures with their place."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.isolate.worker_harness import JOB, PATIENCE_S, EndedError, Worker, echoed

pytest.importorskip("py_mini_racer")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


def refused(call: dict[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], "result": None, "error": "not here"}


def test_a_body_is_called_with_the_arguments(worker: Worker) -> None:
    source = "({ items, country }) => items.length + country"
    assert worker.result(source, arguments='{"items": ["a", "b"], "country": "PT"}') == "2PT"


@pytest.mark.parametrize(
    "source",
    [
        "function quote(a) { return 1 }",
        "async a => 1",
        "async function (a) { return 1 }",
        "(a => 1)",
        "a => 1 // the end",
        "/* first */ a => { return 1 } // the end",
        "(() => { const one = 1; return () => one })()",
        "a => ({ then(settle) { settle(1) } })",
        "(a) => {\n  return 1;\n};\n",
        "a => 1 // the end;",
    ],
)
def test_any_expression_that_is_a_function_is_a_body(worker: Worker, source: str) -> None:
    assert worker.result(source) == 1


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("return 1 + 1", 2),
        ("const f = async () => 4; return await f()", 4),
        ("", None),
        ("'use strict'; return this === undefined", True),
        ("return\n5", None),
        (
            "return [1, 'é\U0001f40e\u2028', null, true, { a: NaN }]",
            [1, "é\U0001f40e\u2028", None, True, {"a": None}],
        ),
        ("return undefined // the end", None),
        ("return typeof tools.look", "function"),
    ],
)
def test_code_is_the_body_of_an_async_function(worker: Worker, source: str, result: object) -> None:
    assert worker.code(source) == result


def test_a_call_of_a_tool_is_a_promise_of_its_answer(worker: Worker) -> None:
    source = "const seen = await tools.look({ table: 'orders', n: [1, 2] }); return seen.n[1] + seen.table"
    assert worker.code(source, answer=echoed) == "2orders"


def test_calls_are_numbered_from_one_and_sent_in_batches(worker: Worker) -> None:
    frames: list[Any] = []
    source = "await Promise.all([tools.look({ n: 1 }), tools.look({ n: 2 })]); await tools.look(); return 1"
    worker.run(source, echoed, kind="code", transcript=frames)
    assert frames == [
        {
            "calls": [
                {"id": 1, "tool": "look", "arguments": '{"n":1}'},
                {"id": 2, "tool": "look", "arguments": '{"n":2}'},
            ]
        },
        {"calls": [{"id": 3, "tool": "look", "arguments": "{}"}]},
        {"done": {"result": "1"}},
    ]


def test_a_refused_call_rejects_with_the_words_it_was_refused_with(worker: Worker) -> None:
    source = "try { await tools.look() } catch (e) { return [e instanceof Error, e.message] }"
    assert worker.code(source, answer=refused) == [True, "not here"]


def test_a_refused_call_that_nobody_catches_ends_the_run(worker: Worker) -> None:
    failure, message, line, _ = worker.failure("\nawait tools.look()", answer=refused, kind="code")
    assert (failure, message) == ("exception", "Error: not here")
    assert line in (None, 2)


def test_a_name_that_is_not_offered_asks_as_well(worker: Worker) -> None:
    frames: list[Any] = []
    source = "try { await tools.delete_all({ now: true }) } catch (e) { return e.message }"
    worker.run(source, refused, kind="code", transcript=frames)
    assert frames[0]["calls"][0]["tool"] == "delete_all"
    assert frames[1] == {"done": {"result": '"not here"'}}


def test_calls_that_nobody_awaits_are_made_before_the_run_ends(worker: Worker) -> None:
    frames: list[Any] = []
    worker.run("tools.look({ n: 1 }); return 2", echoed, kind="code", transcript=frames)
    assert [next(iter(frame)) for frame in frames] == ["calls", "done"]


def test_answers_in_another_order_settle_in_the_order_of_the_calls(worker: Worker) -> None:
    source = """
      const order = [];
      await Promise.all([1, 2, 3].map(n => tools.look({ n }).then(() => order.push(n))));
      return order;
    """
    worker.send({"job": _job(source)})
    calls = worker.receive()["calls"]
    worker.send({"answers": [echoed(call) for call in reversed(calls)]})
    assert worker.receive() == {"done": {"result": "[1,2,3]"}}


def _job(source: str) -> dict[str, Any]:
    return {**JOB, "source": source, "kind": "code"}


@pytest.mark.parametrize(
    ("source", "kind", "failure", "line", "column"),
    [
        ("a => {\n  let b = 5 5;\n}", "body", "syntax", 2, 13),
        ("return (\n  1 +\n)", "code", "syntax", 3, 1),
        ("return '", "code", "syntax", 1, 8),
        ("{", "code", "syntax", 1, None),
        ("a => {\n  throw new RangeError('far')\n}", "body", "exception", 2, 9),
        ("const x = 1;\nreturn x.y.z", "code", "exception", 2, 12),
        ("return await nothing", "code", "exception", 1, 1),
        ("5", "body", "no function", None, None),
        ("({ a: 1 })", "body", "no function", None, None),
        ("throw 'text'", "code", "exception", None, None),
        ("throw null", "code", "exception", None, None),
        ("throw Symbol('s')", "code", "exception", None, None),
        ("await new Promise(() => {})", "code", "stalled", None, None),
        ("return 10n", "code", "not JSON", None, None),
        ("return () => 1", "code", "not JSON", None, None),
        ("const a = {}; a.a = a; return a", "code", "not JSON", None, None),
        ("let a = []; for (let i = 0; i < 300; i++) a = [a]; return a", "code", "not JSON", None, None),
        ("return 'x'.repeat(20000)", "code", "output", None, None),
        ("return 'é'.repeat(9000)", "code", "output", None, None),
        ("const f = () => f() + 1; return f()", "code", "exception", 1, None),
    ],
)
def test_a_failure_says_why_and_where(
    worker: Worker, source: str, kind: str, failure: str, line: int | None, column: int | None
) -> None:
    seen = worker.failure(source, kind=kind)
    assert seen[0] == failure
    assert seen[2] == line
    if column is not None:
        assert seen[3] == column


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("throw new TypeError('no such order')", "TypeError: no such order"),
        ("throw 'text'", "text"),
        ("throw { message: 'an own one' }", "an own one"),
        ("throw { get message() { throw 1 } }", "an error that cannot be read"),
        (
            "const e = new Error('x'); e.name = { toString() { throw 2 } }; throw e",
            "an error that cannot be read",
        ),
        ("throw new Error('half \\ud800')", "Error: half ?"),
        ("throw new Error('x'.repeat(1e6))", "Error: " + "x" * 1993),
    ],
)
def test_the_message_is_what_the_code_said(worker: Worker, source: str, message: str) -> None:
    assert worker.failure(source, kind="code")[1] == message


def test_a_source_that_is_not_unicode_is_a_syntax_error(worker: Worker) -> None:
    assert worker.failure("return '\ud800'", kind="code")[0] == "syntax"


def test_lines_are_those_of_the_source_with_any_line_ends(worker: Worker) -> None:
    assert worker.failure("let a\r\nlet b\r\nthrow new Error('x')", kind="code")[2:] == (3, 7)


def test_a_result_as_large_as_is_allowed_goes_through(worker: Worker) -> None:
    assert worker.code("return 'x'.repeat(98)", output_bytes=100) == "x" * 98
    assert worker.failure("return 'x'.repeat(99)", kind="code", output_bytes=100)[0] == "output"


def test_a_result_larger_than_a_frame_is_too_much_output() -> None:
    with Worker(memory_bytes=256 << 20) as large:
        seen = large.failure(
            "return 'é'.repeat(3 << 20)", kind="code", output_bytes=1 << 30, memory_bytes=256 << 20
        )
        assert seen[0] == "output"
        assert large.code("return 1") == 1


def test_the_thousandth_call_is_the_last(worker: Worker) -> None:
    source = "for (let i = 0; i < %d; i++) await tools.look({ i }); return 'all'"
    assert worker.code(source % 1000, answer=echoed) == "all"
    assert worker.failure(source % 1001, answer=echoed, kind="code")[0] == "calls"


@pytest.mark.parametrize(
    "source",
    [
        "for (let i = 0; i < 200000; i++) tools.look({ i }); return 1",
        "for (let i = 0; i < 9; i++) tools.look('x'.repeat(1 << 20)); return 1",
        "let a = []; for (let i = 0; i < 300; i++) a = [a]; await tools.look(a)",
    ],
)
def test_too_many_or_too_large_calls_end_the_run_and_none_is_sent(worker: Worker, source: str) -> None:
    frames: list[Any] = []
    worker.run(source, kind="code", transcript=frames)
    assert len(frames) == 1
    assert frames[0]["failed"]["failure"] == "calls"


@pytest.mark.parametrize(
    "arguments", ["() => 1", "Symbol()", "10n", "(() => { const a = {}; a.a = a; return a })()"]
)
def test_arguments_that_are_not_json_reject_and_are_not_sent(worker: Worker, arguments: str) -> None:
    source = f"try {{ await tools.look({arguments}) }} catch (e) {{ return e instanceof TypeError }}"
    assert worker.code(source) is True


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "module"},
        {"seed": "12"},
        {"tools": "look"},
        {"now_ms": "now"},
        {"tick_ms": -1},
        {"output_bytes": -1},
        {"memory_bytes": True},
        {"extra": 1},
    ],
)
def test_what_is_no_job_is_the_parents_fault(worker: Worker, changed: dict[str, object]) -> None:
    assert worker.failure("() => 1", **changed)[0] == "executor"
    assert worker.result("() => 1") == 1


@pytest.mark.parametrize(
    "answers",
    [
        {"answers": []},
        {"answers": [{"id": 2, "result": "1", "error": None}]},
        {"answers": [{"id": 1, "result": "1", "error": None}] * 2},
        {"answers": [{"id": True, "result": "1", "error": None}]},
        {"answers": [{"id": 1, "result": None, "error": None}]},
        {"answers": [{"id": 1, "result": "1", "error": "x"}]},
        {"answers": [{"id": 1, "result": "{", "error": None}]},
        {"answers": [{"id": 1, "result": "[" * 300 + "]" * 300, "error": None}]},
        {"answers": [{"id": 1, "result": 1, "error": None}]},
        {"answers": {"id": 1}},
        {"job": {}},
    ],
)
def test_a_worker_leaves_a_parent_that_answers_something_else(answers: dict[str, object]) -> None:
    with Worker() as worker:
        worker.send({"job": _job("return await tools.look()")})
        assert "calls" in worker.receive()
        worker.send(answers)
        with pytest.raises(EndedError) as ended:
            worker.receive()
        assert ended.value.status == 3


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01{",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x04nope",
        b'\x00\x00\x00\x07{"a":\xff}',
        b'\x00\x00\x00\x0d{"a":1,"a":2}',
        b"\x00\x00\x04\x00" + b"[" * 1024,
    ],
)
def test_a_worker_leaves_a_parent_that_sends_no_frame(data: bytes) -> None:
    with Worker() as worker:
        worker.send_bytes(data)
        with pytest.raises(EndedError) as ended:
            worker.receive()
        assert ended.value.status == 3


def test_a_worker_ends_with_its_parents_socket() -> None:
    with Worker() as worker:
        worker._socket.shutdown(1)
        assert worker.process.wait(PATIENCE_S) == 0


def test_the_arguments_of_a_call_are_taken_when_it_is_made(worker: Worker) -> None:
    source = "const a = { n: 1 }; const p = tools.look(a); a.n = 2; return (await p).n"
    assert worker.code(source, answer=echoed) == 1


def test_proto_keys_are_data_both_ways(worker: Worker) -> None:
    arguments = '{"__proto__": {"admin": true}, "constructor": 1}'
    seen = worker.run("a => [a.admin === undefined, Object.keys(a), a]", arguments=arguments)
    assert json.loads(seen["done"]["result"])[0:2] == [True, ["__proto__", "constructor"]]
    assert '"__proto__":{"admin":true}' in seen["done"]["result"]
    source = "const r = await tools.look(JSON.parse('{\"__proto__\": 5}')); return Object.keys(r)"
    assert worker.code(source, answer=echoed) == ["__proto__"]
