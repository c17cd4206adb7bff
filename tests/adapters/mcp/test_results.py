"""The value of an answer holds all that is shown of it; cut, it shows no more than its value."""

from typing import Any

import mcp_types as types
import pytest

from ringfence.adapters.mcp.results import LENS, bare, value_of
from ringfence.dsl.plan import Obligations
from ringfence.engine.decision.results import RefusedResultError, bound_result


def answer(*texts: str, **more: Any) -> types.CallToolResult:
    content: Any = [types.TextContent(type="text", text=text) for text in texts]
    return types.CallToolResult(content=content + more.pop("blocks", []), **more)


def shown(result: types.CallToolResult) -> str:
    return result.model_dump_json(exclude_none=True)


LINK = types.ResourceLink(type="resource_link", name="x", uri="file:///etc/passwd")
IMAGE = types.ImageContent(type="image", data="aGk=", mime_type="image/png")
EMBEDDED = types.EmbeddedResource(
    type="resource", resource=types.TextResourceContents(uri="file:///x", text="inside")
)
NOTED = types.TextContent(type="text", text="x", annotations=types.Annotations(audience=["user"]))

VALUES: list[tuple[types.CallToolResult, Any]] = [
    (answer("a"), "a"),
    (answer("a", "b"), ["a", "b"]),
    (answer(), []),
    (answer('{"a": 1}', structured_content={"a": 1}), {"a": 1}),
    (answer("hi", structured_content={"result": "hi"}), "hi"),
    (answer("[1, 2]", structured_content={"result": [1, 2]}), [1, 2]),
    (answer("1", "2", structured_content={"result": [1, 2]}), [1, 2]),
    (answer(structured_content={"a": 1}), {"a": 1}),
]


@pytest.mark.parametrize(("result", "value"), VALUES)
def test_text_and_structure_that_say_the_same_are_one_value(result: types.CallToolResult, value: Any) -> None:
    assert value_of(result) == value


@pytest.mark.parametrize(
    "result",
    [
        answer("more than that", structured_content={"a": 1}),
        answer('{"a": 2, "a": 1}', structured_content={"a": 1}),
        answer("1", "3", structured_content={"result": [1, 2]}),
        answer("a", blocks=[LINK]),
        answer("a", blocks=[IMAGE]),
        answer("a", blocks=[EMBEDDED]),
        answer("a", blocks=[NOTED]),
    ],
)
def test_whatever_else_is_shown_makes_the_whole_answer_the_value(result: types.CallToolResult) -> None:
    value = value_of(result)
    assert isinstance(value, dict) and len(value["content"]) == len(result.content)
    with pytest.raises(RefusedResultError):
        bound_result(value, Obligations(max_rows=1))
    with pytest.raises(RefusedResultError):
        bound_result(value, Obligations(max_bytes=10))


def test_what_no_policy_looks_at_is_not_handed_on() -> None:
    result = types.CallToolResult.model_validate({"content": [], "_meta": {"x": "hidden"}})
    assert "hidden" not in shown(bare(result))


@pytest.mark.parametrize(
    ("result", "limits", "wanted"),
    [
        (answer("abcdef"), Obligations(max_bytes=3), answer("abc")),
        (answer("hihi", structured_content={"result": "hihi"}), Obligations(max_bytes=2), answer("hi")),
        (answer("[1, 2, 3]"), Obligations(max_rows=2), answer("[1, 2]")),
        (answer("a", "b", "c"), Obligations(max_rows=2), answer("a", "b")),
        (
            answer("[1, 2, 3]", structured_content={"result": [1, 2, 3]}),
            Obligations(max_rows=2),
            answer("[1, 2]", structured_content={"result": [1, 2]}),
        ),
        (answer("abc"), Obligations(step_bytes=8), answer("abc     ")),
        (
            answer('{"a": 1}', structured_content={"a": 1}),
            Obligations(step_bytes=8),
            answer('{"a":1} '),
        ),
    ],
)
def test_a_result_that_is_cut_shows_its_value_and_no_more(
    result: types.CallToolResult, limits: Obligations, wanted: types.CallToolResult
) -> None:
    bounded = bound_result(LENS.get(result), limits)
    cut = LENS.set(result, bounded.value)
    assert shown(cut) == shown(wanted)
    assert bound_result(value_of(cut), limits).value == bounded.value
