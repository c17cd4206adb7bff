"""What the spans of a run say: ids, parents, times, decisions, and no content unless it is asked for."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from ringfence.engine.decision import events as e
from ringfence.plugin import Event
from ringfence.plugins.export_otel.otlp import Sender
from ringfence.plugins.export_otel.span import CONTENT_LENGTH, NAME_LENGTH, Span, span_id, trace_id
from ringfence.plugins.export_otel.traces import Traces
from tests.cli.conftest import START_NS, decided, entries, reason, requested, started
from tests.cli.test_hostile_log import EVENTS, EVIL
from tests.collector import Collector, collecting


def recorded(run: str, events: Sequence[e.RunEvent]) -> list[Event]:
    return [Event.of(entry) for entry in entries(run, events)]


def spans_of(events: Sequence[Event], *, content: bool = False) -> list[Span]:
    spans: list[Span] = []
    traces = Traces(spans, content=content)
    for event in events:
        traces.read(event, lambda ask: [])
    assert traces.open == len({event.run for event in events} - {one.run for one in events if _ends(one)})
    return spans


def _ends(event: Event) -> bool:
    return event.kind == "RunEnded"


def at(seq: int) -> int:
    return START_NS + (seq - 1) * 1_000_000


@pytest.fixture
def whole() -> list[Event]:
    return recorded("R-1", whole_events())


def whole_events() -> list[e.RunEvent]:
    asked = reason("crm.ask", "ask")
    return [
        started(),
        e.PromptGiven("user", "Mail bob a summary"),
        e.ModelAsked(
            "m1",
            "gpt-9",
            [{"content": "x"}],
            None,
            {"temperature": 0.5, "max_tokens": 9, "stop": ["x"]},
            None,
        ),
        e.ModelAnswered("m1", [{"content": "y"}], {"input_tokens": 12, "output_tokens": 3}, 7_000_000, None),
        requested("aa.0", "send_email", {"to": "bob@acme.example", "body": "hi"}, "model-1"),
        decided(
            *("aa.0", "allow", reason("send_email.allow", "allow")),
            charges=[{"budget": "b", "key": "k", "amount": 1}],
            label="internal",
        ),
        e.CallStarted("aa.0"),
        e.CallFinished("aa.0", "sent", None, 2_500_000),
        requested("bb.0", "send_email", {"to": "eve@evil.example", "body": "hi"}, "model-2"),
        decided("bb.0", "deny", reason("send_email.allow", "deny", detail="no allow holds")),
        requested("cc.0", "crm", {"field": "note"}),
        decided("cc.0", "ask", asked, asks=("lead",)),
        e.ApprovalAsked("cc.0", "T-AAAAAAAA", "lead", None),
        e.ApprovalAnswered("cc.0", "T-AAAAAAAA", "approve", "dana", None, "fine"),
        decided("cc.0", "allow", asked, reason("crm.allow", "allow")),
        e.CallStarted("cc.0"),
        e.CallFailed("cc.0", "timeout", "ValueError: no such account", 1_000_000),
        requested("dd.0", "made_up", {}),
        decided("dd.0", "unknown", reason("unknown", "unknown", None, detail="no tool 'made_up'")),
        e.ModelAsked("m2", "gpt-9", [], None, {}, None),
        e.ModelAnswered("m2", None, None, 1, "APIError: key sk-1 is wrong"),
        requested("ee.0", "crm", {}),
        decided("ee.0", "allow", reason("crm.allow", "allow")),
        e.CallStarted("ee.0"),
        e.RunHalted("main.stop", None, "5 minutes are over"),
        e.RunEnded("halted", None),
    ]


def test_a_run_is_a_trace_of_its_model_calls_and_its_tool_calls(whole: list[Event]) -> None:
    spans = spans_of(whole)
    assert [one.name for one in spans] == [
        "chat gpt-9", "execute_tool send_email", "execute_tool send_email", "execute_tool crm",
        "execute_tool _OTHER", "chat gpt-9", "execute_tool crm", "invoke_agent main",
    ]  # fmt: skip
    root = spans[-1]
    assert (root.trace, root.id, root.parent) == (trace_id("R-1"), span_id("R-1"), None)
    assert {one.trace for one in spans} == {root.trace} and {one.parent for one in spans[:-1]} == {root.id}
    assert len({one.id for one in spans}) == len(spans)
    assert (root.start_ns, root.end_ns) == (at(1), at(26))
    assert [one.kind for one in spans].count("client") == 2, "models are other systems"


def test_the_runs_span_says_whose_it_is_and_how_it_went(whole: list[Event]) -> None:
    root = spans_of(whole)[-1]
    assert root.attributes == {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "main",
        "gen_ai.conversation.id": "s1", "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3,
        "ringfence.run": "R-1", "ringfence.policy": "support", "ringfence.policy.digest": "sha256:0",
        "ringfence.framework": "python", "ringfence.mode": "enforce", "ringfence.status": "halted",
        "ringfence.halted": "main.stop", "ringfence.calls": 5, "ringfence.denied": 2,
        "ringfence.event": "R-1:26", "ringfence.hash": whole[-1].hash, "error.type": "halted",
    }  # fmt: skip
    assert root.failed
    assert [(one.name, one.at_ns) for one in root.moments] == [
        ("ringfence.prompt", at(2)),
        ("ringfence.halted", at(25)),
    ]


def test_a_model_call_says_its_model_its_numbers_and_its_tokens(whole: list[Event]) -> None:
    answered, failed = [one for one in spans_of(whole) if one.name.startswith("chat")]
    assert (answered.start_ns, answered.end_ns, answered.failed) == (at(3), at(4), False)
    said = dict(answered.attributes)
    assert said["gen_ai.operation.name"] == "chat" and said["gen_ai.request.model"] == "gpt-9"
    assert said["gen_ai.request.temperature"] == 0.5 and said["gen_ai.request.max_tokens"] == 9
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (12, 3)
    assert said["ringfence.duration_s"] == 0.007 and "error.type" not in said
    assert failed.failed and failed.attributes["error.type"] == "_OTHER"


def test_a_call_that_ran_says_what_decided_it(whole: list[Event]) -> None:
    call = spans_of(whole)[1]
    assert (call.start_ns, call.end_ns, call.failed) == (at(5), at(8), False)
    assert call.attributes == {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "send_email",
        "gen_ai.tool.type": "function", "gen_ai.tool.call.id": "model-1", "gen_ai.agent.name": "main",
        "gen_ai.conversation.id": "s1", "ringfence.run": "R-1", "ringfence.call": "aa.0",
        "ringfence.policy": "support", "ringfence.policy.digest": "sha256:0",
        "ringfence.verdict": "allow", "ringfence.rules": ("send_email.allow",),
        "ringfence.rule.place": "support.fence:5:3", "ringfence.label": "internal", "ringfence.charges": 1,
        "ringfence.event": "R-1:6", "ringfence.hash": whole[5].hash, "ringfence.outcome": "finished",
        "ringfence.duration_s": 0.0025,
    }  # fmt: skip
    assert [one.name for one in call.moments] == ["ringfence.decided", "ringfence.started"]


def test_a_refusal_is_a_span_that_failed_and_no_body_took_any_time(whole: list[Event]) -> None:
    refused = spans_of(whole)[2]
    said = refused.attributes
    assert refused.failed and said["error.type"] == said["ringfence.outcome"] == "denied"
    assert said["ringfence.verdict"] == "deny" and said["ringfence.rules"] == ("send_email.allow",)
    assert (refused.start_ns, refused.end_ns) == (at(9), at(10)) and "ringfence.duration_s" not in said


def test_a_call_that_people_were_asked_about_says_for_how_long(whole: list[Event]) -> None:
    call = spans_of(whole)[3]
    said = call.attributes
    assert said["ringfence.tickets"] == ("T-AAAAAAAA",) and said["ringfence.waited_s"] == 0.001
    assert (said["error.type"], said["ringfence.outcome"], call.failed) == ("timeout", "timeout", True)
    assert [(one.name, dict(one.said)) for one in call.moments] == [
        ("ringfence.decided", {"ringfence.verdict": "ask"}),
        ("ringfence.approval_asked", {"ringfence.ticket": "T-AAAAAAAA", "ringfence.approver": "lead"}),
        ("ringfence.approval_answered", {"ringfence.ticket": "T-AAAAAAAA", "ringfence.answer": "approve"}),
        ("ringfence.decided", {"ringfence.verdict": "allow"}),
        ("ringfence.started", {}),
    ]


def test_a_call_whose_end_nobody_recorded_ends_with_the_run_as_unknown(whole: list[Event]) -> None:
    call = spans_of(whole)[6]
    assert call.failed and call.attributes["ringfence.outcome"] == "unknown"
    assert call.end_ns == at(26)


def test_an_allow_that_was_never_used_is_no_error_and_an_interrupted_call_goes_on() -> None:
    events: list[e.RunEvent] = [
        started(),
        requested("aa.0", "look", {}),
        decided("aa.0", "allow", reason("look.allow", "allow")),
        requested("bb.0", "look", {}),
        decided("bb.0", "allow", reason("look.allow", "allow")),
        e.CallStarted("bb.0"),
        e.CallFailed("bb.0", "interrupted", "", 1),
        e.RunSuspended(()),
        e.RunResumed("p"),
        e.CallStarted("bb.0"),
        e.CallFinished("bb.0", 1, None, 5),
        e.RunEnded("done", None),
    ]
    later, unused, root = spans_of(recorded("R", events))
    assert later.attributes["ringfence.outcome"] == "finished" and not later.failed
    assert unused.attributes["ringfence.outcome"] == "not run" and not unused.failed and not root.failed


def test_isolates_and_the_calls_of_their_code_are_nested() -> None:
    inner = replace(requested("aa.1", "look", {}), parent="aa.0")
    events: list[e.RunEvent] = [
        started(),
        requested("aa.0", "js", {"code": "1"}),
        decided("aa.0", "allow", reason("js.allow", "allow")),
        e.CallStarted("aa.0"),
        e.IsolateStarted("aa.0", "box", "code", "code", "d", 0, None, "00", {"lockdown": "full"}),
        inner,
        decided("aa.1", "allow", reason("look.allow", "allow")),
        e.CallStarted("aa.1"),
        e.CallFinished("aa.1", 1, None, 5),
        e.IsolateEnded("aa.0", "13.1", ("seccomp",), None, None, None, None, None, 1, []),
        e.CallFinished("aa.0", 1, None, 9),
        e.RunEnded("done", None),
    ]
    called, isolate, outer, root = spans_of(recorded("R", events))
    assert (called.parent, isolate.parent, outer.parent) == (isolate.id, outer.id, root.id)
    assert isolate.name == "isolate box" and not isolate.failed
    assert isolate.attributes["ringfence.isolate.layers"] == ("seccomp",)
    assert isolate.attributes["ringfence.isolate.lockdown"] == "full"


# ---- what leaves -----------------------------------------------------------------------------------

NEEDLE = "Nadel-im-Heu"


def full_of_needles() -> list[e.RunEvent]:
    """A run with the needle wherever somebody else than the policy's author can write."""
    asked = reason("crm.ask", "ask", because=NEEDLE, detail=NEEDLE)
    return [
        started(principal={"user": NEEDLE, "team": NEEDLE}, external_id=NEEDLE, policy_text=NEEDLE),
        e.PromptGiven("user", NEEDLE),
        e.ModelAsked(
            *("m1", "gpt-9", [{"content": NEEDLE}], [{"name": NEEDLE}]),
            {"stop": [NEEDLE], "user": NEEDLE, "temperature": NEEDLE, "metadata": {NEEDLE: NEEDLE}},
            NEEDLE,
        ),
        e.ModelAnswered("m1", [{"content": NEEDLE}], {"input_tokens": NEEDLE, NEEDLE: 1}, 1, NEEDLE),
        requested("aa.0", "crm", {NEEDLE: NEEDLE}, f"not an id: {NEEDLE}"),
        decided(
            *("aa.0", "ask", asked),
            arguments={NEEDLE: NEEDLE},
            charges=[{"budget": "b", "key": NEEDLE, "amount": 1}],
            facts={"answers": NEEDLE, "failed": NEEDLE},
        ),
        e.ApprovalAsked("aa.0", "T-AAAAAAAA", "lead", None),
        e.ApprovalAnswered("aa.0", "T-AAAAAAAA", "approve", NEEDLE, {"x": NEEDLE}, NEEDLE),
        decided("aa.0", "allow", asked),
        e.CallStarted("aa.0"),
        e.IsolateStarted("aa.0", "box", "code", "code", "d", 0, None, "00", {}),
        e.IsolateEnded("aa.0", "13", (), "error", NEEDLE, 1, 1, None, 1, [[{"error": NEEDLE}]]),
        e.CallFinished("aa.0", {NEEDLE: NEEDLE}, None, 1),
        requested("bb.0", NEEDLE, {}),
        decided("bb.0", "unknown", reason("unknown", "unknown", None, detail=f"no tool '{NEEDLE}'")),
        requested("cc.0", "crm", {}),
        decided("cc.0", "allow", reason("crm.allow", "allow")),
        e.CallStarted("cc.0"),
        e.CallFailed("cc.0", "raised", NEEDLE, 1),
        requested("dd.0", NEEDLE, {}),
        e.RunHalted("killed", NEEDLE, NEEDLE),
        e.RunEnded("failed", NEEDLE),
    ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


def sent(collector: Collector, spans: Sequence[Span]) -> bytes:
    sender = Sender(collector.url, headers={}, service_name=None, within_s=5)
    sender.send(spans)
    sender.close()
    return collector.sent


def test_no_byte_of_content_is_sent_unless_it_is_asked_for(collector: Collector) -> None:
    events = recorded("R", full_of_needles())
    data = sent(collector, spans_of(events))
    assert len(collector.spans) == 7 and NEEDLE.encode() not in data
    data = sent(collector, spans_of(events, content=True))
    assert data.count(NEEDLE.encode()) >= 12
    call = next(one for one in collector.taken if "gen_ai.tool.call.result" in one.said)
    assert json.loads(call.said["gen_ai.tool.call.arguments"]) == {NEEDLE: NEEDLE}
    root = collector.named("invoke_agent main")
    assert json.loads(root.said["ringfence.principal"])["user"] == NEEDLE
    assert call.resource["service.name"] == "ringfence"


def test_content_is_cut(collector: Collector) -> None:
    events = full_of_needles()
    events[12] = e.CallFinished("aa.0", "ü" * 1_000_000, None, 1)
    data = sent(collector, spans_of(recorded("R", events), content=True))
    assert len(data) < 200_000
    (result,) = [
        one.said["gen_ai.tool.call.result"]
        for one in collector.taken
        if "gen_ai.tool.call.result" in one.said
    ]
    assert result == "ü" * CONTENT_LENGTH + "… (1000000 characters)"


@pytest.mark.parametrize("content", [False, True])
def test_what_an_attacker_wrote_into_every_text_of_a_log_is_sent_as_text_of_bounded_size(
    collector: Collector, content: bool
) -> None:
    data = sent(collector, spans_of(recorded("r1" + EVIL, EVENTS), content=content))
    assert len(data) < 100_000 and collector.taken
    for one in collector.taken:
        assert len(one.name) < 10 * NAME_LENGTH and one.name.isprintable()
        for name, value in one.said.items():
            texts = value if isinstance(value, list) else [value]
            if not content:
                assert all(text.isprintable() for text in texts if isinstance(text, str)), name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("aa.0") | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


SENDER = Sender("http://127.0.0.1:1", headers={}, service_name="x", within_s=1)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), content=st.booleans())
def test_a_body_of_any_form_gives_spans_that_the_protocol_can_say(data: st.DataObject, content: bool) -> None:
    events = recorded("R", [*whole_events()[:-1], *full_of_needles()[1:]])
    for position in data.draw(st.lists(st.integers(0, len(events) - 1), min_size=1, max_size=5)):
        body = dict(events[position].body or {})
        for name in data.draw(st.lists(st.sampled_from(sorted(body)), max_size=3)) if body else []:
            body[name] = data.draw(JSON)
        events[position] = replace(
            events[position], body=data.draw(st.sampled_from([body, body, body, None, {}]))
        )
    late = data.draw(st.integers(0, len(events) - 1))
    events[late] = replace(events[late], at_ns=data.draw(st.integers()))
    spans = spans_of(events, content=content)
    encoded = encode_spans([SENDER._readable(one) for one in spans])
    (resource,) = encoded.resource_spans
    found = [one for scope in resource.scope_spans for one in scope.spans]
    assert len(found) == len(spans)
    assert all(len(one.attributes) == len(span.attributes) for one, span in zip(found, spans, strict=True))
    assert len(encoded.SerializeToString()) < 2_000_000


