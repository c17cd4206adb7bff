"""What a policy redacts: hidden wherever it comes back, and yet decided again, by this policy or another."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence._assembly import _plan
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.decision.events import (
    CallDecided,
    CallFinished,
    CallRequested,
    ModelAnswered,
    ModelAsked,
    PromptGiven,
)
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.remembered import MOST_VALUES
from ringfence.engine.retrospect.timeline import CallStep, timeline
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.plugin import redactor
from tests.guards import call, events_of, make_guard

MAIL = "ann@acme.example"
BODY = f"please write to {MAIL}"

HEAD = """
language 1
policy shop
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send }
"""
NOTE = """
tool note {
  needs send
  takes to: email, body: text, pin: text optional, subject: text optional
  CLAUSES
}
"""
HIDES = "allow always rate 1000 per run redact body with hide redact pin with hide"


def policy(clauses: str = HIDES, more: str = "") -> str:
    return HEAD + NOTE.replace("CLAUSES", clauses) + more


def plan(clauses: str, more: str = "") -> Plan:
    return _plan(load_text(policy(clauses, more)), "the other policy")


def plugin() -> Any:
    module = ModuleType("acme.hide")

    def hide(text: str) -> str:
        if text == "broken":
            raise ValueError("no idea")
        return text.replace(MAIL, "[mail]")

    def shout(text: str) -> str:
        return text.upper()

    module.hide, module.shout = redactor("hide")(hide), redactor("shout")(shout)  # type: ignore[attr-defined]
    return module


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def a_guard(text: str = "", **settings: Any) -> Guard:
        store = f"sqlite:///{tmp_path}/log.db"
        made.append(make_guard(text or policy(), store=store, plugins=[plugin()], **settings))
        return made[-1]

    yield a_guard
    for guard in made:
        guard.close()


def on_disk(folder: Path, *words: str) -> list[str]:
    """Return the files with any of the words in them."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [f.name for f in files if any(word.encode() in f.read_bytes() for word in words)]


def sent(guard: Guard, run: Run, body: str = BODY, **more: Any) -> Any:
    seen: list[Any] = []
    guard.execute(run, call("note", to="bob@acme.example", body=body, **more), seen.append)
    return seen[0]


# ---- what the session remembers -------------------------------------------------------------------

TRACED = policy(
    f'{HIDES} deny when to == "eve@evil.example"',
    """
tool look { needs send takes q: text allow always }
tool pay { needs send takes to: email allow always require known: to comes only from [look] }
""",
)


def shown(guard: Guard, run: Run, result: str) -> None:
    guard.execute(run, call("look", q="who?"), lambda _: result)


def test_a_redacted_call_denied_or_not_leaves_what_is_found_later_decided(make: Callable[..., Guard]) -> None:
    guard = make(TRACED)
    run = guard.begin_run()
    sent(guard, run)
    with pytest.raises(DeniedError):
        guard.execute(run, call("note", to="eve@evil.example", body=BODY), lambda _: None)
    shown(guard, run, "it is flo@acme.example")
    guard.execute(run, call("pay", to="flo@acme.example"), lambda _: "paid")
    assert guard.runs.get(run.id).replay().identical


def test_what_a_redactor_left_in_a_value_gains_no_source_from_its_echo(make: Callable[..., Guard]) -> None:
    guard = make(TRACED)
    run = guard.begin_run()
    sent(guard, run, "pay mallory@evil.example")
    shown(guard, run, "you wrote: pay mallory@evil.example")
    with pytest.raises(DeniedError):
        guard.execute(run, call("pay", to="mallory@evil.example"), lambda _: "paid")
    shown(guard, run, "it is flo@acme.example")
    guard.execute(run, call("pay", to="flo@acme.example"), lambda _: "paid")
    assert guard.runs.get(run.id).replay().identical


# ---- decided again --------------------------------------------------------------------------------


