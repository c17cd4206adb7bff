"""A policy beside the real tools: `takes` may be narrower than a schema, never wider."""

from typing import Any

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.live import LiveTool, parameters_of, shape_of, shapes
from ringfence.dsl.load import Loaded, load_text

CEILING = "language 1\nceiling org\nrule heard: audit full for any tool"


def beside(tool: str, *live: LiveTool, **more: Any) -> Loaded:
    text = f"language 1\npolicy desk\n{tool}\n"
    return load_text(text, "desk.fence", live={one.name: one for one in live}, **more)


def found(loaded: Loaded) -> list[str]:
    return [report.code for report in loaded.diagnostics]


def taking(takes: str, schema: dict[str, Any], *required: str) -> Loaded:
    """Load `tool x` with one parameter `p` beside a live one whose `p` has this schema."""
    whole = {"properties": {"p": schema}, "required": list(required)}
    return beside(f"tool x {{ takes {takes}  allow always  rate 1 per run }}", LiveTool("x", whole))


TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


@pytest.mark.parametrize(
    ("takes", "schema"),
    [
        ("p: text", TEXT),
        ("p: line", TEXT),
        ("p: email", TEXT),
        ("p: text", {"type": "string", "format": "email"}),
        ("p: text", {"type": "string", "enum": ["a"], "pattern": "a"}),
        ("p: text at most 5", {"type": "string", "maxLength": 5}),
        ("p: text at most 5 bytes", {"type": "string", "maxLength": 5}),
        ("p: text", {"type": "string", "maxLength": 2**60}),
        ("p: date", {"type": "string", "maxLength": 10}),
        ("p: integer", NUMBER),
        ("p: number", NUMBER),
        ("p: integer", {"type": ["integer", "string"]}),
        ("p: text", {"anyOf": [TEXT, INTEGER, {"type": "null"}]}),
        ("p: text at most 9", {"anyOf": [{**TEXT, "maxLength": 9}, {**TEXT, "maxLength": 3}]}),
        ("p: list of text at most 3", {"type": "array", "items": TEXT, "maxItems": 3}),
        ("p: list of text", {"type": "array", "items": {"type": "string", "maxLength": 3}}),
        ("p: list of record", {"type": "array", "items": {"type": "object"}}),
        ("p: list of text", {"type": "array"}),
        ("p: record", {"type": "object", "properties": {"a": TEXT}}),
        ("p: boolean optional", {"type": "boolean"}),
        ("p: text", {}),
        ("p: text", True),
        ("p: text", {"$ref": "http://127.0.0.1/x"}),
    ],
)  # fmt: skip
def test_what_is_as_narrow_as_the_schema_is_fine(takes: str, schema: dict[str, Any]) -> None:
    assert found(taking(takes, schema)) == []


@pytest.mark.parametrize(
    ("takes", "schema", "help"),
    [
        ("p: text", INTEGER, "write `p: integer`, or less"),
        ("p: number", INTEGER, "write `p: integer`, or less"),
        ("p: integer", TEXT, "write `p: text`, or less"),
        ("p: text", {"type": "array", "items": TEXT}, "write `p: list of text`, or less"),
        ("p: list of text", TEXT, "write `p: text`, or less"),
        ("p: list of text", {"type": "array", "items": INTEGER}, "write `p: list of integer`, or less"),
        ("p: record", TEXT, "write `p: text`, or less"),
        ("p: line", {"type": "string", "maxLength": 5}, "write `p: line at most 5`, or less"),
        ("p: text at most 6 optional", {**TEXT, "maxLength": 5}, "write `p: text at most 5 optional`, or"),
        ("p: text at most 6 bytes", {"type": "string", "maxLength": 5}, "write `p: text at most 5`, or less"),
        ("p: date", {"type": "string", "maxLength": 9}, "write `p: text at most 9`, or less"),
        ("p: list of text", {"type": "array", "items": TEXT, "maxItems": 3}, "text at most 3`, or"),
        ("p: boolean", {"type": ["string", "integer"]}, "no type says that"),
        ("p: text", {"allOf": [TEXT, INTEGER]}, "no type says that"),
        ("p: text", {"$ref": "#/$defs/none"}, ""),
    ],
)  # fmt: skip
def test_what_is_wider_or_other_is_e118_at_the_parameter(
    takes: str, schema: dict[str, Any], help: str
) -> None:
    loaded = taking(takes, schema)
    if not help:  # what a reference does not lead to lets everything through
        assert found(loaded) == []
        return
    (report,) = loaded.diagnostics
    assert report.code == "E118" and loaded.plan is None
    assert help in report.help
    assert loaded.source.text[report.span.start : report.span.end] == "p"


def test_optional_is_wider_than_needed_unless_null_fits() -> None:
    assert found(taking("p: text optional", TEXT, "p")) == ["E118"]
    assert found(taking("p: text optional", {"type": ["string", "null"]}, "p")) == []
    assert found(taking("p: text", TEXT)) == []


