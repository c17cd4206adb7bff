"""A policy whose tools run in isolates, and code for the fake executor, for the tests of adapters."""

import json
from typing import Any

from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.isolates import IsolateJob
from ringfence.engine.seams.settings import Settings
from tests.guards import GROUPS
from tests.isolates import Executors, FakeExecutor, ToolError, Tools

POLICY = """
language 1
policy desk
levels public < secret
capability look is read
capability run is code
approver lead { group "leads"  never the requester  answer within 5 minutes otherwise deny }
isolate box { may call query, quote }
isolate small { time 1 second }
isolate nested { may call run_js }
isolate asking { may call ask_lead }
tool query is "db/query" "Read rows" {
  needs look
  takes table: text, limit: integer optional
  allow when table in ["orders", "payments"]
  require cap: limit is missing or (limit <= 10)
  result is secret when table == "payments"
  result is public otherwise
  result at most 2 rows
}
tool quote {
  needs look
  takes items: list of text at most 5
  runs "quote.js" in small
  allow always
  result is public
}
tool run_js "Compute over rows" {
  needs run
  takes code: text at most 32 KB
  runs code in box
  allow when size(code) > 0 bytes
}
tool outer { needs run  takes code: text  runs code in nested  allow when size(code) > 0 bytes }
tool run_asking { needs run  takes code: text  runs code in asking  allow when size(code) > 0 bytes }
tool ask_lead { needs look  takes why: text  allow always  ask lead  result is public }
tool plain { needs look  takes a: integer  allow always  result is public }
"""
FILES = {"quote.js": "({ items }) => items.length"}


async def totals(job: IsolateJob, tools: Tools) -> Any:
    return sum(row["total"] for row in await tools("query", table="orders"))


async def probes(job: IsolateJob, tools: Tools) -> Any:
    return await _told(tools, "query", table="users")


async def limits(job: IsolateJob, tools: Tools) -> Any:
    given: list[dict[str, Any]] = [{"limit": 10}, {"limit": 11}, {"limit": None}, {}]
    return [await _told(tools, "query", table="orders", **one) for one in given]


async def asks(job: IsolateJob, tools: Tools) -> Any:
    return await _told(tools, "ask_lead", why="now")


async def nests(job: IsolateJob, tools: Tools) -> Any:
    return await tools("run_js", code="total")


async def quotes(job: IsolateJob, tools: Tools) -> Any:
    return await tools("quote", items=["a", "b", "c"])


async def counts(job: IsolateJob, tools: Tools) -> Any:
    return len(json.loads(job.arguments)["items"])


async def _told(tools: Tools, tool: str, **arguments: Any) -> Any:
    try:
        return await tools(tool, **arguments)
    except ToolError as error:
        return f"told: {error}"


def executor() -> FakeExecutor:
    """Return a fake that runs the code above under its names; everything else is a mistake in the code."""
    named = {
        "total": totals,
        "probe": probes,
        "limits": limits,
        "ask": asks,
        "nest": nests,
        "quote": quotes,
        FILES["quote.js"]: counts,
    }
    return FakeExecutor(dict(named))


def guard_of(fake: FakeExecutor, policy: str = POLICY) -> Guard:
    """Return a guard whose isolates the fake runs."""
    loaded = load_text(policy, "desk.fence", read=FILES.__getitem__)
    assert loaded.plan is not None, loaded.diagnostics
    settings = Settings.of({"store": "memory:", "groups": GROUPS})
    return assemble(loaded.plan, settings, plugins=[Executors(fake)])