def test_a_redacted_call_replays_and_one_word_of_its_record_changed_diverges(
    make: Callable[..., Guard],
) -> None:
    guard = make()
    run = guard.begin_run()
    assert sent(guard, run) == {"to": "bob@acme.example", "body": "please write to [mail]"}
    found = guard.runs.get(run.id)
    assert found.replay().identical and found.replay().decisions == 1 and not found.replay().not_replayable
    decided = next(one for one in found.events if isinstance(one.event, CallDecided))
    assert isinstance(decided.event, CallDecided)
    assert decided.event.arguments is not None
    decided.event.arguments["body"] = "please write to [nobody]"
    assert found.replay().divergence is not None or found.replay().not_replayable
    decided.event.arguments["body"] = "please write to [mail]"
    decided.event.arguments["to"] = "eve@acme.example"
    divergence = found.replay().divergence
    assert divergence is not None and "arguments" in divergence.differs


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        (HIDES, "same"),
        (HIDES + ' deny when to == "bob@acme.example"', "deny"),
        (HIDES + ' deny when body == "please write to [mail]"', "deny"),
        (f'{HIDES} deny when body == "{BODY}"', "same"),
        (HIDES + " ask lead", "ask"),
        ("allow always", "redacted"),
        ("allow always redact body with shout", "redacted"),
        ("allow always redact body with hide redact body with shout", "redacted"),
    ],
)
def test_another_policy_decides_what_the_tool_got_or_says_that_it_looks_at_what_is_hidden(
    make: Callable[..., Guard], clauses: str, expected: str
) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run)
    found = guard.runs.get(run.id).what_if(plan(clauses))
    if expected == "redacted":
        assert found.decisions == 0 and [one.because for one in found.not_replayable] == ["redacted"]
    else:
        assert found.decisions == 1 and not found.not_replayable
        assert [one.verdict for one in found.changes] == ([] if expected == "same" else [expected])


def test_a_backtest_which_watches_the_clauses_decides_what_another_policy_alone_decides(
    make: Callable[..., Guard],
) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run)
    tried = guard.runs.backtest(plan(HIDES + ' deny when to == "bob@acme.example"'))
    assert (tried.decisions, tried.not_replayable) == (1, ())
    assert [one.change.verdict for one in tried.changes] == ["deny"]


@pytest.mark.parametrize("taken", ["text at most 30", "line at most 30", "line", "text optional"])
def test_another_policy_that_takes_other_values_cannot_tell_whether_it_would_have_taken_a_hidden_one(
    make: Callable[..., Guard], taken: str
) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run, f"{BODY}\nand so on")
    other = policy(HIDES).replace("body: text", f"body: {taken}")
    tried = guard.runs.get(run.id).what_if(_plan(load_text(other), "the other policy"))
    assert tried.decisions == 0 and [one.because for one in tried.not_replayable] == ["redacted"]


LABELS = [
    'result is secret when body contains "please"\n  result is public otherwise',
    'result is secret when subject is present and (subject contains "key")\n  result is public otherwise',
    "result is secret when body comes from user\n  result is public otherwise",
]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("recorded", [HIDES, "allow always", "allow always audit minimal"])
def test_under_another_policy_a_result_of_a_call_that_is_hidden_is_as_secret_as_any_of_its_tool(
    make: Callable[..., Guard], label: str, recorded: str
) -> None:
    leave = "\ntool leave { needs send takes what: text allow always }\n"
    guard = make(policy(recorded, leave), secrets={"patterns": ["key-[0-9]{4}"]})
    run = guard.begin_run()
    sent(guard, run, "in short", subject="the key-1234" if recorded == "allow always" else "none")
    guard.execute(run, call("leave", what="x"), lambda _: 1)
    rule = "\nrule leave: deny leave when after reading secret\n"
    text = policy(f"allow always redact body with shout\n  {label}", leave + rule)
    other = _plan(load_text(text.replace("capability", "levels public < secret\ncapability", 1)), "other")
    found = guard.runs.get(run.id).what_if(other)
    assert len(found.not_replayable) == 1 and [one.verdict for one in found.changes] == ["deny"]


