"""What is secret never reaches the file, wherever it stands; what is not secret stays as it is."""

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import KINDS, MARK, ModelAnswered, PromptGiven, RunEnded, RunEvent
from ringfence.engine.journal.fields import NATURES, SAID, nature_of
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.remembered import MOST_CHARACTERS, MOST_VALUES, Remembered, Sessions, Why
from ringfence.engine.journal.secrets import MOST_FINDS, Secrets
from ringfence.engine.journal.walk import Redacted
from ringfence.engine.seams.errors import DeniedError, SettingsError
from tests.guards import call, make_guard

CANARY = "sk-live-Ab12Cd34Ef56Gh78"
NUMBER = 4929123412341234
NAMED = "correct horse battery"
SECRETS = Secrets([r"sk-live-[A-Za-z0-9]{16}", r"4929\d{12}"], ["password", "api_key"])
MAIL = {"mail": Redacted(frozenset({"body"}), frozenset({"to", "body"}))}
WORDS = (CANARY, str(NUMBER), NAMED)


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(sign):04x}" for sign in text)


FORMS: dict[str, Any] = {
    "alone": CANARY,
    "in a text": f"the key is {CANARY}, keep it",
    "a key": {CANARY: 1, f"x{CANARY}": 2},
    "nested": {"a": [{"b": {"c": [CANARY]}}]},
    "a tuple": ("x", (CANARY,)),
    "a number": NUMBER,
    "a fraction": float(NUMBER),
    "a number in a text": f"card {NUMBER}.",
    "JSON in a text": json.dumps({"a": [CANARY, NUMBER]}),
    "JSON in JSON in a text": json.dumps({"a": json.dumps({"b": CANARY})}),
    "escaped": escaped(CANARY),
    "escaped in part": CANARY[:9] + escaped(CANARY[9:]),
    "escaped twice": json.dumps({"a": json.dumps({"b": escaped(CANARY)})}),
    "hexadecimal signs": "".join(f"\\x{ord(sign):02x}" for sign in CANARY),
    "under a name": {"Password": NAMED, "b": 1},
    "under a name, nested": {"x": [{"api-key": {"a": [NAMED]}}]},
    "under a name, in JSON": json.dumps({"password": {"a": {"b": NAMED}, "c": NAMED}}),
    "under a name, in escaped JSON": json.dumps(json.dumps({"apiKey": NAMED})),
    "after a name": f"password={NAMED}",
    "after a name in quotes": f"login(user='a', password='{NAMED}')",
    "a field and its value": [{"name": "password", "value": NAMED}],
    "bytes": f"abc {CANARY}".encode(),
    "a long text": "x" * 499 + CANARY + "y" * 1_200_000,
    "after a lone surrogate": "\ud800" + "z" * 490 + CANARY,
}


def clean(data: bytes) -> bool:
    """Say whether no word stands in the data, as it is or escaped as JSON escapes."""
    return not any(word.encode() in data or escaped(word).encode() in data for word in WORDS)


def stands_in(value: Any) -> bool:
    """Say whether a word can be read from the value, whoever undoes the escapes."""
    said = str(value)
    for _ in range(6):
        if any(word in said for word in WORDS):
            return True
        said = said.encode("ascii", "ignore").decode("unicode_escape", "ignore")
    return False


@pytest.mark.parametrize("form", FORMS)
def test_the_control_has_the_secret_in_it(form: str) -> None:
    assert stands_in(FORMS[form])


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    hiding = Hiding(SECRETS)
    shown = hiding.value(FORMS[form])
    assert clean(canonical(jsonable(shown, hide=hiding.text)))


def of_kind(kind: type[RunEvent], field: str, value: Any) -> RunEvent:
    made: dict[str, Any] = {one.name: ("x" if one.name != field else value) for one in fields(kind)}
    for name in (
        "redacted",
        "capabilities",
        "asks",
        "continues",
        "files",
        "layers",
        "tickets",
        "schema_names",
    ):
        if name in made and name != field:
            made[name] = ()
    make: Callable[..., RunEvent] = kind
    return make(**made)


