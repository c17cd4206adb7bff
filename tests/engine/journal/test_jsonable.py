"""`jsonable`: every value can be written, what JSON can say is unchanged, and nothing grows without bound."""

import datetime
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from ringfence.dsl.canonical import canonical
from ringfence.engine.journal import jsonable as jsonables
from ringfence.engine.journal.jsonable import jsonable

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)
anything = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.datetimes()
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=20,
)


@given(plain)
def test_a_json_value_stays_as_it_is(value: object) -> None:
    assert jsonable(value) == value


@given(anything)
def test_every_value_can_be_written(value: object) -> None:
    assert canonical(jsonable(value))


def _always_odd(*_: Any) -> Any:
    raise jsonables._OddError


_odd = st.sampled_from(["\ud800", "é" * 60, "é" * 200, "x" * 150])


@given(
    st.lists(anything | _odd) | st.dictionaries(st.text() | _odd | st.integers(), anything | _odd),
    st.integers(8, 300),
)
def test_the_quick_way_says_what_the_long_way_says(value: object, limit_bytes: int) -> None:
    quick = jsonable(value, limit_bytes=limit_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonables, "_copied", _always_odd)
        long = jsonable(value, limit_bytes=limit_bytes)
    assert canonical(quick) == canonical(long)


def test_the_quick_way_copies_all_the_way_down() -> None:
    inner = [1, 2]
    value: dict[str, Any] = {"rows": [{"a": inner}], "pair": (inner, None)}
    said = jsonable(value)
    inner.append(3)
    value["rows"].clear()
    assert said == {"rows": [{"a": [1, 2]}], "pair": [[1, 2], None]}


class Raises:
    def __repr__(self) -> str:
        raise ValueError("no")


class Exits:
    def __repr__(self) -> str:
        raise SystemExit(3)


class NoText:
    def __repr__(self) -> str:
        return 7  # type: ignore[return-value]


class Masked:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no")


class Liar(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")


class Meta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no")


class Odd(metaclass=Meta):
    pass


@pytest.mark.parametrize("make", [Raises, Exits, NoText, Masked, Odd, lambda: Raises, lambda: jsonable])
def test_a_hostile_object_is_described_by_its_type(make: Callable[[], object]) -> None:
    said = jsonable([make()])
    assert canonical(said)
    assert said[0]["$type"]


def test_a_dict_with_hostile_methods_is_read_as_what_it_holds() -> None:
    assert jsonable(Liar(a=1)) == {"a": 1}


def test_a_cycle_is_named_and_a_shared_part_is_not_a_cycle() -> None:
    shared = [1]
    loop: list[object] = [shared, shared]
    loop.append(loop)
    assert jsonable(loop) == [[1], [1], {"$type": "list", "$repr": "(contains itself)"}]


def test_depth_is_bounded() -> None:
    deep: object = "end"
    for _ in range(100_000):
        deep = [deep]
    assert b"deeper than" in canonical(jsonable(deep))


def test_numbers_that_json_cannot_say_are_described() -> None:
    assert jsonable(float("nan")) == {"$type": "float", "$repr": "nan"}
    assert jsonable(2**53) == {"$type": "int", "$repr": "9007199254740992"}
    assert jsonable(10**100_000)["$size"] > 80_000


def test_a_lone_surrogate_is_described_with_its_escape() -> None:
    said = jsonable("a\ud800b")
    assert (said["$type"], said["$repr"]) == ("str", "a\\ud800b")


def test_bytes_are_kept_by_size_and_digest() -> None:
    assert jsonable(b"\xff\x00") == {
        "$type": "bytes",
        "$repr": "b'\\xff\\x00'",
        "$size": 2,
        "$digest": "sha256:" + sha256(b"\xff\x00").hexdigest(),
    }


def test_fifty_megabytes_are_kept_by_size_and_digest() -> None:
    text = "x" * 50_000_000
    said = jsonable(text)
    assert said["$size"] == 50_000_000
    assert said["$digest"] == "sha256:" + sha256(text.encode()).hexdigest()
    assert len(canonical(said)) < 2_000
    inside = jsonable({"rows": [{"page": text}]})
    assert inside["rows"][0]["page"] == said


def test_a_long_list_is_kept_by_size_and_digest_of_its_canonical_form() -> None:
    rows = [{"name": "é" * 30, "id": n} for n in range(30_000)]
    said = jsonable(rows)
    whole = canonical(rows)
    assert (said["$type"], said["$size"]) == ("list", len(whole))
    assert said["$digest"] == "sha256:" + sha256(whole).hexdigest()
    assert len(canonical(said)) < 2_000


def test_a_large_foreign_collection_is_not_asked_to_describe_itself() -> None:
    said = jsonable(deque(range(100_000)))
    assert said == {"$type": "collections.deque", "$size": 100_000, "$repr": "(too large to describe)"}


def test_keys_that_are_no_text_are_kept_as_pairs() -> None:
    assert jsonable({1: "a"}) == {"$type": "dict", "$items": [[1, "a"]]}
    assert jsonable({"\ud800": 1})["$items"][0][1] == 1


def test_sets_are_said_in_one_order() -> None:
    assert jsonable({3, 1, 2}) == {"$type": "set", "$items": [1, 2, 3]}


class Account(BaseModel):
    name: str
    token: SecretStr
    hidden: str = Field(default="no", exclude=True)


@dataclass
class Row:
    id: int
    secret: str = field(default="s", repr=False)


def test_models_dataclasses_and_mappings_are_said_by_their_parts() -> None:
    said = jsonable(Account(name="a", token=SecretStr("s3cret")))
    assert said["$type"].endswith("Account")
    assert said["$value"]["name"] == "a"
    assert "hidden" not in said["$value"]
    assert b"s3cret" not in canonical(said)
    assert jsonable(Row(3))["$value"] == {"id": 3}
    assert jsonable(MappingProxyType({"a": 1}))["$value"] == {"a": 1}


def test_other_values_are_said_by_a_bounded_repr_and_a_digest() -> None:
    said = jsonable(datetime.date(2026, 11, 23))
    assert said["$type"] == "datetime.date"
    assert said["$repr"] == "datetime.date(2026, 11, 23)"
    assert len(jsonable(ValueError("x" * 10_000))["$repr"]) == 500


def test_an_object_without_a_repr_of_its_own_is_said_without_its_address() -> None:
    assert jsonable(object()) == {"$type": "object"}
