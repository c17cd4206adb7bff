"""From `takes` to TypeScript: what code in an isolate may call, as declarations that a model reads."""

from collections.abc import Iterator, Mapping, Sequence

from ringfence.dsl.plan import Parameter, ToolPlan
from ringfence.dsl.signatures.shapes import shape_of
from ringfence.dsl.signatures.words import remark, sentence
from ringfence.dsl.types import Type, size_text

_ANY_RECORD = "{ [name: string]: any }"
_KINDS = {
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "record": _ANY_RECORD,
}


def declaration(tools: Sequence[ToolPlan], said: Mapping[str, str] | None = None) -> str:
    """Return `declare const tools: { … };`: one signature for each tool, under the policy's name.

    Args:
        said: The policy's name of a tool -> what the host says that it does, where the policy says nothing.
    """
    lines = [line for tool in tools for line in _signature(tool, (said or {}).get(tool.name))]
    return "\n".join(["declare const tools: {", *(f"  {line}" for line in lines), "};"])


def _signature(tool: ToolPlan, said: str | None) -> Iterator[str]:
    if told := _comment(tool, said):
        yield f"/** {told} */"
    if tool.parameters is None:
        yield f"{tool.name}(args?: {_ANY_RECORD}): Promise<any>;"
        return
    required = any(not one.optional for one in tool.parameters.values())
    yield f"{tool.name}(args{'' if required else '?'}: {{"
    for one in tool.parameters.values():
        yield f"  {_member(one)}"
    yield "}): Promise<any>;"


def _comment(tool: ToolPlan, said: str | None) -> str:
    told = [sentence(tool.description or said or "")]
    bounds = tool.obligations
    if bounds.max_rows is not None:
        told.append(f"Gives at most {bounds.max_rows} {'row' if bounds.max_rows == 1 else 'rows'}.")
    if bounds.max_bytes is not None:
        told.append(f"Gives at most {size_text(bounds.max_bytes)}.")
    return " ".join(one for one in told if one)


def _member(parameter: Parameter) -> str:
    shape = shape_of(parameter)
    told = remark(shape)
    # A literal `{ __proto__: … }` would set the prototype; the computed name is a member like any other.
    name = '["__proto__"]' if parameter.name == "__proto__" else parameter.name
    optional = "?" if parameter.optional else ""
    return f"{name}{optional}: {_type(shape, optional=parameter.optional)};{f' // {told}' if told else ''}"


def _type(shape: Type, *, optional: bool) -> str:
    one = _KINDS.get(shape.kind, "string") + ("[]" if shape.is_list else "")
    return f"{one} | null" if optional else one