def every_field() -> Iterator[tuple[type[RunEvent], str]]:
    for kind in KINDS.values():
        for one in fields(kind):
            if one.name != "redacted":
                yield kind, one.name


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.not_replayed("its events are made up: one of each kind, full of secrets")
def test_no_byte_of_a_secret_in_any_field_of_any_event_is_in_the_file(tmp_path: Path) -> None:
    guard = make_guard(
        store=f"sqlite:///{tmp_path}/log.db",
        secrets={"patterns": [r"sk-live-[A-Za-z0-9]{16}"], "names": ["password"]},
    )
    guard.begin_run(prompt="hello, control")
    journal = guard.opening.ready.journal
    number = 0
    for kind, field in every_field():
        for value in (CANARY, f"so {CANARY}", [CANARY], {"a": {CANARY: [escaped(CANARY)]}}):
            number += 1
            journal.open_run(f"r{number}")
            journal.record(f"r{number}", of_kind(kind, field, value))
    journal.flush().result(60)
    before = files_of(tmp_path)
    guard.close()
    after = files_of(tmp_path)
    assert any(name.endswith("-wal") for name in before)
    for files in (before, after):
        assert any(b"hello, control" in data for data in files.values())
        assert all(clean(data) for data in files.values())


leaves = st.sampled_from([CANARY, f"a {CANARY} b", NUMBER, escaped(CANARY), "plain", 7, None, True, 1.5])
trees = st.recursive(
    leaves,
    lambda part: (
        st.lists(part, max_size=4)
        | st.dictionaries(st.sampled_from([CANARY, "a", "b", f"{CANARY}x", "name"]), part, max_size=4)
        | part.map(json.dumps)
    ),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=300, deadline=None)
def test_a_hostile_value_has_no_secret_left_and_nothing_changes_twice(value: Any) -> None:
    hiding = Hiding(SECRETS)
    shown = hiding.value(value)
    assert clean(canonical(jsonable(shown)))
    assert hiding.value(shown) is shown


@given(
    st.recursive(
        st.text(alphabet='abc \\{}[]":', max_size=20) | st.integers() | st.none(), lambda p: st.lists(p)
    )
)
@settings(deadline=None)
def test_what_is_not_secret_stays_the_very_same_object(value: Any) -> None:
    assert Hiding(SECRETS).value(value) is value


def test_a_value_that_stood_under_a_name_is_hidden_in_later_texts_of_its_run() -> None:
    hiding = Hiding(SECRETS)
    event = PromptGiven("user", {"password": NAMED})
    assert hiding.event(event) == PromptGiven("user", {"password": MARK}, ("text",))
    assert hiding.event(PromptGiven("user", f"I said {NAMED}.")) == PromptGiven(
        "user", f"I said {MARK}.", ("text",)
    )


def test_a_value_that_stood_under_a_name_does_not_touch_what_the_engine_says() -> None:
    hiding = Hiding(SECRETS)
    hiding.value({"password": "user name"})
    event = PromptGiven("user name", "hello")
    assert hiding.event(event) is event


def test_digests_and_keys_of_the_engine_are_no_secrets_of_a_pattern_for_hexadecimal_digits() -> None:
    hiding = Hiding(Secrets(["[0-9a-f]{16,}"]))
    event = KINDS["CallStarted"](call="0123456789abcdef.0")  # type: ignore[call-arg]
    assert hiding.event(event) is event
    assert hiding.text("0123456789abcdef") == MARK


def test_a_text_with_endlessly_many_finds_is_hidden_as_a_whole() -> None:
    assert Secrets(["a(.*b)?"]).text("a" * 100_000) == MARK
    few = "ac" * MOST_FINDS
    assert Secrets(["a"]).text(few) == f"{MARK}c" * MOST_FINDS


def test_finds_that_overlap_leave_nothing_between_them() -> None:
    assert Secrets(["abc", "cde"]).text("xabcdex") == f"x{MARK}x"


def test_the_arguments_of_a_call_that_a_policy_redacts_are_hidden_wherever_a_model_writes_them() -> None:
    hiding = Hiding(Secrets(), MAIL)
    for part in ("args", "input", "arguments"):
        for said_so in ({"to": "a", "body": NAMED}, json.dumps({"to": "a", "body": NAMED})):
            said = canonical(hiding.value({"name": "mail", part: said_so}))
            assert clean(said) and b"to" in said
    assert hiding.value({"name": "mail", "arguments": f'{{"body": "{NAMED}'}) == {
        "name": "mail",
        "arguments": MARK,
    }
    other = {"name": "note", "args": {"body": "something else"}}
    assert hiding.value(other) is other


# ---- nothing is forgotten -------------------------------------------------------------------------