def test_a_parameter_that_the_tool_does_not_have_is_e118_with_the_nearest() -> None:
    tool = "tool x { takes limits: integer  allow always  rate 1 per run }"
    whole = {"properties": {"limit": INTEGER}}
    (report,) = beside(tool, LiveTool("x", whole)).diagnostics
    assert (report.code, report.help) == ("E118", "did you mean `limit`?")
    assert found(beside(tool, LiveTool("x", {**whole, "additionalProperties": True}))) == []
    assert found(beside(tool, LiveTool("x", {**whole, "additionalProperties": False}))) == ["E118"]
    assert found(beside(tool, LiveTool("x", None))) == []  # it has no schema at all
    (report,) = beside(tool, LiveTool("x", {})).diagnostics
    assert report.help == "remove it: the tool takes nothing"


def test_parameters_stand_also_behind_references_and_in_parts() -> None:
    whole = {
        "$ref": "#/$defs/Args",
        "allOf": [{"properties": {"b": TEXT}, "required": ["b"]}],
        "$defs": {"Args": {"properties": {"a": {"$ref": "#/$defs/Id"}}, "required": ["a"]}, "Id": INTEGER},
    }
    known = parameters_of(LiveTool("x", whole))
    assert known is not None and known.required == {"a", "b"}
    assert known.shapes["a"].kinds == {"integer"}
    tool = "tool x { takes a: text, b: text  allow always  rate 1 per run }"
    assert found(beside(tool, LiveTool("x", whole))) == ["E118"]


def test_a_tool_without_takes_has_the_parameters_of_its_schema() -> None:
    assert (
        found(beside("tool x { allow always  rate 1 per run }", LiveTool("x", {"properties": {"p": TEXT}})))
        == []
    )


def test_undeclared_tools_are_one_report_with_all_names() -> None:
    live = [LiveTool(f"tool{number}", None) for number in range(30)]
    (report,) = beside("", *live).diagnostics
    assert report.code == "W212" and report.message.startswith(
        "30 live tools are not declared: `tool0`, `tool1`,"
    )
    assert report.message.endswith(" and 10 more")


def test_a_declared_tool_that_is_not_live_is_w218_and_what_the_policy_brings_itself_is_not() -> None:
    text = """
capability go is read
agent main { holds go  may start helper }
agent helper { holds go }
isolate box { time 1 second }
tool gone is "real-gone" { needs go  allow always  rate 1 per run }
tool read is "mcp/resources/read" { needs go  allow always  rate 1 per run }
tool script { runs "x.js" in box  allow always  rate 1 per run }
"""
    loaded = beside(text, LiveTool("real-gon", None), read=lambda name: "1")
    assert found(loaded) == ["W212", "W218"]
    assert loaded.diagnostics[1].help == "did you mean `real-gon`?"
    assert loaded.plan is not None


def test_nothing_is_compared_where_no_tools_are_shown() -> None:
    assert found(load_text("language 1\npolicy desk\ntool x { allow always  rate 1 per run }")) == []


def test_a_ceiling_is_not_compared() -> None:
    tool = "tool x { allow always  rate 1 per run }"
    loaded = beside(tool, LiveTool("x", None), ceilings=["org.fence"], read=lambda name: CEILING)
    assert found(loaded) == []


def test_a_live_name_cannot_steer_a_terminal() -> None:
    evil = "\x1b[2J\nforged\u202e"
    loaded = beside("tool x { allow always  rate 1 per run }", LiveTool(evil, None), LiveTool("x", None))
    said = draw(loaded.diagnostics)
    assert "\\u001b[2J\\u000aforged\\u202e" in said and "\x1b" not in said
    tool = "tool x { takes limits: integer  allow always  rate 1 per run }"
    said = draw(beside(tool, LiveTool("x", {"properties": {"limit\n\x1b": INTEGER}})).diagnostics)
    assert "\x1b" not in said


def test_a_schema_that_refers_to_itself_or_multiplies_comes_to_an_end() -> None:
    loop: dict[str, Any] = {"$ref": "#"}
    assert shape_of(loop, loop).kinds
    many = {f"d{n}": {"anyOf": [{"$ref": f"#/d{n + 1}"}] * 10} for n in range(15)}
    assert shape_of(many["d0"], many).kinds
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    assert shape_of(deep, deep).kinds == {"list"}


def test_references_that_multiply_are_read_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 8} for i in range(9)}
    schema = {"$defs": levels | {"d9": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/d0"}}}
    monkeypatch.setattr(shapes, "_MOST_PARTS", 100)  # without that, 8 to the 9th
    known = parameters_of(LiveTool("x", schema))
    assert known is not None and known.shapes["p"].plain == "text"


def test_of_two_large_sets_with_nothing_in_common_only_some_names_are_compared_with_all() -> None:
    tools = "\n".join(f"tool tool_{number} {{ allow always  rate 1 per run }}" for number in range(60))
    live = [LiveTool(f"tools_{number}", {}) for number in range(60)]
    gone = [report for report in beside(tools, *live).diagnostics if report.code == "W218"]
    assert len(gone) == 60
    assert sum("did you mean" in (report.help or "") for report in gone) == 20
    assert all(report.help for report in gone)
