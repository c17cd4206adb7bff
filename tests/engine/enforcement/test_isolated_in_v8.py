"""The whole way once: policies, the guard, a locked-down worker and V8."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("py_mini_racer")

from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.decision.events import IsolateEnded, IsolateStarted
from ringfence.engine.seams.settings import Settings
from tests.engine.enforcement.test_isolated import POLICY, never
from tests.guards import ALICE, call, events_of

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "examples" / "support_desk" / "price_quote.js").read_text(encoding="utf-8")
ORDERS = [{"id": "o1", "total": 1250}, {"id": "o2", "total": 3000}, {"id": "o3", "total": 499}]
CODE = """
const rows = await tools.query({ table: "orders" });
let refused = null;
try { await tools.query({ table: "users" }); } catch (error) { refused = error.message; }
const quote = await tools.quote({ items: ["desk", "lamp", "lamp"], country: "GB" });
return { sum: rows.reduce((sum, row) => sum + row.total, 0), refused, quote: quote.total };
"""


def test_a_models_code_totals_orders_and_asks_for_a_quote() -> None:
    # The lesser lock-down, so that it runs on every machine; the full one has tests of its own.
    policy = POLICY.replace("isolate box { memory 8 MB", "isolate box { lockdown process memory 64 MB")
    policy = policy.replace("time 2 seconds", "time 20 seconds").replace("time 1 second", "time 20 seconds")
    policy = policy.replace("cpu 100 ms", "cpu 5 seconds").replace(
        "clock coarse", "cpu 5 seconds clock coarse"
    )
    loaded = load_text(policy, "desk.fence", read={"quote.js": SCRIPT}.__getitem__)
    assert loaded.plan is not None
    guard = assemble(loaded.plan, Settings.of({"store": "memory:"}))
    run = guard.begin_run(principal=ALICE)
    bodies: dict[str, Any] = {"db/query": lambda _: ORDERS}
    found = guard.execute(run, call("run_js", code=CODE), never, inner=bodies)
    assert found == {"sum": 4749, "refused": "not authorized", "quote": (18900 + 5800 + 450) * 6 // 5}
    events = events_of(guard, run)
    assert [one.isolate for one in events if isinstance(one, IsolateStarted)] == ["box", "small"]
    assert all(one.v8 and one.failure is None for one in events if isinstance(one, IsolateEnded))
    assert guard.runs.get(run.id).replay().identical
    guard.close()
