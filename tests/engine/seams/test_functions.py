"""Functions are marked with their types, offered by plugins, and matched with what a policy declares."""

import dataclasses
from types import ModuleType
from typing import Any

import pytest

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.engine.seams.answerers import answerers
from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.functions import agrees, described
from ringfence.engine.seams.registry import Registry
from ringfence.plugin import Date, Email, Line, Url, policy_function, redactor


def test_annotations_are_the_types_of_a_policy() -> None:
    @policy_function(timeout_ms=70)
    def every(
        a: str, b: Line, c: int, d: float, e: bool, f: Email, g: Url, h: Date, i: list[Email]
    ) -> list[str]:
        return []

    found = described(every)
    assert [kind for _, kind in found.takes] == [
        "text", "line", "integer", "number", "boolean", "email", "url", "date", "list of email",
    ]  # fmt: skip
    assert (found.name, found.gives, found.timeout_ms) == ("every", "list of text", 70)
    assert every("", Line(""), 1, 1.0, True, Email(""), Url(""), Date(""), []) == [], "it stays a function"


def no_type(address) -> bool:  # type: ignore[no-untyped-def]
    return True


def no_answer(address: str):  # type: ignore[no-untyped-def]
    return True


def an_object(address: object) -> bool:
    return True


def a_dict(address: dict[str, str]) -> bool:
    return True


def many(*addresses: str) -> bool:
    return True


def by_name(*, address: str) -> bool:
    return True


async def awaited(address: str) -> bool:
    return True


WRONG = (no_type, no_answer, an_object, a_dict, many, by_name, awaited, len, "x")


@pytest.mark.parametrize("function", WRONG)
def test_what_a_policy_could_not_call_is_refused_where_it_is_defined(function: Any) -> None:
    with pytest.raises(TypeError):
        policy_function()(function)


@pytest.mark.parametrize("timeout_ms", [0, -1, 10_001, 1.5, True, None])
def test_a_time_limit_is_a_whole_number_of_milliseconds_in_bounds(timeout_ms: Any) -> None:
    with pytest.raises(TypeError, match="timeout_ms"):
        policy_function(timeout_ms=timeout_ms)


def test_a_redactor_is_from_text_to_text() -> None:
    def two(one: str, other: str) -> str:
        return one

    def to_list(text: str) -> list[str]:
        return []

    def good(text: str) -> str:
        return text

    for wrong in (two, to_list):
        with pytest.raises(TypeError, match="takes one `str`"):
            redactor("r")(wrong)
    assert described(redactor("other")(good)).name == "other"


class Crm:
    """A plugin that is an object."""

    def __init__(self, *customers: str) -> None:
        self.customers = customers

    @policy_function()
    def is_customer(self, address: Email) -> bool:
        return address in self.customers


def module(name: str, **functions: Any) -> ModuleType:
    made = ModuleType(name)
    for key, value in functions.items():
        setattr(made, key, value)
    return made


def test_a_method_of_an_object_is_offered_bound() -> None:
    registry = Registry(extra=[Crm("ann@acme.example")])
    registry.check()
    found = registry.function("Crm", "is_customer")
    assert found is not None and found.call("ann@acme.example") is True
    (row,) = registry.rows
    assert row.functions == ("is_customer(address: email) gives boolean",) and row.active
    assert registry.has("Crm") and not registry.has("crm")


def hide(text: str) -> str:
    return ""


def test_a_second_redactor_of_one_name_is_refused() -> None:
    one = module("one", hide=redactor()(lambda_free(hide)))
    other = module("other", hide=redactor()(lambda_free(hide)))
    with pytest.raises(SettingsError, match="is brought by `one` too"):
        Registry(extra=[one, other]).check()


def lambda_free(function: Any) -> Any:
    """Return another function that does the same, not yet marked."""
    copy = type(function)(function.__code__, function.__globals__, function.__name__)
    copy.__annotations__ = dict(function.__annotations__)
    return copy


def test_two_functions_of_one_name_in_one_plugin_are_refused() -> None:
    first, second = policy_function()(lambda_free(hide)), policy_function()(lambda_free(hide))
    with pytest.raises(SettingsError, match="two of the name `hide`"):
        Registry(extra=[module("one", a=first, b=second)]).check()


PLAN = """
language 1
policy shop
capability send is external
function is_customer(address: email) gives boolean from "Crm"
function gone(address: email) gives boolean from "Crm"
function lost(address: email) gives boolean from "absent"
function other(address: text at most 20) gives boolean from "Crm"
tool mail {
  needs send
  takes to: email, body: text
  allow when is_customer(to) and gone(to) and lost(to) and other(body)
  redact body with hide
  rate 1 per hour
}
"""


def plan() -> Plan:
    loaded = load_text(PLAN)
    assert loaded.plan is not None
    return loaded.plan


def test_what_agrees_answers_and_what_does_not_is_said_in_words() -> None:
    registry = Registry(extra=[Crm(), module("m", hide=redactor()(lambda_free(hide)))])
    found, wrong = answerers(plan(), registry)
    assert set(found) == {"is_customer", "redact hide"}
    assert found["is_customer"].source == "Crm:is_customer"
    said = "\n".join(wrong)
    assert "`gone`" in said and "offers no such function" in said
    assert "`lost`" in said and "`absent` is not active" in said


def test_a_ceilings_function_is_found_under_its_own_name() -> None:
    own = plan()
    declared = own.functions["is_customer"]
    layered = dataclasses.replace(
        own, functions={"org/is_customer": dataclasses.replace(declared, name="org/is_customer")}
    )
    found, _ = answerers(layered, Registry(extra=[Crm()]))
    assert found["org/is_customer"].source == "Crm:is_customer"


@pytest.mark.parametrize(
    ("written", "offered", "same"),
    [
        ("text", "text", True),
        ("text at most 20 KB", "text", True),
        ("list of email at most 20", "list of email", True),
        ("email", "text", False),
        ("list of text", "text", False),
        ("integer", "number", False),
    ],
)
def test_types_agree_word_for_word_without_their_bounds(written: str, offered: str, same: bool) -> None:
    assert agrees(written, offered) is same
