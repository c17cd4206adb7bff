"""What a model is told of its code is true in V8: the whole way through an agent, once each way."""

import json
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from langchain_core.tools import tool

from ringfence._assembly import assemble
from ringfence.adapters.langchain import isolate_tool
from ringfence.dsl.load import load_text
from ringfence.engine.seams.settings import Settings
from tests.adapters.langchain.agents import ALICE, HELLO, Invoke, agent_of, both, replies
from tests.adapters.langchain.model import asks, call, says

POLICY = """
language 1
policy desk
capability look is read
capability run is code
isolate box { lockdown process cpu 10 seconds time 30 seconds may call delete, __proto__, constructor }
tool delete is "db/delete-rows" {
  needs look
  takes class: text, if: integer optional
  allow when class != "no"
}
tool __proto__ is "odd" { needs look  takes __proto__: text  allow always }
tool constructor is "plain" { needs look  takes a: list of record  allow always }
tool run_js { needs run  takes code: text  runs code in box  allow when size(code) > 0 bytes }
"""
CODE = """
const absent = ["fetch", "process", "require", "console", "setTimeout", "queueMicrotask", "WebAssembly"];
const found = absent.filter((name) => typeof globalThis[name] !== "undefined");
const before = globalThis.kept ?? null;
globalThis.kept = 1;
const told = await tools.delete({ class: "no" }).catch((error) => error.message);
let own;
try { null.x; } catch (error) { own = error.message; }
return {
  found, before, told, own,
  rows: await tools.delete({ class: "orders", if: null }),
  odd: await tools.__proto__({ ["__proto__"]: "named" }),
  plain: await tools.constructor({ a: [{ b: 1 }] }),
  clock: Date.now() === (await tools.delete({ class: "a" }), Date.now()),
};
"""


@tool("db/delete-rows")
def delete(**arguments: Any) -> Any:
    """Delete."""
    return sorted(arguments.items())


delete.args_schema = {
    "type": "object",
    "properties": {"class": {"type": "string"}, "if": {"type": "integer"}},
}


@tool("odd")
def odd(**arguments: Any) -> Any:
    """Name."""
    return arguments["__proto__"]


odd.args_schema = {"type": "object", "properties": {"__proto__": {"type": "string"}}}


@tool
def plain(a: list[dict[str, int]]) -> Any:
    """Give back."""
    return a


@both
def test_what_a_model_is_told_of_its_code_is_true(invoke: Invoke) -> None:
    loaded = load_text(POLICY, "desk.fence")
    assert loaded.plan is not None, loaded.diagnostics
    guard = assemble(loaded.plan, Settings.of({"store": "memory:"}))
    try:
        made = isolate_tool(guard, "run_js", inner=[delete, odd, plain])
        agent = agent_of(
            guard, [made], asks(call("run_js", code=CODE), call("run_js", id="c2", code=CODE)), says()
        )
        for said in replies(invoke(agent, HELLO, context=ALICE)):
            assert json.loads(said) == {
                "found": [],
                "before": None,
                "told": "not authorized",
                "own": "Cannot read properties of null (reading 'x')",
                "rows": [["class", "orders"], ["if", None]],
                "odd": "named",
                "plain": [{"b": 1}],
                "clock": True,
            }
    finally:  # its workers would be found by every later test that counts them
        guard.close()
