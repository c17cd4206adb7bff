"""Runs whose tools run in isolates, recorded by a process of its own: `python -m … STORE`.

It prints one JSON line: the names of the runs below and their ids.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.settings import Settings
from tests.guards import ALICE, call

# The lesser lock-down, so that it runs on every machine; the full one has tests of its own.
POLICY = """
language 1
policy desk
capability look is read
capability run is code
agent main { holds look, run at most 5000 calls at most 2000 denials }
isolate box {
  lockdown process clock coarse 100 ms memory 64 MB cpu 20 seconds time 60 seconds output at most 1 KB
  may call query, quote, note, quiet, large
}
isolate small { lockdown process memory 64 MB cpu 20 seconds time 60 seconds }
isolate brief { lockdown process memory 64 MB cpu 20 seconds time 1 second may call query }
isolate idle { lockdown process memory 64 MB cpu 20 ms time 60 seconds }
tool query is "db/query" {
  needs look
  takes table: text
  allow when table in ["orders", "payments"]
  result at most 2 rows
}
tool note { needs look takes text: text allow always }
tool quiet { needs look takes text: text allow when text != "no" audit minimal }
tool large { needs look allow always }
tool quote { needs look takes items: list of text, country: text runs "quote.js" in small allow always }
tool shape { needs look takes n: integer runs "shape.js" in small allow always result at most 3 rows }
tool wrong { needs look runs "wrong.js" in small allow always }
tool code { needs run takes code: text runs code in box allow always }
tool brief_code { needs run takes code: text runs code in brief allow always }
tool idle_code { needs run takes code: text runs code in idle allow always }
tool private { needs run takes code: text runs code in box allow always audit minimal }
"""
SCRIPTS = {
    "quote.js": "({ items, country }) => ({ total: items.length * 2900, country, at: Date.now() })",
    "shape.js": "({ n }) => Array.from({ length: n }, () => Math.random())",
    "wrong.js": "42",
    "shout.js": "({ text, count, loud }) => text + count + loud",
}
FIVE = """
const began = [Date.now(), Math.random()];
const told = await Promise.allSettled([
  tools.query({ table: "orders" }),
  tools.query({ table: "users" }),
  tools.note({ text: "é😀" + Math.random() }),
]);
const middle = Date.now();
const quote = await tools.quote({ items: ["lamp", "lamp"], country: "GB" });
let unknown = null;
try { await tools.wipe({ all: true }); } catch (error) { unknown = error.message; }
return {
  began, middle, ended: Date.now() - began[0], quote, unknown,
  told: told.map((one) => one.value ?? one.reason.message), chance: [Math.random(), Math.random()],
};
"""
ORDERS = [{"id": "o1", "total": 12.5, "é": None}, {"id": "o2", "total": -0.0}, {"id": "o3", "total": 1e21}]


def note(arguments: Any) -> str:
    """Fail, as a body may."""
    raise ValueError(f"no room for {arguments['text']}")


INNER: dict[str, Callable[[Any], Any]] = {
    "db/query": lambda _: ORDERS,
    "note": note,
    "quiet": lambda arguments: f"psst {arguments['text']}",
    "large": lambda _: "x" * 2_000_000,
}

ENDS = {
    "exception": "const x = { a: 1 };\nthrow new TypeError('no ' + x.a + Math.random());",
    "syntax": "return (1 + ;",
    "stalled": "await tools.query({ table: 'orders' }); await new Promise(() => {});",
    "not JSON": "return 10n",
    "output": "return 'x'.repeat(2000)",
    "calls": "for (let i = 0; i < 2000; i++) tools.query({ table: 'users' }); return 1",
    "memory": """
        await tools.query({ table: 'orders' });
        const a = []; for (;;) a.push(new Array(1e5).fill(0.5));
    """,
}


def never(_: Any) -> Any:
    """Stand in for the host's own function of an isolated tool."""
    raise AssertionError("the host's own function ran")


def guard_of(store: str, policy: str = POLICY, **settings: Any) -> Guard:
    """Return a guard of the policy above, or of another that runs its scripts."""
    loaded = load_text(policy, "desk.fence", read=SCRIPTS.__getitem__)
    assert loaded.plan is not None, loaded.diagnostics
    return assemble(loaded.plan, Settings.of({"store": store, **settings}))


def made(guard: Guard, work: Callable[[Run], Any]) -> tuple[str, Any]:
    """Make one run, and return its id and what it gave."""
    with guard.run(principal=ALICE) as run:
        try:
            return run.id, work(run)
        except RingfenceError as error:
            return run.id, str(error)


def brief(guard: Guard, run: Run) -> Any:
    """Use up an isolate's time, in a worker that its session has already."""
    guard.execute(run, call("code", code="return 1"), never)
    code = "await tools.query({ table: 'orders' }); for (;;);"
    return guard.execute(run, call("brief_code", code=code), never, inner=INNER)


def main(store: str) -> None:
    """Record all runs."""
    guard = guard_of(store)

    def of(tool: str, **arguments: Any) -> tuple[str, Any]:
        return made(guard, lambda run: guard.execute(run, call(tool, **arguments), never, inner=INNER))

    runs = {"five": of("code", code=FIVE), "body": of("shape", n=5), "no function": of("wrong")}
    runs |= {end: of("code", code=code) for end, code in ENDS.items()}
    runs["time"] = made(guard, lambda run: brief(guard, run))
    runs["cpu"] = of("idle_code", code="for (;;);")
    runs["none"] = made(guard, lambda run: guard.execute(run, call("quiet", text="x"), INNER["quiet"]))
    runs["quiet inside"] = of("code", code="return await tools.quiet({ text: 'x' })")
    runs["quiet refused"] = of(
        "code", code="try { await tools.quiet({ text: 'no' }) } catch (e) { return e.message }"
    )
    runs["large inside"] = of("code", code="return (await tools.large()).length")
    runs["private"] = of("private", code="return 1")
    guard.close()
    print(json.dumps(runs))


if __name__ == "__main__":
    main(sys.argv[1])
