"""A run is told in order, one step a call, and nothing that a model wrote reaches a terminal raw."""

from dataclasses import replace
from pathlib import Path

import pytest

from ringfence.cli.drawing import duration, step_lines
from ringfence.cli.grounds import ground_lines, policy_lines
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.timeline import CallStep, Step, timeline
from tests.cli.conftest import POLICY, START_NS, decided, reason, requested, stamped, started


def told(steps: list[Step]) -> list[str]:
    """Return the lines of all steps without their styles."""
    lines = [line for step in steps for line in step_lines(step, start_ns=START_NS)]
    return ["".join(piece if isinstance(piece, str) else piece[0] for piece in line) for line in lines]


def test_every_step_is_told_once_in_the_order_in_which_it_began(whole_run: list[e.RunEvent]) -> None:
    steps = timeline(stamped(whole_run))
    assert [step.step for step in steps] == ["prompt", "model", "call", "call", "call", "halted", "ended"]
    calls = [step for step in steps if isinstance(step, CallStep)]
    assert [(call.number, call.verdict, call.outcome) for call in calls] == [
        (1, "allow", "finished"), (2, "deny", "not run"), (3, "allow", "raised"),
    ]  # fmt: skip


def test_a_timeline_says_decision_rule_place_latency_and_error(whole_run: list[e.RunEvent]) -> None:
    text = "\n".join(told(timeline(stamped(whole_run))))
    for words in (
        "user: Mail bob a summary",
        "answered in 7 ms [12 tokens in, 3 out]: (wants send_email)",
        'call 1  send_email(to="bob@acme.example", body="hi")',
        "allowed by send_email.allow at support.fence:5:3",
        'ran in 2.5 ms -> "sent"',
        "denied by send_email.allow at support.fence:5:3 (no allow holds)",
        "asked lead, ticket T-AAAAAAAA",
        "approved by dana after 1 ms: fine",
        "raised after 1 ms: ValueError: no such account",
        "main.stop: 5 minutes are over",
    ):
        assert words in text, words


def test_a_place_under_the_current_folder_is_said_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[e.RunEvent] = [
        started(),
        requested("aa.0", "t", {}),
        decided("aa.0", "deny", reason("t.allow", "deny", f"{tmp_path}/rules/a.fence:5:3")),
    ]
    assert any(line.endswith("t.allow at rules/a.fence:5:3") for line in told(timeline(stamped(events))))


def test_a_call_without_a_decision_says_that_the_run_ended_before() -> None:
    lines = told(timeline(stamped([started(), requested("aa.0", "t", {})])))
    assert any("not decided" in line for line in lines)


def test_a_call_that_began_and_has_no_outcome_is_not_told_as_done() -> None:
    events: list[e.RunEvent] = [
        started(),
        requested("aa.0", "t", {}),
        decided("aa.0", "allow"),
        e.CallStarted("aa.0"),
    ]
    assert any("no outcome was recorded" in line for line in told(timeline(stamped(events))))


def test_a_call_in_an_isolate_says_where_it_ran_and_the_calls_of_its_code_say_whose_they_are() -> None:
    inner = replace(requested("bb.0", "query", {}), parent="aa.0")
    begun: list[e.RunEvent] = [
        started(),
        requested("aa.0", "run_js", {"code": "x"}),
        decided("aa.0", "allow"),
        e.CallStarted("aa.0"),
        e.IsolateStarted("aa.0", "analyst", "code", "code", "sha256:0", 0, None, "00", {}),
    ]
    gone = e.IsolateEnded("aa.0", "14.4", ("limits", "seccomp"), None, None, None, None)
    steps = timeline(stamped([*begun, inner, decided("bb.0", "allow"), gone]))
    outer, made = (step for step in steps if isinstance(step, CallStep))
    assert (outer.within, made.within) == (None, 1)
    assert outer.isolate is not None and outer.isolate["seed"] == "00" and outer.isolate["v8"] == "14.4"
    lines = [line.strip() for line in told(steps)]
    assert "in isolate analyst (V8 14.4, 2 walls)" in lines and "made inside of call 1" in lines
    assert "in isolate analyst (nothing is known of its end)" in [
        one.strip() for one in told(timeline(stamped(begun)))
    ]


def test_nothing_that_a_model_or_a_tool_wrote_can_move_the_cursor_or_forge_a_line() -> None:
    evil = "\x1b[2J\u202egnihton\u2066\n+0.000 s  ended done \x9b31m [bold]x[/bold]"
    events: list[e.RunEvent] = [
        started(),
        e.PromptGiven("user", evil),
        e.ModelAnswered(evil, [{"content": evil, "tool_calls": [{"name": evil}]}], {evil: evil}, 1, None),
        e.ModelAnswered(evil, None, None, 1, evil),
        requested(evil, evil, {evil: evil}, evil),
        decided(evil, "deny", reason(evil, "deny", evil, because=evil, detail=evil)),
        decided(evil, evil, reason(evil, evil)),
        e.ApprovalAsked(evil, evil, evil, None),
        e.ApprovalAnswered(evil, evil, evil, evil, None, evil),
        e.BudgetRefunded(evil, evil),
        e.IsolateStarted(evil, evil, "code", evil, evil, 0, None, evil, {}),
        e.IsolateEnded(evil, evil, (evil,), None, evil, None, None),
        e.CallFailed(evil, evil, evil, 1),
        e.SubrunStarted(evil, evil),
        e.RunSuspended((evil,)),
        e.RunResumed(evil),
        e.RunHalted(evil, evil, evil),
        e.RunEnded(evil, evil),
    ]
    steps = timeline(stamped(events))
    (call,) = [step for step in steps if isinstance(step, CallStep)]
    grounds = [
        "".join(p if isinstance(p, str) else p[0] for p in line)
        for line in ground_lines(call, {"support.fence": evil}, start_ns=0)
    ]
    lines = told(steps) + grounds
    assert len(lines) > 20
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert "\u202e" not in line and "\u2066" not in line


