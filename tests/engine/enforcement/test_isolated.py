"""Tools whose bodies run in isolates: never the host's function, bounded, recorded; their calls are calls."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ringfence._assembly import assemble
from ringfence.dsl.canonical import digest
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import (
    CallDecided,
    CallFailed,
    CallFinished,
    CallRequested,
    IsolateEnded,
    IsolateStarted,
    PromptGiven,
)
from ringfence.engine.enforcement import inner as inner_calls
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, EngineError, RunHaltedError, ToolFailedError
from ringfence.engine.seams.isolates import IsolateJob, IsolateOutcome
from ringfence.engine.seams.ports import Clock
from ringfence.engine.seams.settings import Settings
from ringfence.testing import FakeClock
from tests.guards import ALICE, GROUPS, call, events_of, kinds_of
from tests.isolates import LAYERS, V8, Executors, FakeExecutor, ToolError, Tools

POLICY = """
language 1
policy desk
levels public < internal < secret
capability look is read
capability send is external
capability run is code
approver lead { group "leads"  never the requester  answer within 5 minutes otherwise deny }
agent main { holds look, send, run  at most 20 calls }
isolate box { memory 8 MB cpu 100 ms time 2 seconds output at most 1 KB may call query, mail, quote }
isolate small { lockdown process clock coarse 100 ms time 1 second }
tool query is "db/query" {
  needs look
  takes table: text
  allow when table in ["orders", "payments"]
  result is secret when table == "payments"
  result is public otherwise
  rate 6 per run
}
tool mail {
  needs send
  takes to: email, body: text
  allow when to comes only from [user, query]
  ask lead when body == "ask"
  deny when after reading secret
}
tool wipe { needs run  takes all: boolean  allow when all  rate 3 per run }
tool quote {
  needs look
  takes items: list of text, country: text
  runs "quote.js" in small
  allow always
  result is public
  rate 9 per run
}
tool run_js {
  needs run
  takes code: text at most 32 KB
  runs code in box
  allow when size(code) > 0 bytes
  rate 9 per run
}
"""
FILES = {"quote.js": "({ items, country }) => items.length"}


def guard_of(fake: FakeExecutor, policy: str = POLICY, *, clock: Clock | None = None) -> Guard:
    loaded = load_text(policy, "desk.fence", read=FILES.__getitem__)
    assert loaded.plan is not None, loaded.diagnostics
    settings = Settings.of({"store": "memory:", "groups": GROUPS})
    return assemble(loaded.plan, settings, plugins=[Executors(fake)], clock=clock)


@pytest.fixture
def fake() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def guard(fake: FakeExecutor) -> Iterator[Guard]:
    guard = guard_of(fake)
    yield guard
    guard.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


def never(_: Any) -> Any:
    raise AssertionError("the host's own function ran")


ROWS = {"orders": [{"total": 3}, {"total": 4}], "payments": [{"iban": "GB33"}]}
BODIES = {
    "db/query": lambda arguments: ROWS[arguments["table"]],
    "mail": lambda arguments: f"sent to {arguments['to']}",
    "wipe": never,
}


def js(guard: Guard, run: Run, code: str, inner: Any = BODIES) -> Any:
    return guard.execute(run, call("run_js", code=code), never, inner=inner)


def of(guard: Guard, run: Run, kind: type) -> list[Any]:
    return [event for event in events_of(guard, run) if isinstance(event, kind)]


def identical(guard: Guard, run: Run) -> bool:
    return bool(guard.runs.get(run.id).replay().identical)


async def total(_: IsolateJob, tools: Tools) -> int:
    return sum(row["total"] for row in await tools("query", table="orders"))


# ---- the body ------------------------------------------------------------------------------------


def test_our_own_body_gets_the_canonical_arguments_and_the_bounds_of_its_isolate(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def quote(job: IsolateJob, _: Tools) -> Any:
        return {"count": len(json.loads(job.arguments)["items"])}

    fake.code[FILES["quote.js"]] = quote
    found = guard.execute(run, call("quote", country="GB", items=["desk", "lamp"]), never)
    assert found == {"count": 2}
    (job,) = fake.jobs
    assert (job.kind, job.name, job.arguments) == (
        "body",
        "quote.js",
        '{"country":"GB","items":["desk","lamp"]}',
    )
    assert (job.lockdown, job.tick_ms, job.tools) == ("process", 100, ())
    assert (job.limits.memory_bytes, job.limits.cpu_ns) == (64 << 20, 500_000_000)
    assert (job.limits.time_ns, job.limits.output_bytes) == (1_000_000_000, 16 << 10)


def test_a_models_code_gets_no_arguments_and_only_the_tools_that_its_isolate_may_call(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    fake.code["return total()"] = total
    assert js(guard, run, "return total()") == 7
    (job,) = fake.jobs
    assert (job.kind, job.name, job.source, job.arguments) == ("code", "code", "return total()", "{}")
    assert (job.tools, job.lockdown, job.tick_ms) == (("mail", "query", "quote"), "full", None)


def test_what_a_run_needs_is_recorded_before_and_what_held_after_it(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    fake.code["return total()"] = total
    js(guard, run, "return total()")
    inner = ["CallRequested", "CallDecided", "CallStarted", "CallFinished"]
    assert kinds_of(guard, run)[1:] == [
        *inner[:3],
        "IsolateStarted",
        *inner,
        "IsolateEnded",
        "CallFinished",
    ]
    (began,), (ended,), (job,) = of(guard, run, IsolateStarted), of(guard, run, IsolateEnded), fake.jobs
    assert (began.isolate, began.runs, began.name) == ("box", "code", "code")
    assert began.source == digest("return total()")
    assert (began.now_ms, began.tick_ms, began.seed) == (job.now_ms, None, job.seed)
    assert len(bytes.fromhex(job.seed)) == 16
    assert (began.limits["lockdown"], began.limits["memory_bytes"]) == ("full", 8 << 20)
    assert (ended.v8, ended.layers, ended.failure) == (V8, LAYERS, None)


def test_two_runs_have_different_seeds(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    fake.code["return total()"] = total
    js(guard, run, "return total()")
    js(guard, run, "return total()")
    assert len({job.seed for job in fake.jobs}) == 2


def test_the_result_has_the_limits_of_any_result(fake: FakeExecutor) -> None:
    async def rows(_: IsolateJob, __: Tools) -> Any:
        return [1, 2, 3]

    fake.code["rows"] = rows
    guard = guard_of(
        fake, POLICY.replace("allow when size(code)", "result at most 2 rows  allow when size(code)")
    )
    run = guard.begin_run(principal=ALICE)
    assert js(guard, run, "rows") == [1, 2]
    guard.close()


def test_a_call_that_the_policy_refuses_starts_nothing(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError):
        js(guard, run, "")
    assert fake.jobs == []


def test_each_session_of_each_principal_is_an_owner_of_its_own_that_nobody_can_choose(
    fake: FakeExecutor, guard: Guard
) -> None:
    fake.code["return total()"] = total
    mallory = Principal(user="mallory", workspace="w1")
    other = guard_of(fake)

    def owner(of: Guard, principal: Principal = ALICE, **about: Any) -> str:
        run = of.begin_run(principal=principal, **about)
        js(of, run, "return total()")
        of.end_run(run)
        return fake.jobs[-1].owner

    first = owner(guard, session="s1")
    assert owner(guard, session="s1") == first
    others = [
        owner(guard, session="s2"),
        owner(guard, mallory, session="s1"),  # the same text, chosen by another user
        owner(guard, mallory, session=first),
        owner(guard, mallory, session='s1","alice'),
        owner(guard),
        owner(guard),
        owner(other, session="s1"),
    ]
    assert len({first, *others}) == 1 + len(others)
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in (first, *others)), "nobody's name is in it"
    other.close()


def test_what_runs_inside_a_run_is_its_own_owners(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    async def quotes(_: IsolateJob, tools: Tools) -> Any:
        return await tools("quote", items=[], country="GB")

    async def nothing(_: IsolateJob, __: Tools) -> Any:
        return 0

    fake.code |= {"quotes": quotes, FILES["quote.js"]: nothing}
    assert js(guard, run, "quotes") == 0
    outer, inner = fake.jobs
    assert outer.owner == inner.owner


# ---- what it calls -------------------------------------------------------------------------------


def test_an_inner_call_is_a_call_with_the_outer_one_as_its_parent(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    fake.code["return total()"] = total
    js(guard, run, "return total()")
    outer, inner = of(guard, run, CallRequested)
    assert (outer.tool, inner.tool, inner.parent) == ("run_js", "db/query", outer.call)
    assert inner.arguments == {"table": "orders"}
    assert [one.verdict for one in of(guard, run, CallDecided)] == ["allow", "allow"]


def test_waiting_for_a_worker_takes_nothing_of_the_time_that_inner_calls_have(fake: FakeExecutor) -> None:
    clock = FakeClock()

    async def late(_: IsolateJob, tools: Tools) -> Any:
        clock.advance(3)  # more than the isolate's time, before it has a worker
        return await tools("query", table="orders")

    fake.code["late"] = late
    guard = guard_of(fake, clock=clock)
    assert js(guard, guard.begin_run(principal=ALICE), "late") == ROWS["orders"]
    guard.close()


def test_inner_calls_are_charged_and_a_budget_that_is_used_up_denies_them(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    told: list[Any] = []

    async def greedy(_: IsolateJob, tools: Tools) -> int:
        told.extend(await tools.all(*[("query", {"table": "orders"})] * 8))
        return len(told)

    fake.code["greedy"] = greedy
    assert js(guard, run, "greedy") == 8
    assert [str(one) for one in told if isinstance(one, ToolError)] == ["not authorized"] * 2
    last = of(guard, run, CallDecided)[-1]
    assert (last.verdict, last.reasons[-1]["name"]) == ("deny", "query.rate")


async def hoards(_: IsolateJob, tools: Tools) -> int:
    return len(await tools.all(*[("query", {"table": "orders"})] * 6))


def test_what_calls_made_at_once_give_is_not_hoarded_without_end(
    fake: FakeExecutor, guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code could ask a thousand times at once for the largest thing there is."""
    monkeypatch.setattr(inner_calls, "_MOST_ANSWERED", 2500)
    fake.code["hoards"] = hoards
    given: list[int] = []

    def large(_: Any) -> str:
        given.append(1)
        return "x" * 1000

    with pytest.raises(ToolFailedError, match="too large together"):
        js(guard, run, "hoards", {"db/query": large})
    assert len(given) == 3
    [end] = of(guard, run, IsolateEnded)
    assert (end.failure, end.calls) == ("calls", 6)
    assert identical(guard, run)
    monkeypatch.setattr(inner_calls, "_MOST_ANSWERED", 1 << 20)
    assert js(guard, run, "hoards", {"db/query": large}) == 6
    assert sorted(fake.killed) == ["hoards"]


