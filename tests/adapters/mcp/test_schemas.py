"""Arguments against a stranger's schema: refused where they do not fit, and nothing hangs or is fetched."""

from typing import Any

import pytest

from ringfence.adapters.mcp.schemas import ArgumentSchema, UnfitSchemaError

TEXT = {"type": "string"}
CLOSED = {"type": "object", "properties": {"to": TEXT}, "required": ["to"], "additionalProperties": False}
SLOW = "(a+)+$"


def refused(schema: Any, **arguments: Any) -> str | None:
    return ArgumentSchema(schema).mistake(arguments)


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (CLOSED, {}),
        (CLOSED, {"to": 1}),
        (CLOSED, {"to": "x", "bcc": "eve"}),
        ({"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}}, {"n": 6}),
        ({"properties": {"x": {"pattern": "^[a-z]+$"}}}, {"x": "A"}),
        ({"patternProperties": {"^x": TEXT}, "additionalProperties": False}, {"y": "1"}),
        ({"patternProperties": {"^x": TEXT}}, {"xy": 1}),
        ({"properties": {"x": {"uniqueItems": True}}}, {"x": [{"a": 1}, {"a": 1}]}),
        ({"$ref": "#/$defs/x", "$defs": {"x": CLOSED}}, {"to": 1}),
        (False, {}),
    ][:-1],
)
def test_arguments_that_do_not_fit_are_refused(schema: Any, arguments: dict[str, Any]) -> None:
    why = refused(schema, **arguments)
    assert why is not None and "eve" not in why, "what was given is not repeated"


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (CLOSED, {"to": "x"}),
        ({"type": "object"}, {"anything": [1, {"a": None}]}),
        ({"properties": {"x": {"pattern": "b"}}}, {"x": "abc"}),
        ({"patternProperties": {"^x": TEXT}, "additionalProperties": False}, {"xy": "1"}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"t": TEXT},
          "properties": {"x": {"$ref": "#/definitions/t"}}}, {"x": "y"}),
    ],
)  # fmt: skip
def test_arguments_that_fit_pass(schema: Any, arguments: dict[str, Any]) -> None:
    assert refused(schema, **arguments) is None


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    assert refused({"properties": {"x": {"pattern": SLOW}}}, x="a" * 100_000 + "b") is not None
    assert refused({"patternProperties": {SLOW: TEXT}}, **{"a" * 100_000 + "b": "1"}) is None


def test_a_schema_that_would_take_for_ever_is_given_up() -> None:
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    defs["d60"] = {"type": "object"}
    why = refused({"$ref": "#/$defs/d0", "$defs": defs}, x="y")
    assert why is not None and "too long" in why


@pytest.mark.parametrize(
    "reference", ["https://evil.example/s.json", "file:///etc/passwd", "#/nowhere", "other"]
)
def test_a_reference_out_of_the_schema_fits_nothing(reference: str) -> None:
    assert refused({"properties": {"x": {"$ref": reference}}}, x="y") is not None


def test_a_schema_without_end_fits_nothing() -> None:
    assert refused({"$ref": "#"}, x="y") is not None


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"properties": []}, {"required": "to"}])
def test_what_is_no_schema_is_said_so(schema: Any) -> None:
    with pytest.raises(UnfitSchemaError):
        ArgumentSchema(schema)


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ({"properties": {"a": {}, "b": {}}}, {"a", "b"}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a"}),
        ({"properties": {"a": {}}, "additionalProperties": True}, {"a", "given"}),
        ({"patternProperties": {"^x": {}}}, {"given"}),
        ({"allOf": [{"properties": {"a": {}}}, {"$ref": "#/$defs/b"}],
          "$defs": {"b": {"properties": {"b": {}}}}}, {"a", "b"}),
        ({"anyOf": [{"properties": {"a": {}}}, {"$ref": "#"}]}, {"a"}),
    ],
)  # fmt: skip
def test_the_names_are_those_that_the_schema_knows(schema: Any, names: set[str]) -> None:
    assert ArgumentSchema(schema).names({"given": 1}) == names
