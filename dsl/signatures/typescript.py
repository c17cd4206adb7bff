"""From `takes` to TypeScript: what code in an isolate may call, as declarations that a model reads."""

import json
from collections.abc import Iterator, Mapping, Sequence

from ringfence.dsl.plan import Parameter, ToolPlan
from ringfence.dsl.signatures.hosted import ANY_RECORD, Hosted, Member, members_of
from ringfence.dsl.signatures.shapes import shape_of
from ringfence.dsl.signatures.words import remark, sentence
from ringfence.dsl.types import Type, size_text

_KINDS = {"integer": "number", "number": "number", "boolean": "boolean", "record": ANY_RECORD}
_UNKNOWN = Hosted()
_LONGEST_DEFAULT = 60


def declaration(tools: Sequence[ToolPlan], hosted: Mapping[str, Hosted] | None = None) -> str:
    """Return `declare const tools: { … };`: one signature for each tool, under the policy's name.

    Args:
        hosted: The policy's name of a tool -> what the host knows of it.
    """
    lines = [line for tool in tools for line in _signature(tool, (hosted or {}).get(tool.name, _UNKNOWN))]
    return "\n".join(["declare const tools: {", *(f"  {line}" for line in lines), "};"])


def _signature(tool: ToolPlan, hosted: Hosted) -> Iterator[str]:
    if told := _comment(tool, hosted):
        yield f"/** {told} */"
    if tool.parameters is None:
        members = list(members_of(hosted))
    else:
        members = [_member(one, hosted) for one in tool.parameters.values()]
    if not members:
        yield f"{tool.name}(args?: {'{}' if hosted.schema else ANY_RECORD}): Promise<any>;"
        return
    yield f"{tool.name}(args{'?' if all(one.optional for one in members) else ''}: {{"
    yield from (f"  {member}" for member in members)
    yield "}): Promise<any>;"


def _comment(tool: ToolPlan, hosted: Hosted) -> str:
    bounds, said = tool.obligations, []
    if bounds.max_rows is not None:
        said.append(f"at most {bounds.max_rows} {'row' if bounds.max_rows == 1 else 'rows'}")
    if bounds.max_bytes is not None:
        said.append(f"at most {size_text(bounds.max_bytes)}")
    told = [sentence(tool.description or hosted.description)]
    told += [f"Its result: {', '.join(said)}."] if said else []
    return " ".join(one for one in told if one)


def _member(parameter: Parameter, hosted: Hosted) -> Member:
    shape, name = shape_of(parameter), parameter.name
    optional = parameter.optional and name not in hosted.must_be_given
    told = [remark(shape)]
    if optional and name in hosted.defaults:
        default = json.dumps(hosted.defaults[name]).replace("\x7f", "\\u007f")
        told += [f"{default} if it is missing"] if len(default) <= _LONGEST_DEFAULT else []
    type_ = f"{_type(shape)} | null" if optional else _type(shape)
    return Member(name, type_, optional, ", ".join(one for one in told if one))


def _type(shape: Type) -> str:
    return _KINDS.get(shape.kind, "string") + ("[]" if shape.is_list else "")