async def test_nor_where_the_caller_awaits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_calls, "_MOST_ANSWERED", 2500)
    guard = guard_of(FakeExecutor({"hoards": hoards}))
    run = await guard.abegin_run(principal=ALICE)
    given: list[int] = []

    async def large(_: Any) -> str:
        given.append(1)
        return "x" * 1000

    with pytest.raises(ToolFailedError, match="too large together"):
        await guard.aexecute(run, call("run_js", code="hoards"), never, inner={"db/query": large})
    assert len(given) == 3
    await guard.aclose()


def test_calls_inside_count_against_the_calls_of_the_run(fake: FakeExecutor) -> None:
    async def greedy(_: IsolateJob, tools: Tools) -> Any:
        return [str(one) for one in await tools.all(*[("query", {"table": "orders"})] * 3)]

    fake.code["greedy"] = greedy
    guard = guard_of(fake, POLICY.replace("at most 20 calls", "at most 3 calls"))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(RunHaltedError):
        js(guard, run, "greedy")
    assert run.state.halted is not None and run.state.halted.name == "main.calls"
    assert fake.killed == ["greedy"]
    guard.close()


@pytest.mark.parametrize("name", ["wipe", "db/query", "run_js", "no_such_tool", "__proto__", "send email"])
def test_only_what_it_may_call_exists(fake: FakeExecutor, guard: Guard, run: Run, name: str) -> None:
    async def probe(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all((name, {"all": True}))
        return str(found)

    fake.code["probe"] = probe
    said = js(guard, run, "probe")
    decided = of(guard, run, CallDecided)[-1]
    if name == "db/query":  # the framework's name of a tool that it may call: the arguments do not fit
        assert (said, decided.verdict) == ("not authorized", "deny")
    else:
        assert (said, decided.verdict) == ("tool not found", "unknown")
    assert identical(guard, run)


@pytest.mark.parametrize(
    "arguments", ["{", "[]", '"x"', '{"table": NaN}', '{"table":"a","table":"orders"}', "1"]
)
def test_arguments_that_are_no_strict_record_are_denied(
    fake: FakeExecutor, guard: Guard, run: Run, arguments: str
) -> None:
    async def probe(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("query", arguments))
        return str(found)

    fake.code["probe"] = probe
    assert js(guard, run, "probe", {"db/query": never}) == "not authorized"
    assert of(guard, run, CallDecided)[-1].verdict == "deny"


def test_inside_an_isolate_an_ask_is_a_denial(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    async def asks(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("mail", {"to": "ann@x.example", "body": "ask"}))
        return str(found)

    guard.record(run, PromptGiven("user", "write to ann@x.example"))
    fake.code["asks"] = asks
    assert js(guard, run, "asks") == "not authorized"
    decided = of(guard, run, CallDecided)[-1]
    assert (decided.verdict, decided.asks, decided.reasons[-1]["name"]) == ("deny", (), "ask!isolate")
    assert "ApprovalAsked" not in kinds_of(guard, run)
    assert run.state.requests == 0
    assert identical(guard, run)


def test_what_a_body_inside_calls_itself_asks_nobody_either(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    def query(_: Any) -> Any:
        with pytest.raises(DeniedError) as caught:
            guard.execute(run, call("mail", to="ann@x.example", body="ask"), never)
        assert caught.value.decision is not None
        return caught.value.decision.reasons[-1].name

    guard.record(run, PromptGiven("user", "write to ann@x.example"))

    async def deep(_: IsolateJob, tools: Tools) -> Any:
        return await tools("query", table="orders")

    fake.code["deep"] = deep
    assert js(guard, run, "deep", {"db/query": query}) == "ask!isolate"


def test_a_call_without_a_body_is_denied_and_recorded(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    async def probe(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("query", {"table": "orders"}))
        return str(found)

    fake.code["probe"] = probe
    assert js(guard, run, "probe", None) == "not authorized"
    decided = of(guard, run, CallDecided)[-1]
    assert (decided.verdict, decided.reasons[-1]["detail"]) == ("deny", "the host gave no body for it")
    assert identical(guard, run)


def test_what_returns_into_the_isolate_raises_its_label_for_its_later_calls(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def leak(_: IsolateJob, tools: Tools) -> Any:
        await tools("query", table="payments")
        (found,) = await tools.all(("mail", {"to": "ann@x.example", "body": "GB33"}))
        return str(found)

    fake.code["leak"] = leak
    assert js(guard, run, "leak") == "not authorized"
    assert run.state.recall.label == run.plan.levels.index("secret")
    assert of(guard, run, CallDecided)[-1].reasons[0]["name"] == "mail.deny"
    assert identical(guard, run)


def test_what_an_isolate_gives_carries_what_came_into_it_whatever_the_tool_says_of_itself(
    fake: FakeExecutor,
) -> None:
    policy = POLICY.replace("runs code in box", "runs code in box  result is public").replace(
        "after reading secret", "after reading secret within 1 minute"
    )
    guard = guard_of(fake, policy)
    run = guard.begin_run(principal=ALICE)

    async def read(_: IsolateJob, tools: Tools) -> Any:
        return await tools("query", table="payments")

    fake.code["read"] = read
    js(guard, run, "read")
    levels = run.plan.levels
    assert run.state.recall.label == levels.index("secret")
    outer = of(guard, run, CallRequested)[0].call
    assert run.state.calls[outer].outcome is not None
    (watch,) = run.plan.watches
    finished = [one.at_ns for one in guard.runs.get(run.id).events if one.event.kind == "CallFinished"]
    # A minute after the inner result it is not forgotten: the outer one showed it again.
    latest_ns = max(finished[-2] + 60_000_000_000, finished[-1] + 1)
    assert finished[-1] > finished[-2]
    assert run.state.recall.after(watch, now_ns=latest_ns) is True
    guard.close()


def test_a_value_that_an_inner_call_gave_has_that_source(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    async def forward(_: IsolateJob, tools: Tools) -> Any:
        (row,) = await tools("query", table="orders")
        return [
            str(found)
            for found in await tools.all(
                ("mail", {"to": row["email"], "body": "b"}), ("mail", {"to": "eve@y.example", "body": "b"})
            )
        ]

    fake.code["forward"] = forward
    bodies = {**BODIES, "db/query": lambda _: [{"email": "ann@x.example"}]}
    assert js(guard, run, "forward", bodies) == ["sent to ann@x.example", "not authorized"]


def test_an_isolated_tool_may_be_called_from_another_isolate(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def quote(_: IsolateJob, __: Tools) -> int:
        return 5

    async def outer(_: IsolateJob, tools: Tools) -> Any:
        return await tools("quote", items=["desk"], country="GB")

    fake.code.update({FILES["quote.js"]: quote, "outer": outer})
    assert js(guard, run, "outer") == 5
    assert [one.isolate for one in of(guard, run, IsolateStarted)] == ["box", "small"]
    assert identical(guard, run)


def test_the_code_is_told_nothing_of_an_inner_bodys_failure(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    def fails(_: Any) -> Any:
        raise OSError("/etc/secret is not readable")

    async def probe(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("query", {"table": "orders"}))
        return str(found)

    fake.code["probe"] = probe
    assert js(guard, run, "probe", {"db/query": fails}) == "the tool failed"
    assert "/etc/secret" in of(guard, run, CallFailed)[0].error


def test_a_run_with_five_inner_calls_replays_identically(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    async def five(_: IsolateJob, tools: Tools) -> Any:
        found = await tools.all(*[("query", {"table": "orders"})] * 3)
        found += await tools.all(("wipe", {"all": True}), ("query", {"table": "users"}))
        return [str(one) for one in found]

    fake.code["five"] = five
    js(guard, run, "five")
    replayed = guard.runs.get(run.id).replay()
    assert (replayed.identical, replayed.decisions) == (True, 6)
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().identical


def test_a_policy_that_lets_the_isolate_call_less_decides_its_calls_otherwise(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    fake.code["return total()"] = total
    js(guard, run, "return total()")
    text = POLICY.replace("may call query, mail", "may call mail")
    less = load_text(text, "desk.fence", read=FILES.__getitem__).plan
    replayed = guard.runs.get(run.id).replay(less)
    assert replayed.divergence is not None
    assert replayed.divergence.recomputed["verdict"] == "unknown"


# ---- how it fails --------------------------------------------------------------------------------


def test_a_failure_is_recorded_with_its_kind_and_place_and_told_to_a_person(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    with pytest.raises(ToolFailedError) as caught:
        js(guard, run, "x")
    assert str(caught.value) == (
        "`run_js` failed: exception: ReferenceError: x is not defined (line 3, column 7 of `code`)"
    )
    assert caught.value.model_text == "the tool failed"
    (ended,) = of(guard, run, IsolateEnded)
    assert (ended.failure, ended.line, ended.column) == ("exception", 3, 7)
    (failed,) = of(guard, run, CallFailed)
    assert failed.outcome == "raised"


def test_what_code_of_a_private_tool_throws_is_not_in_the_record(fake: FakeExecutor) -> None:
    async def throws(_: IsolateJob, tools: Tools) -> Any:
        rows = await tools("query", table="payments")
        return IsolateOutcome(None, "exception", f"Error: {rows}", 3, 7, V8, LAYERS)

    fake.code["throws"] = throws
    policy = POLICY.replace("runs code in box", "runs code in box  audit minimal").replace(
        "rate 6 per run", "rate 6 per run  audit minimal"
    )
    guard = guard_of(fake, policy)
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(ToolFailedError, match="GB33"):  # the host's own code is told
        js(guard, run, "throws")
    events = events_of(guard, run)
    assert not [event for event in events if "GB33" in repr(event)]
    (began,), (ended,) = of(guard, run, IsolateStarted), of(guard, run, IsolateEnded)
    assert began.source.startswith("hmac-sha256:")
    assert (ended.failure, ended.message, ended.line) == ("exception", None, 3)
    assert of(guard, run, CallFailed)[0].error == "exception (line 3, column 7 of `code`)"
    guard.close()


@pytest.mark.parametrize(
    ("result", "failure"),
    [(b"{", "not JSON"), (b"NaN", "not JSON"), (b'"' + b"x" * 1024 + b'"', "output")],
)
def test_a_result_that_the_worker_should_not_have_sent_is_a_failure(
    fake: FakeExecutor, guard: Guard, run: Run, result: bytes, failure: str
) -> None:
    async def lies(_: IsolateJob, __: Tools) -> bytes:
        return result

    fake.code["lies"] = lies
    with pytest.raises(ToolFailedError):
        js(guard, run, "lies")
    assert of(guard, run, IsolateEnded)[0].failure == failure


def test_an_executor_that_raises_is_a_failure_that_says_nothing_of_the_host(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def breaks(_: IsolateJob, __: Tools) -> Any:
        raise OSError("/srv/secret")

    fake.code["breaks"] = breaks
    with pytest.raises(ToolFailedError) as caught:
        js(guard, run, "breaks")
    assert "/srv" not in str(caught.value)
    assert of(guard, run, IsolateEnded)[0].failure == "executor"


def test_a_machine_that_lacks_a_layer_runs_nothing_and_says_which(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def refuses(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome(None, "lockdown", "this machine lacks Landlock")

    fake.code["refuses"] = refuses
    with pytest.raises(ToolFailedError, match="lockdown: this machine lacks Landlock"):
        js(guard, run, "refuses")


def hanging(fake: FakeExecutor) -> threading.Event:
    began = threading.Event()

    async def hangs(_: IsolateJob, __: Tools) -> Any:
        began.set()
        await asyncio.Event().wait()

    fake.code["hangs"] = hangs
    return began


def test_the_tools_own_bound_kills_the_worker(fake: FakeExecutor) -> None:
    hanging(fake)
    guard = guard_of(fake, POLICY.replace("  runs code in box", "  runs code in box\n  stop after 50 ms"))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(ToolFailedError, match="its time was up"):
        js(guard, run, "hangs")
    assert fake.killed == ["hangs"]
    assert fake.jobs[0].limits.time_ns <= 50_000_000
    assert of(guard, run, IsolateEnded)[0].failure == "stopped"
    assert of(guard, run, CallFailed)[0].outcome == "timeout"
    guard.close()


def test_a_kill_stops_the_worker_and_is_recorded(fake: FakeExecutor, guard: Guard, run: Run) -> None:
    began = hanging(fake)
    raised: list[BaseException] = []

    def runs() -> None:
        try:
            js(guard, run, "hangs")
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=runs)
    thread.start()
    assert began.wait(10)
    guard.kill(run.id, by="ops")
    thread.join(10)
    assert isinstance(raised[0], RunHaltedError)
    assert fake.killed == ["hangs"]
    (failed,) = of(guard, run, CallFailed)
    assert failed.outcome == "cancelled"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_code_that_must_not_start_after_its_dispatch_never_begins(
    fake: FakeExecutor, guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def stood_still(_: Run) -> None:
        raise EngineError("this process did not say in time that it lives")

    monkeypatch.setattr(Run, "check_start", stood_still)
    asked = call("run_js", code="any")
    with pytest.raises(EngineError, match="lives"):
        if how == "async":
            asyncio.run(guard.aexecute(run, asked, never))
        else:
            guard.execute(run, asked, never)
    assert fake.jobs == []
    assert not run.flights
    assert [one.failure for one in of(guard, run, IsolateEnded)] == ["stopped"]
    assert [one.outcome for one in of(guard, run, CallFailed)] == ["cancelled"]


# ---- asynchronous callers ------------------------------------------------------------------------


async def test_an_asynchronous_caller_is_served_the_same() -> None:
    fake = FakeExecutor({"return total()": total})
    guard = guard_of(fake)
    run = await guard.abegin_run(principal=ALICE)

    async def query(arguments: Any) -> Any:
        await asyncio.sleep(0)
        return ROWS[arguments["table"]]

    found = await guard.aexecute(run, call("run_js", code="return total()"), never, inner={"db/query": query})
    assert found == 7
    await guard.aclose()
    assert fake.closed == 1


async def test_a_caller_that_gives_up_takes_the_worker_with_it() -> None:
    fake = FakeExecutor()
    began = hanging(fake)
    guard = guard_of(fake)
    run = await guard.abegin_run(principal=ALICE)
    task = asyncio.create_task(guard.aexecute(run, call("run_js", code="hangs"), never, inner=BODIES))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake.killed == ["hangs"]
    events = [one.event for one in (await asyncio.to_thread(guard.runs.get, run.id)).events]
    (failed,) = [one for one in events if isinstance(one, CallFailed)]
    assert failed.outcome == "cancelled"
    assert not any(isinstance(one, CallFinished) for one in events)
    await guard.aclose()


async def test_an_inner_body_is_stopped_when_the_isolates_time_is_over() -> None:
    stopped: list[str] = []

    async def slow(_: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append("query")
            raise

    fake = FakeExecutor({"return total()": total})
    guard = guard_of(fake, POLICY.replace("time 2 seconds", "time 50 ms"))
    run = await guard.abegin_run(principal=ALICE)
    with pytest.raises(ToolFailedError):
        await guard.aexecute(run, call("run_js", code="return total()"), never, inner={"db/query": slow})
    assert stopped == ["query"]
    await guard.aclose()
