"""Plain functions as a policy's author wants to know them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from ringfence.adapters.callables import guarded
from ringfence.adapters.callables.live import live_tools
from ringfence.dsl.live import parameters_of
from ringfence.dsl.live.takes import Untakable, said, type_of
from tests.guards import make_guard


class Row(BaseModel):
    a: int


@dataclass
class Other:
    row: Row


class Opaque:
    pass


def look(  # type: ignore[no-untyped-def]
    name: Annotated[str, Field(max_length=9)],
    row: Row,
    other: Other,
    opaque: Opaque,
    untyped,
    kind: Literal["a", "b"] = "a",
    perhaps: int | None = None,
    *,
    rows: list[Row] = [],  # noqa: B006 - never called
) -> None:
    """Look at it."""


def test_types_are_those_of_the_signature() -> None:
    (tool,) = live_tools(look)
    assert (tool.name, tool.description, tool.own) == ("look", "Look at it.", True)
    known = parameters_of(tool)
    assert known is not None and not known.open
    assert known.required == {"name", "row", "other", "opaque", "untyped"}
    types = {name: type_of(shape) for name, shape in known.shapes.items()}
    assert {name: said(type) for name, type in types.items() if not isinstance(type, Untakable)} == {
        "name": "text at most 9",
        "row": "record",
        "other": "record",
        "kind": "text",
        "perhaps": "integer",
        "rows": "list of record",
    }
    assert known.shapes["kind"].choices == ("a", "b")


def test_a_function_that_takes_any_argument_is_open() -> None:
    def anything(a: int, **more: Any) -> None: ...

    known = parameters_of(live_tools([anything])[0])
    assert known is not None and known.open and set(known.shapes) == {"a"}


def test_types_that_cannot_be_found_are_not_guessed() -> None:
    def look(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    known = parameters_of(live_tools(look)[0])
    assert known is not None and isinstance(type_of(known.shapes["a"]), Untakable)


def test_a_guarded_function_is_known_by_what_it_guards() -> None:
    (tool,) = live_tools(guarded(make_guard())(look))
    assert tool.name == "look"
    assert tool.schema == live_tools(look)[0].schema


@pytest.mark.parametrize("wrong", [5, [5], Row, [lambda *args: None]])
def test_what_cannot_be_guarded_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        live_tools(wrong)