def test_of_a_purged_run_the_spans_say_only_when_it_was(whole: list[Event]) -> None:
    (root,) = spans_of([replace(event, body=None, salt="") for event in whole])
    assert (root.name, root.start_ns, root.end_ns) == ("invoke_agent", at(1), at(26))
    assert "gen_ai.agent.name" not in root.attributes


def test_runs_that_call_each_other_their_parents_do_not_keep_the_translation_from_ending() -> None:
    first = recorded("R-A", [started(parent="R-B"), e.RunEnded("done", None)])
    second = recorded("R-B", [started(parent="R-A"), e.RunEnded("done", None)])
    spans: list[Span] = []
    traces = Traces(spans, content=False)
    both = {"R-A": first, "R-B": second}
    for event in (*first, *second):
        traces.read(
            event, lambda ask: [o for o in both.get(ask.run, []) if o.seq > ask.after_seq][: ask.limit]
        )
    assert len(spans) == 2


def test_what_is_held_of_many_runs_is_bounded() -> None:
    spans: list[Span] = []
    traces = Traces(spans, content=False, most=50)
    for number in range(500):
        begun = recorded(f"R-{number}", [started(), e.RunEnded("done", None)])
        traces.read(begun[0], lambda ask: [])
        if number % 2:
            traces.read(begun[1], lambda ask: [])
    held = (traces._runs, traces._ended, traces._traces, traces._around)
    assert all(len(one) <= 50 for one in held)


async def test_one_run_holds_no_more_open_calls_than_it_may(collector: Collector) -> None:
    events: list[e.RunEvent] = [started(), *(requested(f"c.{n}", "t", {}) for n in range(1_500))]
    spans = await asyncio.to_thread(spans_of, recorded("R", events))
    assert len(spans) == 500
