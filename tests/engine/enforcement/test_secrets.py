"""Secrets of a deployment in whole runs: nothing on the disk, the tool sees the truth, and replay says so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.dsl.canonical import digest
from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.decision.events import (
    CallDecided,
    CallFailed,
    CallFinished,
    CallRequested,
    IsolateStarted,
    ModelAnswered,
    ModelAsked,
    PromptGiven,
    RunStarted,
)
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    PendingError,
    RunHaltedError,
    SettingsError,
    ToolFailedError,
)
from ringfence.plugin import redactor
from tests.guards import call, events_of, make_guard

CANARY = "sk-live-Ab12Cd34Ef56Gh78"
PASSWORD = "correct horse battery"
SECRETS = {"patterns": ["sk-live-[A-Za-z0-9]{16}"], "names": ["password"]}

POLICY = """
language 1
policy shop
principal has ward: text
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send }
tool look { takes what: text, password: text optional allow always rate 1000 per run }
tool sign { takes what: text allow always ask lead rate 1000 per run }
tool mine { takes what: text allow always deny when principal.ward == "east" rate 1000 per run }
tool quiet { takes what: text allow always rate 1000 per run audit minimal }
tool count { takes what: text allow always rate 2 per day for each what }
tool echo { takes what: text allow when what comes from user rate 1000 per run }
tool note { needs send takes body: text allow always redact body with hide rate 1000 per run }
"""


def hide() -> Any:
    from types import ModuleType

    module = ModuleType("acme.hide")

    def own(text: str) -> str:
        return text.replace("ann@acme.example", "[mail]")

    module.hide = redactor("hide")(own)  # type: ignore[attr-defined]
    return module


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def a_guard(policy: str = POLICY, **settings: Any) -> Guard:
        store = f"sqlite:///{tmp_path}/log.db"
        guard = make_guard(policy, store=store, plugins=[hide()], **{"secrets": SECRETS, **settings})
        made.append(guard)
        return guard

    yield a_guard
    for guard in made:
        guard.close()


def on_disk(folder: Path, *words: str) -> list[str]:
    """Return the files with any of the words in them."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [f.name for f in files if any(word.encode() in f.read_bytes() for word in words)]