def test_a_result_of_a_megabyte_is_cut_and_says_so() -> None:
    begun: list[e.RunEvent] = [
        started(),
        requested("aa.0", "t", {}),
        decided("aa.0", "allow"),
        e.CallStarted("aa.0"),
    ]
    events: list[e.RunEvent] = [*begun, e.CallFinished("aa.0", "x" * 1_000_000, None, 1)]
    lines = told(timeline(stamped(events)))
    assert max(map(len, lines)) < 300
    assert any("more characters]" in line for line in lines)


def test_messages_nested_without_end_are_still_shown() -> None:
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    assert told(timeline(stamped([e.ModelAnswered("m", deep, None, 1, None)])))


@pytest.mark.parametrize(
    ("ns", "told"),
    [(0, "0 us"), (1_500, "1.5 us"), (2_500_000, "2.5 ms"), (3_200_000_000, "3.2 s"),
     (119_000_000_000, "119 s"), (891_000_000_000, "14 min 51 s"), (9_000_000_000_000, "2 h 30 min")],
)  # fmt: skip
def test_a_duration_has_a_unit_that_fits_it(ns: int, told: str) -> None:
    assert duration(ns) == told


def test_why_shows_the_line_of_the_policy_under_each_reason(whole_run: list[e.RunEvent]) -> None:
    call = [step for step in timeline(stamped(whole_run)) if isinstance(step, CallStep)][1]
    text = [
        "".join(p if isinstance(p, str) else p[0] for p in line)
        for line in ground_lines(call, {"support.fence": POLICY}, start_ns=START_NS)
    ]
    at = text.index('     5 |   allow when domain(to) == "acme.example"')
    assert text[at - 1] == "  denied by send_email.allow at support.fence:5:3 (no allow holds)"
    assert text[at + 1] == "       |   ^"
    assert policy_lines(call, {"support.fence": POLICY}) == ['  allow when domain(to) == "acme.example"']


def test_a_place_that_is_not_in_the_policy_shows_no_line() -> None:
    call = CallStep(START_NS, "aa.0", "t", {}, None, None)
    call.decisions.append({"verdict": "deny", "reasons": [reason("t.allow", "deny", "support.fence:999:1")]})
    assert policy_lines(call, {"support.fence": POLICY}) == []


UNCLEAN: list[e.RunEvent] = [
    e.RunHalted(e.UNCLEAN_END, None, "the process that ran it is gone"),
    e.RunEnded("halted", None),
]
ALLOWED: list[e.RunEvent] = [requested("aa.0", "t", {}), decided("aa.0", "allow", reason("t.allow", "allow"))]


@pytest.mark.parametrize("gone", [False, True], ids=["as the log says", "as its process tells"])
@pytest.mark.parametrize(
    ("call", "outcome", "said"),
    [
        ([requested("aa.0", "t", {})], "unknown", "whether it ran is not recorded"),
        (ALLOWED, "unknown", "whether it ran is not recorded"),
        ([*ALLOWED[:1], decided("aa.0", "ask", reason("t.ask", "ask"))], "unknown", "whether it ran"),
        ([*ALLOWED, e.CallStarted("aa.0")], "unknown", "how it ended is not recorded"),
        ([*ALLOWED, e.CallStarted("aa.0"), e.CallFinished("aa.0", 1, None, 5)], "finished", "-> 1"),
        ([*ALLOWED, e.CallStarted("aa.0"), e.CallFailed("aa.0", "raised", "x", 5)], "raised", "raised"),
        ([*ALLOWED[:1], decided("aa.0", "deny", reason("t.allow", "deny"))], "not run", "denied"),
        ([*ALLOWED[:1], decided("aa.0", "unknown", reason("t", "unknown"))], "not run", "not found"),
    ],
)
def test_what_a_call_did_whose_process_died_is_unknown_unless_it_is_recorded(
    call: list[e.RunEvent], outcome: str, said: str, gone: bool
) -> None:
    events = stamped([started(), *call, *([] if gone else UNCLEAN)])
    steps = timeline(events, gone=gone)
    (step,) = [step for step in steps if isinstance(step, CallStep)]
    assert step.outcome == outcome
    assert any(said in line for line in told(steps))


def test_a_call_of_a_process_that_lives_or_of_a_run_that_ended_in_order_is_not_unknown() -> None:
    def outcome(*events: e.RunEvent) -> str:
        (step,) = [one for one in timeline(stamped([started(), *events])) if isinstance(one, CallStep)]
        return step.outcome

    running: list[e.RunEvent] = [*ALLOWED, e.CallStarted("aa.0")]
    assert outcome(*running) == "running"
    assert outcome(*ALLOWED) == outcome(*ALLOWED, e.RunEnded("done", None)) == "not run"
    assert outcome(*running, e.RunEnded("done", None)) == "unknown", "no guard writes that"
    assert outcome(*running, e.RunHalted("killed", "dana", None)) == "running"