def test_every_field_of_every_event_is_of_a_nature_that_somebody_chose() -> None:
    fields_of_events = {one.name for kind in KINDS.values() for one in fields(kind)}
    assert set(NATURES) == fields_of_events


def test_a_field_that_nobody_chose_a_nature_for_is_anybodys_text() -> None:
    assert nature_of("a field of tomorrow") is SAID


def test_what_one_field_names_is_hidden_in_the_fields_and_texts_before_it() -> None:
    hiding = Hiding(SECRETS)
    event = ModelAnswered("q", [f"I take {NAMED}.", {"args": {"password": NAMED}}], {"k": NAMED}, 1, NAMED)
    shown = hiding.event(event)
    assert isinstance(shown, ModelAnswered)
    assert shown.redacted == ("error", "messages", "usage")
    assert NAMED not in str(shown)


def test_a_name_that_stands_twice_in_a_json_text_hides_both_values() -> None:
    hiding = Hiding(Secrets(), MAIL)
    for said in ('{"body": "first-own-text", "body": null}', '{"body": 1, "body": "first-own-text"}'):
        assert "first-own-text" not in str(hiding.value({"name": "mail", "args": said}))
        assert "first-own-text" not in str(hiding.value(said, tool="mail"))


def test_a_piece_of_a_stream_is_hidden_as_a_whole_if_some_tool_redacts() -> None:
    piece = {"name": None, "args": 'dy": "an own text', "index": 0}
    assert Hiding(Secrets(), MAIL).value(piece)["args"] == MARK
    assert Hiding(SECRETS).value(piece) is piece


def test_a_value_of_the_principal_that_holds_the_mark_counts_as_hidden_when_a_run_begins_anew() -> None:
    event = of_kind(KINDS["RunStarted"], "principal", {"user": "alice", "ward": MARK, "list": [MARK]})
    shown = Hiding(SECRETS).event(event)
    assert shown.redacted == ("principal.list", "principal.ward")  # type: ignore[union-attr]


# ---- what is remembered ---------------------------------------------------------------------------


def test_what_a_redactor_left_is_forgotten_and_what_it_changed_or_a_name_held_is_not() -> None:
    remembered = Remembered()
    remembered.take(["left as it is", "to be changed"], Why.GIVEN)
    remembered.take(["under a name"], Why.NAMED)
    remembered.settled(
        {"a": "left as it is", "b": "to be changed", "c": "under a name"},
        {"a": "left as it is", "b": "changed", "c": "under a name"},
    )
    assert remembered.values == ("to be changed", "under a name")
    assert remembered.named == ("under a name",)


def test_values_are_remembered_up_to_a_number_and_a_size() -> None:
    remembered = Remembered()
    assert not remembered.take(["short"], Why.NAMED)
    assert remembered.take(["x" * MOST_CHARACTERS], Why.NAMED) and not remembered.full
    assert remembered.take(["another one"], Why.NAMED) and remembered.full
    many = Remembered()
    many.take([f"value {number}" for number in range(10, 10 + MOST_VALUES)], Why.GIVEN)
    assert len(many.values) == MOST_VALUES and not many.full
    assert not many.take(["value 10", "x"], Why.NAMED) and not many.full


FILLINGS: dict[str, list[Any]] = {
    "many": [{"body": f"of no use {number}"} for number in range(MOST_VALUES)],
    "a list": [{"body": [f"of no use {number}" for number in range(MOST_VALUES)]}],
    "characters": [{"body": f"{number}" * MOST_CHARACTERS} for number in range(2)],
    "short ones": [{"body": [NAMED, *map(str, range(3 * MOST_VALUES))]}],
}


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_memory_that_was_filled_up_first_leaves_no_later_value_in_the_record(filling: str) -> None:
    hiding = Hiding(Secrets(), MAIL)
    for given_ in FILLINGS[filling]:
        hiding.value(given_, tool="mail")
    hiding.value({"to": "a", "body": NAMED}, tool="mail")
    for text in (NAMED, {"a": [f"they said: {NAMED}."]}, json.dumps({"a": NAMED}), {NAMED: 1}):
        assert NAMED not in str(hiding.event(PromptGiven("user", text)))
    decided = {"call": "0123456789abcdef.0", "tool": "mail", "seq": 1}
    assert hiding.event(RunEnded("done", None)) == RunEnded("done", None)
    assert hiding.value(decided)["seq"] == 1


