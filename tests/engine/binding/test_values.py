"""What a framework passes is read whole, with the names that a schema shows, and never guessed."""

import enum
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr

from ringfence.engine.binding.values import json_of


class Colour(enum.Enum):
    RED = "red"


class Row(BaseModel):
    model_config = ConfigDict(extra="allow")
    to: str = Field("ann", validation_alias="recipient")
    note: str = Field("unsaid", exclude=True)


class Many(RootModel[list[Row]]):
    pass


@dataclass
class Pair:
    left: Any
    right: Any


class Broken(Mapping[str, int]):
    def __getitem__(self, name: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Colour.RED, "red"),
        (SecretStr("s3cret"), "s3cret"),
        (Row.model_validate({}), {"recipient": "ann", "note": "unsaid"}),
        (Row.model_validate({"cc": 1}), {"recipient": "ann", "note": "unsaid", "cc": 1}),
        (Many([Row.model_validate({})]), [{"recipient": "ann", "note": "unsaid"}]),
        (
            deque([Row.model_validate({}), SecretStr("s3cret")]),
            [{"recipient": "ann", "note": "unsaid"}, "s3cret"],
        ),
        (Pair(1, (2, {3})), {"left": 1, "right": [2, [3]]}),
        ({1: b"x"}, {"1": "x"}),
    ],
)
def test_a_value_is_read_with_all_that_it_holds(value: object, said: object) -> None:
    assert json_of(value) == said


@pytest.mark.parametrize(
    "value",
    [
        iter([1]),
        {1: "a", "1": "b"},
        Row.model_validate({"recipient": "ann", "to": "bob"}).model_copy(update={"recipient": "eve"}),
        Broken(),
        b"\xff",
        object(),
    ],
)
def test_what_cannot_be_read_for_certain_is_described(value: object) -> None:
    said = json_of({"inside": [value]})
    assert isinstance(said, dict)
    assert said["inside"][0].keys() == {"$type", "$repr"}


def test_a_frameworks_own_value_is_read_as_what_it_says() -> None:
    own = {"left": Pair("a", 1), "right": [Pair("b", 2)]}
    assert json_of(own, own=lambda one: one.left if isinstance(one, Pair) else one) == {
        "left": "a",
        "right": ["b"],
    }


def test_a_repr_is_cut_after_what_is_secret_in_it_was_hidden_and_left_whole_where_it_is_counted() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "x" * 195 + "s3cret-word" + "y" * 300

    said = json_of(Odd(), hide=lambda text: text.replace("s3cret-word", "[hidden]"))
    assert isinstance(said, dict)
    assert said["$repr"] == "x" * 195 + "[hidd"
    whole = json_of([Odd()], whole=True)
    assert isinstance(whole, list)
    assert len(whole[0]["$repr"]) == 195 + 11 + 300