def test_two_redactors_of_one_value_are_decided_again_as_they_were(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    both = "allow always redact body with hide redact body with shout"
    guard = make(policy(both))
    run = guard.begin_run()
    assert sent(guard, run)["body"] == "PLEASE WRITE TO [MAIL]"
    found = guard.runs.get(run.id)
    assert not on_disk(tmp_path, MAIL, MAIL.upper())
    assert found.replay().identical and found.replay().decisions == 1
    assert found.what_if(plan(both)).decisions == 1
    assert found.what_if(plan("allow always redact body with hide")).decisions == 0


def test_a_condition_on_the_value_as_given_is_said_not_to_be_replayable(make: Callable[..., Guard]) -> None:
    rule = f'\nrule some: redact body with hide for note when body != "{MAIL}"\n'
    guard, control = make(policy("allow always", rule)), make()
    run = guard.begin_run()
    sent(guard, run)
    found = guard.runs.get(run.id).replay()
    assert found.identical and [one.because for one in found.not_replayable] == ["redacted"]
    run = control.begin_run()
    sent(control, run)
    tried = control.runs.get(run.id).what_if(plan("allow always", rule))
    assert tried.decisions == 0 and [one.because for one in tried.not_replayable] == ["redacted"]


def test_an_edit_of_a_redacted_call_is_redacted_and_decided_again(make: Callable[..., Guard]) -> None:
    guard = make(policy(HIDES + " ask lead"))
    run = guard.begin_run()
    with pytest.raises(PendingError) as pending:
        guard.execute(run, call("note", to="bob@acme.example", body=BODY), lambda _: 1, wait=False)
    guard.approve(
        pending.value.tickets[0], by="dana", edited={"to": "bob@acme.example", "body": f"to {MAIL}"}
    )
    seen: list[Any] = []
    guard.execute(run, call("note", to="bob@acme.example", body=BODY), seen.append, wait=False)
    assert seen == [{"to": "bob@acme.example", "body": "to [mail]"}]
    found = guard.runs.get(run.id).replay()
    assert found.identical and found.decisions == 2


texts = st.sampled_from([BODY, "nothing in it", "broken", "short", MAIL, "", "[mail]", "[redacted]", "x" * 9])
steps = st.lists(
    st.tuples(
        st.sampled_from(["note", "look", "prompt", "model"]),
        texts,
        st.one_of(st.none(), texts),
        st.sampled_from(["a@acme.example", MAIL]),
    ),
    max_size=6,
)
clauses = st.lists(
    st.sampled_from(
        [
            "redact body with hide",
            "redact body with shout",
            "redact pin with hide",
            'deny when body == "nothing in it"',
            'deny when pin is present and (pin == "short")',
            "deny when body comes from user",
            "deny when after note",
            "ask lead when body comes from look",
            "rate 3 per run for each body",
        ]
    ),
    max_size=5,
    unique=True,
)


@given(clauses, steps, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_hidden_never_makes_a_replay_diverge(
    rules: list[str], history: Any, secrets: bool, sometimes: bool
) -> None:
    look = "\ntool look { takes what: text allow always rate 1000 per run }\n"
    hidden = {"patterns": ["x{9}"], "names": ["password"]} if secrets else {}
    if sometimes:
        look += 'rule some: redact body with shout for note when to == "a@acme.example"\n'
    guard = make_guard(
        policy("\n  ".join(["allow always", *rules]), look), plugins=[plugin()], secrets=hidden
    )
    try:
        run = guard.begin_run(principal=Principal(user="alice"))
        for number, (what, body, pin, to) in enumerate(history):
            if what == "prompt":
                guard.record(run, PromptGiven("user", {"text": body, "password": pin}))
            elif what == "model":
                guard.record(run, ModelAnswered(str(number), [body, pin], None, 1, None))
            else:
                given_ = {"to": to, "body": body} | ({} if pin is None else {"pin": pin})
                made = call("note", **given_) if what == "note" else call("look", what=body)
                with contextlib.suppress(DeniedError, PendingError):
                    guard.execute(run, made, partial(_said, body), wait=False)
        record = guard.runs.get(run.id)
        found = record.replay()
        decisions = sum(isinstance(one.event, CallDecided) for one in record.events)
        assert found.divergence is None, str(found.divergence)
        assert found.decisions + len(found.not_replayable) == decisions
        assert record.what_if(guard.plan).changes == ()
    finally:
        guard.close()


def _said(text: str, _: Any) -> str:
    return text


def test_an_argument_with_a_value_in_it_that_its_redactor_left_is_decided_again(
    make: Callable[..., Guard],
) -> None:
    guard = make(policy(HIDES + ' deny when subject is present and (subject contains "about nothing")'))
    run = guard.begin_run()
    with pytest.raises(DeniedError):
        sent(guard, run, "nothing in it", subject="about nothing in it, then")
    sent(guard, run, "nothing in it", subject="nothing in it")
    found = guard.runs.get(run.id).replay()
    assert found.identical and found.decisions == 1 and len(found.not_replayable) == 1


# ---- never on the disk ----------------------------------------------------------------------------


def test_what_a_redactor_failed_on_is_not_in_the_record_of_the_denial(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    with pytest.raises(DeniedError):  # the address is written otherwise than it was given
        guard.execute(run, call("note", to="BOB@ACME.example", body="broken", pin="4711-x"), lambda _: 1)
    with pytest.raises(DeniedError):
        guard.execute(run, call("note", to="no address", body="a-very-own-text", pin="4712-x"), lambda _: 1)
    with pytest.raises(DeniedError):
        guard.execute(
            run, call("note", to="a@b.example", body=["listed-own-text"], pin=47130047130047), lambda _: 1
        )
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().identical
    guard.close()
    assert on_disk(tmp_path, "no address")
    assert not on_disk(
        tmp_path, "broken", "4711-x", "4712-x", "a-very-own-text", "listed-own-text", "47130047130047"
    )


def test_a_text_before_the_call_in_the_same_answer_is_hidden_too(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    said = [{"content": f"I shall send: {BODY}", "tool_calls": [{"name": "note", "args": {"body": BODY}}]}]
    guard.record(run, ModelAnswered("q", said, {"echo": BODY}, 1, None))
    guard.end_run(run)
    guard.close()
    assert on_disk(tmp_path, "I shall send: ") and not on_disk(tmp_path, MAIL)


PIECES: list[Any] = [
    {"name": "note", "args": f'{{"body": null, "body": "{BODY}"}}'},
    {"name": "note", "args": f'{{"body": "{BODY}", "body": null}}'},
    {"name": "note", "args": '{"to": "x", "bo', "index": 0},
    {"name": None, "args": f'dy": "{BODY}', "index": 0, "type": "tool_call_chunk"},
    {"args": f"{BODY}", "index": 0},
    {"type": "tool_use", "name": "note", "input": {}, "partial_json": f'{{"body": "{BODY}"}}'},
    {"type": "input_json_delta", "partial_json": f'"{BODY}'},
    {
        "additional_kwargs": {
            "tool_calls": [{"function": {"name": "note", "arguments": f'{{"body":"{BODY}"}}'}}]
        }
    },
    {"type": "function_call", "name": "note", "arguments": f'{{"body":"{BODY}"}}'},
    {"functionCall": {"name": "note", "args": {"body": [{"deep": BODY}]}}},
    f'{{"name": "note", "arguments": {{"body": "{BODY}"}}}}',
]


@pytest.mark.parametrize("piece", PIECES)
def test_the_call_is_found_in_every_form_that_a_model_makes_it(
    make: Callable[..., Guard], tmp_path: Path, piece: Any
) -> None:
    guard = make()
    run = guard.begin_run()
    guard.record(run, ModelAnswered("q", [{"content": "control", "parts": [piece]}], None, 1, None))
    guard.end_run(run)
    guard.close()
    assert on_disk(tmp_path, "control") and not on_disk(tmp_path, MAIL)


def test_the_next_run_of_the_session_and_a_run_inside_hide_it_as_well(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run(session="s")
    sent(guard, run)
    inside = guard.begin_run(parent=run, prompt=f"they said: {BODY}")
    guard.end_run(inside)
    guard.end_run(run)
    later = guard.begin_run(session="s", prompt=f"you said: {BODY}")
    guard.record(later, ModelAsked("q", "m", [{"content": BODY}], [], {}, None))
    guard.end_run(later, "failed", error=f"it was {BODY}")
    guard.close()
    assert on_disk(tmp_path, "they said: ") and on_disk(tmp_path, "you said: ")
    assert not on_disk(tmp_path, MAIL)


def test_what_the_redactor_left_as_it_was_is_not_hidden_later(make: Callable[..., Guard]) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run, "nothing in it")
    guard.record(run, ModelAnswered("q", ["I wrote: nothing in it"], None, 1, None))
    assert ModelAnswered("q", ["I wrote: nothing in it"], None, 1, None) in events_of(guard, run)


def test_a_run_that_another_process_takes_up_hides_what_it_is_shown_again(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make(policy(HIDES + ' ask lead when subject is present and (subject == "ask")'))
    run = guard.begin_run()
    with pytest.raises(PendingError) as pending:
        guard.execute(
            run, call("note", to="bob@acme.example", body=BODY, subject="ask"), lambda _: 1, wait=False
        )
    guard.suspend(run)
    guard.close()
    there = make(policy(HIDES + ' ask lead when subject is present and (subject == "ask")'))
    there.approve(pending.value.tickets[0], by="dana")
    again = there.resume_run(run.id)
    made = call("note", to="bob@acme.example", body=BODY, subject="ask")
    assert there.execute(again, made, lambda _: f"sent {BODY}", wait=False) == f"sent {BODY}"
    assert any(
        isinstance(event, CallFinished) and event.result == "sent [redacted]"
        for event in events_of(there, again)
    )
    there.end_run(again)
    found = there.runs.get(run.id).replay()
    assert found.identical and found.decisions == 2
    there.close()
    assert not on_disk(tmp_path, MAIL)


def test_nothing_of_it_is_in_a_line_that_is_exported_or_that_a_sink_is_given(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    lines = tmp_path / "lines.jsonl"
    guard = make(sinks={"export_jsonl": {"path": str(lines)}})
    run = guard.begin_run(prompt="control")
    sent(guard, run)
    guard.record(run, ModelAsked("q", "m", [{"content": BODY}], [], {}, None))
    guard.end_run(run)
    guard.close()
    assert "control" in lines.read_text() and MAIL not in lines.read_text()


def test_people_who_read_the_run_see_the_other_arguments_and_the_mark(make: Callable[..., Guard]) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run)
    (step,) = [one for one in timeline(guard.runs.get(run.id).events) if isinstance(one, CallStep)]
    assert step.arguments == {"to": "bob@acme.example", "body": "[redacted]"}


def test_requests_of_equal_calls_look_equal_and_of_others_do_not(make: Callable[..., Guard]) -> None:
    guard = make()
    run = guard.begin_run()
    for body in (BODY, "another one", BODY):
        sent(guard, run, body)
    asked = [event.arguments for event in events_of(guard, run) if isinstance(event, CallRequested)]
    assert asked[0] == asked[2] != asked[1]


def test_a_value_in_two_arguments_is_hidden_though_one_of_them_is_not_redacted(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    assert sent(guard, run, subject=BODY)["subject"] == BODY
    guard.record(run, PromptGiven("tool", f"control: {BODY}"))
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().identical
    guard.close()
    assert on_disk(tmp_path, "control: ") and not on_disk(tmp_path, MAIL)


def test_a_name_that_the_policy_does_not_know_may_be_an_alias_of_one_that_it_redacts(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    made = [{"content": "control", "tool_calls": [{"name": "note", "args": {"Body": BODY}}]}]
    guard.record(run, ModelAnswered("q", made, None, 1, None))
    with pytest.raises(DeniedError):
        sent(guard, run, Body=BODY)
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().identical
    guard.close()
    assert on_disk(tmp_path, "control") and not on_disk(tmp_path, MAIL)


def test_arguments_that_are_no_json_or_no_record_are_hidden_before_they_are_cut(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    for arguments in (
        {"body": BODY, "subject": float("nan"), "to": [1234567] * 200_000},
        {"body": BODY, "subject": "\ud800"},
        [BODY],
        f'["{BODY}"]',
    ):
        with pytest.raises(DeniedError):
            guard.execute(run, ToolCall("note", arguments), lambda _: 1)  # type: ignore[arg-type]
    guard.end_run(run)
    guard.close()
    assert on_disk(tmp_path, "CallRequested") and not on_disk(tmp_path, MAIL)


def test_a_tool_that_does_not_exist_and_the_id_of_a_call_do_not_repeat_it(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    sent(guard, run)
    for made in (call(BODY), call("nobody", said=BODY), call("nobody", **{BODY: 1}), call("nobody", BODY)):
        with pytest.raises(DeniedError):
            guard.execute(run, made, lambda _: 1)
    guard.execute(run, call("note", f"id {BODY}", to="bob@acme.example", body="x"), lambda _: 1)
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().identical
    guard.close()
    assert on_disk(tmp_path, "nobody") and not on_disk(tmp_path, MAIL)


def test_a_session_whose_memory_was_filled_up_goes_on_and_its_record_shows_no_text(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    asks = """
tool look { takes what: text allow when what comes from user rate 1000 per run }
tool count { takes what: text allow always rate 9 per day for each what }
"""
    guard = make(policy(HIDES, asks))
    run = guard.begin_run(session="the session of a chat")
    filling = [{"name": "note", "args": {"body": [f"of no use {number}" for number in range(MOST_VALUES)]}}]
    guard.record(run, ModelAnswered("q", filling, None, 1, None))
    assert sent(guard, run)["body"] == "please write to [mail]"
    guard.record(run, PromptGiven("user", f"and {MAIL} again"))
    for made in (call("look", what="and"), call("look", what=MAIL), call("count", what="a longer key")):
        with pytest.raises(DeniedError):
            guard.execute(run, made, lambda _: 1)
    assert guard.execute(run, call("count", what="key"), lambda _: MAIL) == MAIL
    guard.end_run(run)
    found = guard.runs.get(run.id).replay()
    assert found.identical and found.decisions + len(found.not_replayable) == 5
    alice = Principal(user="alice in person")
    later = guard.begin_run(session="the session of a chat", prompt=f"once more: {MAIL}", principal=alice)
    guard.end_run(later)
    assert guard.runs.get(later.id).started.principal == {"user": "alice in person"}
    other = guard.begin_run(prompt="control: another session")
    guard.end_run(other)
    guard.close()
    assert on_disk(tmp_path, "control: another session") and not on_disk(tmp_path, MAIL)