def test_a_number_a_truth_and_an_id_that_are_secret_are_hidden() -> None:
    hiding = Hiding(SECRETS, {})
    assert hiding.value({"password": True, "api_key": 0}) == {"password": MARK, "api_key": MARK}
    own = "123e4567-e89b-12d3-a456-426614174000"
    hiding.value({"password": own})
    ended = of_kind(KINDS["IsolateEnded"], "answers", [[{"error": own}]])
    assert own not in str(hiding.event(ended))


def test_threads_that_remember_at_once_lose_nothing() -> None:
    remembered = Remembered()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: remembered.take([f"a value {n}"], Why.NAMED), range(200)))
    assert len(remembered.values) == 200


def test_a_session_is_remembered_and_of_too_many_the_ones_used_least_lately_are_not() -> None:
    sessions = Sessions()
    first = sessions.of("first")
    for number in range(999):
        sessions.of(str(number))
    assert sessions.of("first") is first
    sessions.of("one more")
    assert sessions.of("first") is first
    for number in range(1000):
        sessions.of(f"more {number}")
    assert sessions.of("first") is not first


# ---- what must not be hidden ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["x*", "(a|)", ".", ".+", "[a-z]+", r"\w{3}", "redacted", "allow", "Call"]
)
def test_a_pattern_that_would_hide_everything_or_words_of_ours_does_not_load(pattern: str) -> None:
    with pytest.raises(SettingsError, match="pattern 1 matches"):
        make_guard(secrets={"patterns": [pattern]})


@given(st.sampled_from(["[0-9a-f]{8,}", r"\d{5}", "[A-Z0-9-]{6,}", r"\b\d{13,19}\b"]))
@settings(max_examples=10, deadline=None)
def test_a_broad_pattern_breaks_no_key_id_or_digest_and_no_decision(pattern: str) -> None:
    guard = make_guard(secrets={"patterns": [pattern]})
    try:
        run = guard.begin_run()
        assert guard.execute(run, call("look", what="plain words"), lambda _: "fine") == "fine"
        for _ in range(11):  # the last one is told when there is room again: a moment, of nineteen digits
            with contextlib.suppress(DeniedError):
                guard.execute(run, call("mail", to="a@acme.example"), lambda _: 1)
        guard.end_run(run)
        record = guard.runs.get(run.id)
        assert record.replay().identical and record.replay().decisions == 12
        assert guard.runs.get(run.id).events[-1].event == RunEnded("done", None)
    finally:
        guard.close()


@given(st.text(alphabet="abxyAB01 .=\n", max_size=40))
def test_patterns_asked_together_find_what_each_finds_alone(text: str) -> None:
    patterns = ["(?i)ab", "x|yy", r"^0.*1$", r"(?P<a>b)\.", r"\bxx", "a(?-s:.)b"]
    one_by_one = text
    for pattern in patterns:
        one_by_one = Secrets([pattern, "never there"]).text(one_by_one)
    together = Secrets(patterns)
    assert (together.text(text) == text) == all(Secrets([one]).text(text) == text for one in patterns)
    assert (together.text(text) == text) == (one_by_one == text)


LOOKED_AT = (
    "look_up",
    "at wisteria lane 4",
    r"at wisteria\u0020lane",
    "password: hunter2",
    "sk-abcdefgh12",
    "é" * 60,
    "x" * 101,
    "",
)


@given(st.lists(st.tuples(st.sampled_from(LOOKED_AT), st.booleans(), st.booleans()), max_size=12))
def test_a_text_that_was_found_clean_is_looked_at_anew_for_whatever_else_is_looked_for(
    asked: list[tuple[str, bool, bool]],
) -> None:
    lasting = Secrets([r"sk-[a-z0-9]{8,}"], ["password"])
    for text, free, known in asked:
        values = ("wisteria lane",) if known else ()
        fresh = Secrets([r"sk-[a-z0-9]{8,}"], ["password"])
        assert lasting.text(text, values=values, free=free) == fresh.text(text, values=values, free=free)


def test_no_more_clean_texts_are_remembered_than_a_bound() -> None:
    secrets = Secrets([r"sk-[a-z0-9]{8,}"])
    for number in range(10_000):
        assert secrets.text(f"text {number}") == f"text {number}"
    assert len(secrets._clean[True]) <= 4096
    assert secrets.text("x" * 200) == "x" * 200 and "x" * 200 not in secrets._clean[True]