def test_nothing_secret_of_a_whole_run_is_in_the_file_and_the_tool_sees_the_truth(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    who = Principal(user="alice", workspace="w1", password=PASSWORD, ward=CANARY)
    run = guard.begin_run(principal=who, prompt=f"use {CANARY}", attachments=[{"password": PASSWORD}])
    guard.record(run, ModelAsked("q1", "m", [{"content": f"{CANARY} {PASSWORD}"}], [], {"api": CANARY}, None))
    asked = {"name": "look", "args": {"what": CANARY, "password": PASSWORD}, "id": CANARY}
    guard.record(run, ModelAnswered("q1", [{"tool_calls": [asked]}], {"k": CANARY}, 1, CANARY))
    seen: list[Any] = []

    def body(arguments: Any) -> Any:
        seen.append(arguments)
        return {"echo": [CANARY, f"it was {PASSWORD}"]}

    given = ToolCall("look", {"what": CANARY, "password": PASSWORD}, call_id=CANARY, task=CANARY)
    assert guard.execute(run, given, body) == {"echo": [CANARY, f"it was {PASSWORD}"]}
    assert seen == [{"what": CANARY, "password": PASSWORD}]

    def fails(_: Any) -> Any:
        raise ValueError("x" * 495 + CANARY)

    with pytest.raises(ValueError, match="xxx"):
        guard.execute(run, call("look", what="fails"), fails)
    with pytest.raises(DeniedError):
        guard.execute(run, ToolCall(CANARY, {CANARY: CANARY}), fails)
    with pytest.raises(DeniedError):
        guard.execute(run, call("look", what=[CANARY], **{CANARY: {"password": PASSWORD}}), fails)
    with pytest.raises(PendingError) as pending:
        guard.execute(run, call("sign", what=f"pay with {CANARY}"), fails, wait=False)
    ticket = pending.value.tickets[0]
    with pytest.raises(DeniedError, match="cannot be edited"):
        guard.approve(ticket, by="dana", edited={"what": CANARY})
    with pytest.raises(DeniedError):
        guard.approve(ticket, by=CANARY, because=PASSWORD)
    guard.approve(ticket, by="dana", because=f"it is {CANARY}")
    assert guard.execute(run, call("sign", what=f"pay with {CANARY}"), lambda _: 1, wait=False) == 1
    guard.end_run(run, "failed", error=f"{CANARY}")
    assert on_disk(tmp_path, "alice")
    assert not on_disk(tmp_path, CANARY, PASSWORD, CANARY[:12])
    guard.close()
    assert not on_disk(tmp_path, CANARY, PASSWORD, CANARY[:12])


def test_a_call_with_a_secret_is_not_replayable_and_all_others_replay_identically(
    make: Callable[..., Guard],
) -> None:
    guard = make()
    run = guard.begin_run(prompt=f"use {CANARY}")
    guard.execute(run, call("look", what="a"), lambda _: 1)
    guard.execute(run, call("look", what=CANARY), lambda _: 1)
    guard.execute(run, call("look", what="b", password="x"), lambda _: CANARY)
    guard.execute(run, call("look", what="c"), lambda _: 1)
    found = guard.runs.get(run.id).replay()
    assert found.divergence is None
    assert found.decisions == 2
    assert [one.because for one in found.not_replayable] == ["secret", "secret"]


def test_the_digest_of_code_with_a_secret_in_it_confirms_no_guess(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    box = """
isolate box { time 60 seconds }
tool js { takes code: text allow when size(code) > 0 bytes runs code in box rate 1000 per run }
"""
    guard = make(POLICY + box)
    run = guard.begin_run()
    for code in ("control", f"throw Error('{CANARY}')", f"password = '{PASSWORD}'"):
        with pytest.raises(ToolFailedError):
            guard.execute(run, call("js", code=code), lambda _: 1)
    sources = [event.source for event in events_of(guard, run) if isinstance(event, IsolateStarted)]
    assert sources[0] == digest("control")
    assert [one.split(":")[0] for one in sources] == ["sha256", "hmac-sha256", "hmac-sha256"]
    guard.close()
    assert not on_disk(tmp_path, CANARY, PASSWORD)


def test_two_calls_whose_secrets_differ_are_two_calls(make: Callable[..., Guard]) -> None:
    guard = make()
    run = guard.begin_run()
    other = CANARY[:-1] + "9"
    for what in (CANARY, other, CANARY):
        guard.execute(run, ToolCall("look", {"what": what}, call_id="one"), lambda _: 1)
    asked = [event for event in events_of(guard, run) if isinstance(event, CallRequested)]
    assert [one.arguments["$redacted"] for one in asked] == [{"what": "[redacted]"}] * 3
    assert asked[0].arguments == asked[2].arguments != asked[1].arguments
    assert len({one.call for one in asked}) == 3


def test_an_attribute_of_the_principal_that_is_hidden_is_undecided_and_never_compared(
    make: Callable[..., Guard],
) -> None:
    guard = make(secrets={"names": ["ward"]})
    run = guard.begin_run(principal=Principal(user="alice", ward="west"))
    with pytest.raises(DeniedError):
        guard.execute(run, call("mine", what="x"), lambda _: 1)
    started = events_of(guard, run)[0]
    assert isinstance(started, RunStarted)
    assert started.principal["ward"] == "[redacted]" and "principal.ward" in started.redacted
    assert guard.runs.get(run.id).replay().divergence is None
    control = make(secrets={})
    free = control.begin_run(principal=Principal(user="alice", ward="west"))
    assert control.execute(free, call("mine", what="x"), lambda _: 1) == 1


def test_where_a_value_came_from_is_undecided_once_a_prompt_is_hidden_in_part(
    make: Callable[..., Guard],
) -> None:
    guard = make()
    run = guard.begin_run(prompt="the word is heliotrope")
    assert guard.execute(run, call("echo", what="heliotrope"), lambda _: 1) == 1
    hidden = guard.begin_run(prompt=f"the word is heliotrope, the key {CANARY}")
    with pytest.raises(DeniedError):
        guard.execute(hidden, call("echo", what="heliotrope"), lambda _: 1)
    for one in (run, hidden):
        assert guard.runs.get(one.id).replay().divergence is None


def test_a_budget_that_would_be_counted_by_a_secret_denies(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run()
    assert guard.execute(run, call("count", what="plain"), lambda _: 1) == 1
    with pytest.raises(DeniedError):
        guard.execute(run, call("count", what=CANARY), lambda _: 1)
    guard.end_run(run)
    assert not on_disk(tmp_path, CANARY)


def test_what_a_policy_redacts_reaches_the_disk_neither_in_calls_nor_in_models_words(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make(secrets={})
    run = guard.begin_run()
    body = "please write to ann@acme.example"
    said = [{"tool_calls": [{"name": "note", "args": {"body": body}}], "content": ""}]
    guard.record(run, ModelAnswered("q1", said, None, 1, None))
    seen: list[Any] = []

    def send(given: Any) -> str:
        seen.append(given)
        return f"sent: {body}"

    guard.execute(run, call("note", body=body), send)
    guard.record(run, ModelAsked("q2", "m", [*said, {"content": f"sent: {body}"}], [], {}, None))
    guard.execute(run, call("note", body="nothing in it"), lambda _: 1)
    guard.end_run(run)
    assert seen == [{"body": "please write to [mail]"}]
    assert on_disk(tmp_path, "please write to [mail]")
    assert not on_disk(tmp_path, "ann@acme.example")
    decided = [event for event in events_of(guard, run) if isinstance(event, CallDecided)]
    assert decided[0].arguments == {"body": "please write to [mail]"}
    assert guard.runs.get(run.id).replay().divergence is None


def test_the_result_of_a_call_before_a_resume_is_not_handed_out_with_a_mark_in_it(
    make: Callable[..., Guard],
) -> None:
    guard = make()
    run = guard.begin_run()
    once = ToolCall("look", {"what": "x"}, call_id="one")
    guard.execute(run, once, lambda _: f"it is {CANARY}")
    with pytest.raises(PendingError):
        guard.execute(run, call("sign", "two", what="y"), lambda _: 1, wait=False)
    guard.suspend(run)
    guard.close()
    there = make()
    again = there.resume_run(run.id)
    with pytest.raises(ToolFailedError, match="secret"):
        there.execute(again, once, lambda _: 1)


def test_a_session_named_by_a_secret_does_not_begin(make: Callable[..., Guard], tmp_path: Path) -> None:
    guard = make()
    with pytest.raises(EngineError, match="session"):
        guard.begin_run(session=f"s-{CANARY}")
    assert not on_disk(tmp_path, CANARY)


def test_a_policy_that_holds_a_secret_does_not_load(make: Callable[..., Guard]) -> None:
    with pytest.raises(SettingsError, match="the policy holds"):
        make(POLICY.replace('"east"', f'"{CANARY}"'))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"patterns": ["(?=x)"]}, "pattern 1 is not of RE2's dialect"),
        ({"patterns": ["0", "y*"]}, "pattern 2 matches the empty text"),
        ({"names": ["--"]}, "a name has letters or digits"),
        ({"pattern": ["x"]}, "did you mean `patterns`"),
    ],
)
def test_a_mistake_in_the_section_is_said_and_no_pattern_is_shown(said: Any, why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make_guard(secrets=said)
    text = f"{raised.value} {raised.value.help}"
    assert why in text and "(?=x)" not in text


def test_under_audit_minimal_only_the_kind_of_what_a_body_raises_is_kept(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make(secrets={})
    run = guard.begin_run()

    def fails(arguments: Any) -> Any:
        raise ValueError(f"no such account: {arguments['what']}")

    with pytest.raises(ValueError, match="DE-4711"):
        guard.execute(run, call("quiet", what="DE-4711"), fails)
    with pytest.raises(ValueError, match="DE-0815"):
        guard.execute(run, call("look", what="DE-0815"), fails)
    errors = [event.error for event in events_of(guard, run) if isinstance(event, CallFailed)]
    assert errors == ["ValueError", "ValueError: no such account: DE-0815"]
    guard.end_run(run)
    assert not on_disk(tmp_path, "DE-4711")


def test_without_a_section_nothing_is_marked(make: Callable[..., Guard]) -> None:
    guard = make(secrets={})
    run = guard.begin_run(prompt=CANARY)
    guard.execute(run, call("look", what="x", password=PASSWORD), lambda _: CANARY)
    found = events_of(guard, run)
    assert PromptGiven("user", CANARY) in found
    assert any(isinstance(event, CallFinished) and event.result == CANARY for event in found)


def test_no_word_of_people_hosts_and_frameworks_brings_one_onto_the_disk(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make(sinks={"export_jsonl": {"path": str(tmp_path / "lines.jsonl")}})
    run = guard.begin_run(principal=Principal(user="alice"), framework=CANARY, external_id=f"thread {CANARY}")
    inside = guard.begin_run(parent=run, prompt=f'{{"api": "{CANARY}", "password": "{PASSWORD}"}}')
    guard.execute(inside, call("look", what=f'{{"deep": "[\\"{CANARY}\\"]"}}'), lambda _: [PASSWORD, CANARY])

    def fails(_: Any) -> Any:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise RuntimeError(f"password={PASSWORD}") from error

    with pytest.raises(RuntimeError):
        guard.execute(inside, call("look", what="fails"), fails)
    with pytest.raises(PendingError) as pending:
        guard.execute(run, call("sign", what=CANARY), lambda _: 1, wait=False)
    guard.deny(pending.value.tickets[0], by="dana", because=f"never {CANARY} and {PASSWORD}")
    guard.end_run(inside)
    guard.kill(run.id, by=f"dana {CANARY}")
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="y"), lambda _: 1)
    guard.close()
    assert on_disk(tmp_path, "alice") and (tmp_path / "lines.jsonl").stat().st_size
    assert not on_disk(tmp_path, CANARY, PASSWORD, CANARY[:12])


def test_a_value_under_a_name_is_hidden_in_the_next_run_of_its_session_too(
    make: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = make()
    run = guard.begin_run(session="s", principal=Principal(user="alice", password=PASSWORD))
    guard.end_run(run)
    later = guard.begin_run(session="s", prompt=f"you know: {PASSWORD}")
    guard.execute(later, call("look", what=PASSWORD), lambda _: {"said": PASSWORD})
    guard.end_run(later)
    guard.close()
    assert on_disk(tmp_path, "you know: ") and not on_disk(tmp_path, PASSWORD)


def test_an_attribute_that_was_hidden_is_undecided_in_a_run_that_begins_with_what_the_record_has(
    make: Callable[..., Guard],
) -> None:
    guard = make(secrets={"names": ["ward"]})
    run = guard.begin_run(principal=Principal(user="alice", ward="east"))
    guard.end_run(run)
    began = events_of(guard, run)[0]
    assert isinstance(began, RunStarted)
    again = guard.begin_run(principal=Principal(**began.principal))
    with pytest.raises(DeniedError):  # `deny when principal.ward == "east"`, of a mark, would be false
        guard.execute(again, call("mine", what="x"), lambda _: 1)
