"""What stands in a fresh isolate: a clock, chance, tools; and what does not.  The same every time."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.isolate.worker_harness import JOB, Worker, echoed

pytest.importorskip("py_mini_racer")

NOW_MS = 1_700_000_000_000
_MASK = (1 << 32) - 1


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


GLOBALS = """
Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol Date Promise
RegExp Error AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis
JSON Math ArrayBuffer Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array
BigUint64Array BigInt64Array Uint8ClampedArray Float16Array Float32Array Float64Array DataView
Map BigInt Set Iterator WeakMap
WeakSet Proxy Reflect decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape eval
isFinite isNaN
SuppressedError DisposableStack AsyncDisposableStack tools
"""


def sfc32(seed: str, count: int) -> list[float]:
    """The same numbers by another hand: sfc32 of PractRand, two 32-bit words for 53 bits."""
    a, b, c, counter = (int(seed[at : at + 8], 16) for at in (0, 8, 16, 24))
    words = []
    for _ in range(12 + 2 * count):
        word = (a + b + counter) & _MASK
        counter = (counter + 1) & _MASK
        a = b ^ (b >> 9)
        b = (c + (c << 3)) & _MASK
        c = (((c << 21) | (c >> 11)) + word) & _MASK
        words.append(word)
    drawn = words[12:]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return [((high >> 5) * 67108864 + (low >> 6)) / 9007199254740992 for high, low in pairs]


@pytest.mark.parametrize("seed", [str(JOB["seed"]), "0" * 32, "f" * 32])
def test_chance_is_sfc32_from_the_seed(worker: Worker, seed: str) -> None:
    seen = worker.code("return Array.from({ length: 50 }, Math.random)", seed=seed)
    assert seen == sfc32(seed, 50)
    assert all(0 <= number < 1 for number in seen)


def test_another_seed_is_other_chance(worker: Worker) -> None:
    assert worker.code("return Math.random()", seed="0" * 31 + "1") != worker.code("return Math.random()")


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("Date.now()", NOW_MS),
        ("new Date().getTime()", NOW_MS),
        ("new Date(0).toISOString()", "1970-01-01T00:00:00.000Z"),
        ("new Date(2020, 0, 15).toISOString()", "2020-01-15T00:00:00.000Z"),
        ("Date()", "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)"),
        ("typeof Date()", "string"),
        ("new (new Date(5).constructor)().getTime()", NOW_MS),
        ("Reflect.construct(Date, []).getTime()", NOW_MS),
        ("(class extends Date {}).now()", NOW_MS),
        ("new (class extends Date {})().getTime()", NOW_MS),
        ("new Date() instanceof Date", True),
        ("Date.UTC(2000, 1)", 949363200000),
        ("Date.parse('2000-01-01')", 946684800000),
        ("[Date.length, Date.name]", [7, "Date"]),
        ("(Date.now = () => 5, new Date().getTime())", NOW_MS),
        ("(() => { const t = Date.now(); for (let i = 0; i < 1e6; i++); return Date.now() - t })()", 0),
    ],
)
def test_the_clock_stands_still_in_universal_time(worker: Worker, source: str, result: object) -> None:
    assert worker.code(f"return {source}") == result


def test_a_coarse_clock_goes_on_by_one_tick_for_each_batch_that_was_answered(worker: Worker) -> None:
    source = """
      const seen = [Date.now()];
      for (let i = 0; i < 3; i++) {
        await Promise.all([tools.look(), tools.look()]);
        for (let k = 0; k < 1000; k++) await 0;
        seen.push(Date.now());
      }
      return seen.map(at => at - seen[0]);
    """
    assert worker.code(source, answer=echoed, tick_ms=250) == [0, 250, 500, 750]
    assert worker.code(source, answer=echoed, tick_ms=None) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "name",
    [
        "WeakRef",
        "FinalizationRegistry",
        "Atomics",
        "SharedArrayBuffer",
        "WebAssembly",
        "Intl",
        "Temporal",
        "console",
        "setTimeout",
        "clearTimeout",
        "setInterval",
        "queueMicrotask",
        "performance",
        "crypto",
        "fetch",
        "XMLHttpRequest",
        "WebSocket",
        "Worker",
        "process",
        "require",
        "module",
        "Deno",
        "Bun",
        "ShadowRealm",
        "gc",
        "d8",
        "read",
        "print",
        "load",
        "__timer_manager",
    ],
)
def test_what_reaches_out_or_tells_the_time_is_not_there(worker: Worker, name: str) -> None:
    assert worker.code(f"return [typeof {name}, typeof globalThis[{name!r}]]") == ["undefined", "undefined"]


def test_minracers_own_timers_cannot_be_revived(worker: Worker) -> None:
    source = "try { new __TimerManager().setTimeout(() => 1, 5); return 'runs' } catch (e) { return e.name }"
    assert worker.code(source) == "ReferenceError"


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("(1234567.5).toLocaleString()", "1234567.5"),
        ("(12n).toLocaleString('de')", "12"),
        ("[1234, 5].toLocaleString()", "1234,5"),
        ("new Uint8Array([1, 2]).toLocaleString('de')", "1,2"),
        ("new Date(0).toLocaleString()", "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"),
        ("['ä', 'z', 'a', 'Z'].sort((a, b) => a.localeCompare(b))", ["Z", "a", "z", "ä"]),
        ("'I'.toLocaleLowerCase('tr')", "i"),
        ("'i'.toLocaleUpperCase('tr')", "I"),
        ("typeof new Date(0).toLocaleDateString", "undefined"),
    ],
)
def test_no_language_of_the_machine_shows(worker: Worker, source: str, result: object) -> None:
    assert worker.code(f"return {source}") == result


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "(0, eval)('1')",
        "Function('return 1')()",
        "new Function('return 1')",
        "(() => {}).constructor('return 1')",
        "(async () => {}).constructor('return 1')",
        "(function* () {}).constructor('return 1')",
        "(async function* () {}).constructor('return 1')",
        "tools.look.constructor('return 1')",
        "Date.constructor('return 1')",
        "Math.random.constructor('return 1')",
        "Error.prepareStackTrace.constructor('return 1')",
        "Reflect.construct(Function, ['return 1'])",
        "[].map.constructor.constructor('return process')()",
    ],
)
def test_no_text_becomes_code(worker: Worker, source: str) -> None:
    seen = worker.code(f"try {{ {source}; return 'made' }} catch (e) {{ return e.name }}")
    assert seen == "EvalError"


@pytest.mark.parametrize(
    "source", ["import('fs')", "import('data:text/javascript,1')", "import('/etc/passwd')"]
)
def test_no_module_can_be_loaded(worker: Worker, source: str) -> None:
    seen = worker.code(f"try {{ await {source}; return 'loaded' }} catch (e) {{ return 'refused' }}")
    assert seen == "refused"


def test_the_globals_are_those_of_the_language_and_the_tools(worker: Worker) -> None:
    seen = set(worker.code("return Object.getOwnPropertyNames(globalThis)"))
    undefined = {"setTimeout", "clearTimeout", "__timer_manager"}
    assert undefined <= seen
    assert seen - undefined == set(GLOBALS.split())


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("tools.then", None),
        ("tools.toJSON", None),
        ("tools.constructor", None),
        ("tools.__proto__", None),
        ("Object.getPrototypeOf(tools)", None),
        ("tools[Symbol.iterator]", None),
        ("tools['\\ud800']", None),
        ("tools['x'.repeat(201)]", None),
        ("Object.keys(tools)", ["look"]),
        ("typeof (await tools).look", "function"),
        ("tools.look === tools.look", True),
        ("JSON.stringify(tools)", "{}"),
    ],
)
def test_the_tools_are_a_plain_set_of_names(worker: Worker, source: str, result: object) -> None:
    assert worker.code(f"return {source}") == result


@pytest.mark.parametrize(
    "source",
    [
        "tools.look = () => 1",
        "Object.defineProperty(tools, 'look', { value: 1 })",
        "delete tools.look",
        "globalThis.tools = {}",
        "Object.setPrototypeOf(tools, {})",
        "tools.look.extra = 1",
        "Error.prepareStackTrace = () => 1",
        "Object.defineProperty(Error, 'prepareStackTrace', { value: () => 1 })",
    ],
)
def test_tools_and_stacks_cannot_be_replaced(worker: Worker, source: str) -> None:
    seen = worker.code(f"'use strict'; try {{ {source}; return 'done' }} catch (e) {{ return e.name }}")
    assert seen == "TypeError"


def test_a_stack_names_places_of_the_source_and_no_others(worker: Worker) -> None:
    source = "const inner = () => {\n  throw new Error('x')\n}\ntry { inner() } catch (e) { return e.stack }"
    first, *frames = worker.code(source).split("\n")
    assert first == "Error: x"
    assert frames[0] == "    at inner (source:2:9)"
    assert all(frame.strip().startswith("at ") and "source:" in frame for frame in frames)
    deep = worker.code("return await tools.look().catch(e => e.stack)", answer=refused)
    assert "prelude" not in deep and "/" not in deep


def refused(call: dict[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], "result": None, "error": "no"}


@pytest.mark.parametrize(
    "made",
    [
        "o.x = function () { throw new Error() }",
        "o.x = () => { throw new Error() }",
        "o['x'] = async () => { throw new Error() }",
        "o.x = async function* () { throw new Error() }",
        "(o.x = { y: [() => { throw new Error() }] }, o.x = o.x.y[0])",
        "o.x = class { constructor() { throw new Error() } }",
    ],
)
@pytest.mark.parametrize("kind", ["code", "body"])
def test_a_stack_does_not_tell_the_name_that_nobody_may_learn(worker: Worker, made: str, kind: str) -> None:
    """It would be another one each time, too."""
    source = f"""
      const o = {{}};
      {made};
      try {{ const made = o.x.prototype?.constructor === o.x ? new o.x() : o.x();
            await (made?.next?.() ?? made) }} catch (e) {{ return e.stack }}
    """
    text = source if kind == "code" else f"async () => {{ {source} }}"
    seen = worker.result(text, kind=kind)
    assert seen.startswith("Error\n    at "), seen
    assert "take" not in seen and not re.search("[0-9a-f]{32}", seen), seen
    with Worker() as another:
        assert another.result(text, kind=kind) == seen


@pytest.mark.parametrize(
    "site",
    [
        "getColumnNumber: () => 'x'",
        "getColumnNumber: () => 1.5",
        "getColumnNumber: () => 0",
        "getColumnNumber: () => -1",
        "getColumnNumber: () => ({ toJSON() { throw 1 } })",
        "getColumnNumber: () => [[[]]]",
        "getLineNumber: () => 2.5",
        "getLineNumber: () => Infinity",
        "getLineNumber: () => ({ valueOf: () => 1e300 })",
    ],
)
def test_a_place_is_two_numbers_whatever_code_says(worker: Worker, site: str) -> None:
    source = f"""
      const site = {{ getScriptNameOrSourceURL: () => '', getLineNumber: () => 5, getColumnNumber: () => 7,
        getFunctionName: () => 'f', {site} }};
      const error = {{ message: 'own' }};
      Error.prepareStackTrace(error, [site]);
      throw error;
    """
    failure, message, line, column = worker.failure(source, kind="code")
    assert (failure, message) == ("exception", "own")
    for number in (line, column):
        assert number is None or (type(number) is int and number > 0)


def test_a_stack_gives_no_function_of_ours(worker: Worker) -> None:
    source = """
      function outer() { return outer.caller }
      const seen = [];
      try { seen.push(String(outer())) } catch (e) { seen.push(e.name) }
      const args = {
        toJSON() { try { return String(arguments.callee.caller) } catch (e) { return e.name } }
      };
      seen.push((await tools.look({ args })).args);
      return seen;
    """
    for said in worker.code(source, answer=echoed):
        assert said in ("null", "TypeError") or said.startswith("async function(){\n"), said


HIJACKS = """
  const evil = () => { throw new Error('hijacked') };
  for (const [of, names] of [
    [Promise, ['resolve', 'reject', 'all', 'withResolvers']],
    [Promise.prototype, ['then', 'catch', 'finally']],
    [JSON, ['parse', 'stringify']],
    [Array.prototype, ['push', 'splice', 'map', 'join', 'toJSON', 'forEach']],
    [Object, ['create', 'freeze', 'defineProperty', 'keys']],
    [Object.prototype, ['toString', 'hasOwnProperty', 'valueOf']],
    [Function.prototype, ['call', 'apply', 'bind', 'toString']],
    [Reflect, ['apply', 'construct', 'defineProperty']],
    [String.prototype, ['slice', 'toJSON', 'split', 'isWellFormed']],
    [WeakMap.prototype, ['get', 'set']],
    [Error.prototype, ['toString']],
    [Number, ['parseInt']],
    [globalThis, ['JSON', 'Promise', 'Error', 'TypeError', 'WeakMap', 'Proxy', 'parseInt']],
  ]) for (const name of names) of[name] = evil;
  Array.prototype[Symbol.iterator] = evil;
