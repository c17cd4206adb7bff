"""What is decided is what the function gets, however the framework made it of the model's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, Field, SecretStr, TypeAdapter
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.tools import Tool, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_ai.toolsets.external import TOOL_SCHEMA_VALIDATOR
from pydantic_core import SchemaValidator, core_schema
from typing_extensions import TypedDict

from ringfence.dsl.canonical import same
from ringfence.engine.binding.values import json_of
from ringfence.engine.decision import events as e
from ringfence.testing import Asked
from tests.adapters.pydantic_ai.agents import Notes, asked, events, play, verdicts
from tests.adapters.pydantic_ai.conftest import LoadGuard

MAIL = """tool mail {
  needs work
  takes to: email, copies: list of email optional, days: integer optional
  allow when domain(to) == "acme.example"
}
"""


class Message(BaseModel):
    """Something to send."""

    to: str
    copies: list[str] = []
    days: Annotated[int, Field(validation_alias=AliasChoices("days", "within"))] = 3


class Colour(Enum):
    RED = "red"


@dataclass
class Envelope:
    to: str


class Typed(TypedDict):
    to: str


async def test_the_fields_of_a_lone_model_are_the_arguments(load: LoadGuard) -> None:
    guard, notes = load(MAIL), Notes()

    def mail(message: Message) -> str:
        """Send a mail."""
        return notes.note("mail", message=message)

    await play(
        guard,
        asked("mail", to="ann@acme.example", within="5"),
        asked("mail", to="ann@other.example"),
        tools=[mail],
    )
    assert notes.ran == [("mail", {"message": Message(to="ann@acme.example", days=5)})]
    requested = await events(guard, e.CallRequested)
    assert requested[0].arguments == {"copies": [], "days": 5, "to": "ann@acme.example"}


async def test_a_model_gets_the_canonical_values(load: LoadGuard) -> None:
    guard, notes = load(MAIL), Notes()

    def mail(message: Message) -> str:
        """Send a mail."""
        return notes.note("mail", message=message)

    await play(guard, asked("mail", to="Ann@ACME.example", days=1), tools=[mail])
    assert notes.ran == [("mail", {"message": Message(to="Ann@acme.example", days=1)})]


@pytest.mark.parametrize("kind", [Envelope, Typed])
async def test_so_are_those_of_a_dataclass_and_of_a_typed_dict(load: LoadGuard, kind: Any) -> None:
    guard, notes = load('tool mail { needs work  takes to: text  allow when to == "bob" }\n'), Notes()

    def mail(message: Any) -> str:
        """Send a mail."""
        return notes.note("mail", message=message)

    mail.__annotations__["message"] = kind
    await play(guard, asked("mail", to="bob"), asked("mail", to="eve"), tools=[mail])
    assert notes.ran == [("mail", {"message": TypeAdapter(kind).validate_python({"to": "bob"})})]


async def test_a_nested_model_and_coerced_values_are_decided_as_json(load: LoadGuard) -> None:
    guard = load(
        "tool book { needs work  takes on: text, colour: text, who: record, many: list of integer\n"
        '  allow when on == "2026-11-23" and colour == "red" and who.to == "bob" }\n'
    )
    notes = Notes()

    def book(on: date, colour: Colour, who: Envelope, many: Iterable[int]) -> str:
        """Book it."""
        return notes.note("book", on=on, colour=colour, who=who, many=list(many))

    played = await play(
        guard,
        asked("book", on="2026-11-23", colour="red", who={"to": "bob"}, many=["1", 2]),
        asked("book", on="2026-11-23", colour="red", who={"to": "eve"}, many=[]),
        tools=[book],
    )
    assert played.texts()[1] == ("not authorized", True)
    assert notes.ran == [
        ("book", {"on": date(2026, 11, 23), "colour": Colour.RED, "who": Envelope("bob"), "many": [1, 2]})
    ]


async def test_a_secret_is_decided_as_what_it_is(load: LoadGuard) -> None:
    guard, notes = load('tool login { needs work  takes key: text  allow when key == "right" }\n'), Notes()

    def login(key: SecretStr) -> str:
        """Log in."""
        return notes.note("login", key=key.get_secret_value())

    await play(guard, asked("login", key="right"), asked("login", key="wrong"), tools=[login])
    assert notes.ran == [("login", {"key": "right"})]


async def test_what_the_function_fills_in_is_told_from_what_the_model_wrote(load: LoadGuard) -> None:
    guard, notes = load('tool send { needs work  takes to: text  allow when to != "eve" }\n'), Notes()
    played = await play(guard, [Asked("send", {}, "c1")], asked("send", to="bob"), tools=[notes.send])
    assert notes.ran == [("send", {"to": "bob"})]
    assert [one.failed for one in played.told] == [True, False]


async def test_arguments_that_fit_no_schema_are_refused_on_the_record_and_corrected_by_the_model(
    load: LoadGuard,
) -> None:
    guard, notes = load("tool look { needs work  takes what: text  allow always }\n"), Notes()
    played = await play(
        guard,
        [Asked("look", {"wat": 1}, "c1")],
        [Asked("look", text='{"what": "x"', id="c2")],
        asked("look", what="x"),
        tools=[Tool(notes.look, max_retries=5)],
    )
    assert notes.ran == [("look", {"what": "x"})]
    assert [one.failed for one in played.told] == [True, True, False]
    assert "what" in played.told[0].text, "the framework's own words about the tool's schema"
    assert [verdict for _, verdict in await verdicts(guard)] == ["deny", "deny", "allow"]


async def test_a_tools_own_validator_runs_before_and_a_retry_of_it_is_a_refusal(load: LoadGuard) -> None:
    guard, notes = load("tool look { needs work  takes what: text  allow always }\n"), Notes()

    def valid(ctx: Any, what: str) -> None:
        if what == "bad":
            raise ModelRetry("say something else")

    played = await play(
        guard,
        asked("look", what="bad"),
        asked("look", what="good"),
        tools=[Tool(notes.look, args_validator=valid)],
    )
    assert notes.ran == [("look", {"what": "good"})]
    assert "say something else" in played.told[0].text
    assert [verdict for _, verdict in await verdicts(guard)] == ["deny", "allow"]


ANYTHING = core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema())


class Remote(AbstractToolset[Any]):
    """Tools whose server validates: whatever is written comes through, as from an MCP server."""

    def __init__(self, notes: Notes, validator: SchemaValidator) -> None:
        self._notes = notes
        self._validator = validator

    @property
    def id(self) -> str | None:
        return "remote"

    async def get_tools(self, ctx: Any) -> dict[str, ToolsetTool[Any]]:
        schema = {"type": "object", "properties": {"what": {"type": "string"}}}
        definition = ToolDefinition(name="look", parameters_json_schema=schema)
        return {
            "look": ToolsetTool(
                toolset=self, tool_def=definition, max_retries=1, args_validator=self._validator
            )
        }

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        return self._notes.note(name, **tool_args)


@pytest.mark.parametrize("validator", [TOOL_SCHEMA_VALIDATOR, SchemaValidator(ANYTHING)])
async def test_of_a_tool_that_takes_anything_only_what_its_schema_names_is_let_through(
    load: LoadGuard, validator: SchemaValidator
) -> None:
    guard, notes = (
        load('tool look { needs work  takes what: text  allow when what != "classified" }\n'),
        Notes(),
    )
    played = await play(
        guard,
        asked("look", what="x"),
        asked("look", what="x", force=True),
        asked("look", what=1),
        asked("look", what="classified"),
        toolsets=[Remote(notes, validator)],
    )
    assert notes.ran == [("look", {"what": "x"})]
    assert [one.failed for one in played.told] == [False, True, True, True]


async def test_so_it_is_of_a_function_whose_schema_was_handed_in(load: LoadGuard) -> None:
    guard, notes = load("tool look { needs work  takes what: text  allow always }\n"), Notes()
    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}

    def look(**given: Any) -> str:
        return notes.note("look", **given)

    tool = Tool.from_schema(look, "look", "Look something up.", schema)
    await play(guard, asked("look", what="x"), asked("look", what="x", force=True), tools=[tool])
    assert notes.ran == [("look", {"what": "x"})]


async def test_canonical_values_that_the_functions_schema_would_change_run_nothing(load: LoadGuard) -> None:
    guard, notes = load("tool mail { needs work  takes to: email  allow always }\n"), Notes()

    class Shouting(BaseModel):
        to: Annotated[str, Field(pattern="ACME")]

    def mail(message: Shouting) -> str:
        """Send a mail."""
        return notes.note("mail", message=message)

    played = await play(guard, asked("mail", to="ann@ACME.example"), tools=[mail])
    assert notes.ran == []
    assert played.texts() == [("not authorized", True)]


def test_values_without_a_json_form_are_described_and_never_equal_a_text() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert json_of(Odd())["$repr"] == "?"
    assert json_of({1: "a", "1": "b"})["$type"] == "builtins.dict"
    assert json_of(iter([1]))["$type"] == "builtins.list_iterator"
    assert same(1, 1.0) and not same(1, True) and not same("1", 1)


def test_a_value_that_is_too_deep_is_described() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    assert "$repr" in repr(json_of(deep))
