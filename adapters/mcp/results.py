"""Where the value sits in what a server answers: all that the client would be shown is in it.

The text and the structured form of one answer are one value; whatever is more than that (images, embedded
resources, links, annotations) makes the whole answer the value, which can be labelled, but not cut.
"""

import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from ringfence.dsl.canonical import loads_strict, same
from ringfence.dsl.plan import Json, ToolPlan
from ringfence.engine.enforcement.tool_results import ResultLens

_LONGER = 4
"""So many times as long as its value in its shortest form a text may be, laid out for people."""
_SHORT = 1_024
_WRAPPED = "result"
"""Under this servers wrap a structured value that is no record."""


def is_limited(tool: ToolPlan | None) -> bool:
    """Say whether the policy may cut or pad the tool's results, or says what they are."""
    if tool is None:
        return True
    limits = tool.obligations
    cut = (limits.max_rows, limits.max_bytes, limits.step_bytes)
    return any(one is not None for one in cut)


def is_free(tool: ToolPlan | None) -> bool:
    """Say whether the policy lets a tool say what it likes: its results are neither limited nor labelled.

    SECURITY: what a server says beside its answer (of a failure, of progress, in logs) is limited by nothing
    and carries no label, so it passes only there.
    """
    return tool is not None and not is_limited(tool) and not tool.labels


def bare(result: types.CallToolResult) -> types.CallToolResult:
    """Return the result without what no policy looks at."""
    kept = types.CallToolResult(content=result.content, is_error=result.is_error)
    if "structured_content" in result.model_fields_set:
        kept.structured_content = result.structured_content
    return kept


def value_of(result: types.CallToolResult) -> Json:
    """Return the value: the structured one, the one text, or all of the answer."""
    texts = _texts(result)
    has_structure = "structured_content" in result.model_fields_set and result.structured_content is not None
    if texts is None or (has_structure and not _says_the_same(texts, result.structured_content)):
        return _whole(result)
    if has_structure:
        return _unwrapped(result.structured_content)
    return texts[0] if len(texts) == 1 else list(texts)


def with_value(result: types.CallToolResult, value: Json) -> types.CallToolResult:
    """Return a result like `result` that says `value` in its place, and nothing else."""
    if value == value_of(result):
        return result
    made = made_of(value)
    made.is_error = result.is_error
    structured = result.structured_content
    if structured is not None and not isinstance(value, str):
        wrapped = isinstance(structured, Mapping) and set(structured) == {_WRAPPED}
        made.structured_content = {_WRAPPED: value} if wrapped else value
    return made


def made_of(value: Json) -> types.CallToolResult:
    """Return a result from a value alone."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        texts = value
    else:
        texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return types.CallToolResult(content=[types.TextContent(type="text", text=text) for text in texts])


LENS = ResultLens(get=value_of, set=with_value, make=made_of)


def refusal(text: str) -> types.CallToolResult:
    """Return what the client is told of a call that did not run or failed."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _texts(result: types.CallToolResult) -> list[str] | None:
    """Return the texts, or None if the content is more than plain texts."""
    texts: list[str] = []
    for block in result.content:
        if not isinstance(block, types.TextContent) or block.annotations is not None or block.meta:
            return None
        texts.append(block.text)
    return texts


def _says_the_same(texts: list[str], structured: Any) -> bool:
    """Say whether the texts say no more than the structured value."""
    value = _unwrapped(structured)
    parts = value if isinstance(value, list) and len(texts) != 1 else None
    if not texts:
        return True
    if len(texts) == 1:
        return _is(texts[0], structured) or _is(texts[0], value) or value == [texts[0]]
    return parts is not None and len(parts) == len(texts) and all(map(_is, texts, parts))


def _is(text: str, value: Any) -> bool:
    if text == value:
        return True
    # SECURITY: blanks, and zeros behind a number, would be more than the value that limits are about.
    if len(text) > _SHORT and len(text) > _LONGER * len(json.dumps(value, separators=(",", ":"))):
        return False
    try:
        # SECURITY: strictly, or a name that stands twice would show what stands in no value.
        return same(loads_strict(text), value)
    except ValueError:  # a text that is no JSON says something else
        return False


def _unwrapped(structured: Any) -> Any:
    if isinstance(structured, Mapping) and set(structured) == {_WRAPPED}:
        return structured[_WRAPPED]
    return structured


def _whole(result: types.CallToolResult) -> dict[str, Any]:
    return result.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"is_error", "result_type"}
    )