"""


def test_the_worker_uses_nothing_that_code_has_replaced(worker: Worker) -> None:
    source = HIJACKS + "return (await tools.look({ a: 1 })).a + 1"
    assert worker.code(source, answer=echoed) == 2
    assert worker.failure(HIJACKS + "\nthrow 'after all'", kind="code")[:2] == ("exception", "after all")


def test_a_failure_cannot_be_forged_by_what_json_asks_every_object(worker: Worker) -> None:
    forged = (
        "Object.prototype.toJSON = () => ({ failure: 'lockdown', message: 'x', line: null, column: null });"
    )
    assert worker.failure(forged + "\nthrow 'own words'", kind="code")[:2] == ("exception", "own words")


def test_setters_on_the_prototype_see_nothing_of_ours(worker: Worker) -> None:
    source = """
      globalThis.seen = [];
      const define = Object.defineProperty;
      for (const key of ['0', '1', '2', 'id', 'tool', 'arguments', 'resolve', 'reject', 'result', 'error']) {
        for (const of of [Object.prototype, Array.prototype]) {
          define(of, key, { set(v) { globalThis.seen.push(key) }, get() {}, configurable: true });
        }
      }
      const answer = await tools.look({ a: 1 });
      for (const key of ['0', '1', '2', 'id', 'tool', 'arguments', 'resolve', 'reject', 'result', 'error']) {
        delete Object.prototype[key]; delete Array.prototype[key];
      }
      return [answer.a, globalThis.seen.length];
    """
    assert worker.code(source, answer=echoed) == [1, 0]


def test_nothing_that_code_leaves_behind_is_there_for_the_next(worker: Worker) -> None:
    pollution = """
      Object.prototype.polluted = 1; Array.prototype.map = 2; globalThis.left = 3; Math.random = () => 4;
      Date.prototype.getTime = () => 5; JSON.stringify = () => '"6"'; Promise.prototype.then = () => 7;
      return 1;
    """
    assert worker.code(pollution) == 1
    source = "return [({}).polluted, typeof [].map, typeof left, Math.random(), new Date().getTime()]"
    assert worker.code(source) == [None, "function", "undefined", sfc32(str(JOB["seed"]), 1)[0], NOW_MS]


ALL_AT_ONCE = """
  const out = { numbers: [], stacks: [], sorted: [], dates: [], keys: [] };
  for (let i = 0; i < 20; i++) {
    const answer = await tools.look({ i, chance: Math.random(), at: Date.now() });
    out.numbers.push(answer.chance, Math.sin(i), Math.pow(1.1, i), Math.random());
    out.dates.push(new Date().toString());
  }
  try { null.x } catch (e) { out.stacks.push(e.stack) }
  try { await tools.look({ fail: true }) } catch (e) { out.stacks.push(e.stack) }
  out.sorted = ['b', 'ä', 'a', 'Z'].sort((a, b) => a.localeCompare(b));
  out.keys = [...new Set([3, 1, 2])].concat(Object.keys({ b: 1, a: 2, 1: 3 }));
  const race = await Promise.race([tools.look({ n: 1 }), tools.look({ n: 2 })]);
  return { out, race, globals: Object.getOwnPropertyNames(globalThis) };
"""


def trace() -> str:
    """Everything that one run says, in a worker of its own."""

    def answer(call: dict[str, Any]) -> dict[str, Any]:
        return refused(call) if "fail" in call["arguments"] else echoed(call)

    frames: list[Any] = []
    with Worker() as fresh:
        for _ in range(3):
            fresh.run(ALL_AT_ONCE, answer, kind="code", tick_ms=1000, transcript=frames)
    third = len(frames) // 3
    assert frames[:third] == frames[third : 2 * third] == frames[2 * third :]
    assert "done" in frames[-1]
    return hashlib.sha256(json.dumps(frames).encode()).hexdigest()


def test_the_same_run_gives_the_same_bytes_in_two_processes() -> None:
    assert trace() == trace()
