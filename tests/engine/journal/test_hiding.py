"""What is secret never reaches the file, wherever it stands; what is not secret stays as it is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import KINDS, PromptGiven, RunEvent
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.secrets import MARK, MOST_FINDS, Secrets
from tests.guards import make_guard

CANARY = "sk-live-Ab12Cd34Ef56Gh78"
NUMBER = 4929123412341234
NAMED = "correct horse battery"
SECRETS = Secrets([r"sk-live-[A-Za-z0-9]{16}", r"4929\d{12}"], ["password", "api_key"])
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
    hiding = Hiding(Secrets(), {"mail": frozenset({"body"})})
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
