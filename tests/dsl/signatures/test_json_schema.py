"""The schema of a tool's arguments: what the policy takes fits it, so it keeps no good call away."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.compile.canonicalisers import canonicaliser
from ringfence.dsl.plan import Json, UnfitError
from ringfence.dsl.signatures import json_schema
from ringfence.dsl.signatures.shapes import shape_of
from tests.dsl.signatures.test_typescript import parameter, tool, written

SMALL = st.sampled_from(
    ["text at most 3", "text at most 5 bytes", "line at most 4", "list of integer at most 2"]
)
values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["a@b.example", "https://a.example/%41", "2026-11-23", "two\nlines", "x" * 70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)

_KINDS: dict[str, Any] = {"string": str, "boolean": bool, "array": list, "object": dict}


def fits(schema: dict[str, Any], value: Json) -> bool:
    """Say whether a value fits, of the words of JSON Schema that are used; `format` only annotates."""
    kind = schema["type"]
    if kind in ("integer", "number"):
        if type(value) is float and kind == "integer":
            return value.is_integer()
        return type(value) in (int, float)
    if type(value) is not _KINDS[kind]:
        return False
    if kind == "string":
        return "maxLength" not in schema or len(value) <= int(schema["maxLength"])
    if kind == "array":
        return len(value) <= schema.get("maxItems", len(value)) and all(
            fits(schema["items"], v) for v in value
        )
    known = schema.get("properties")
    if known is None:
        return True
    strange = schema["additionalProperties"] is False and value.keys() - known.keys()
    given = all(name in value for name in schema.get("required", ()))
    return not strange and given and all(fits(known[name], one) for name, one in value.items())


@settings(max_examples=400)
@given(written() | SMALL, values)
def test_what_the_policy_takes_fits_the_schema(type_: str, value: Json) -> None:
    one = parameter("a", type_, False)
    schema = json_schema(tool("it", None, {"a": one}, None))
    try:
        canonicaliser(shape_of(one))(value)
    except UnfitError:
        return
    assert fits(schema, {"a": value})


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("text at most 3", "abc", "abcd"),
        ("text", "", 1),
        ("integer", 5.0, 5.5),
        ("number", 5.5, "5"),
        ("boolean", True, 1),
        ("list of text at most 2", ["a", "b"], ["a", "b", "c"]),
        ("list of integer", [1], ["1"]),
        ("record", {"a": 1}, []),
    ],
)
def test_the_schema_says_types_and_bounds(type_: str, good: Json, bad: Json) -> None:
    schema = json_schema(tool("it", None, {"a": parameter("a", type_, False)}, None))
    assert fits(schema, {"a": good}) and not fits(schema, {"a": bad})


def test_only_what_is_taken_fits_and_what_is_optional_may_be_missing() -> None:
    takes = {"a": parameter("a", "text", False), "b": parameter("b", "text", True)}
    schema = json_schema(tool("it", None, takes, None))
    assert fits(schema, {"a": ""}) and fits(schema, {"a": "", "b": ""})
    assert not fits(schema, {"b": ""}) and not fits(schema, {"a": "", "c": ""})
    assert not fits(json_schema(tool("it", None, None, None)), {"a": ""})
