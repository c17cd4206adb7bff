"""What a model is told of every tool of a policy that runs in an isolate, as one text."""

import json
from collections.abc import Iterator
from pathlib import Path

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.dsl.signatures import declaration, description_of, json_schema

HERE = Path(__file__).parent


def plan_of(text: str, name: str = "tools.fence") -> Plan:
    """Return the plan of a policy whose scripts are all one function."""
    loaded = load_text(text, name, read=lambda _: "(args) => args")
    assert loaded.plan is not None, loaded.diagnostics
    return loaded.plan


def told(path: Path) -> str:
    """Return schemas, signatures and descriptions, in the order of the names."""
    return "\n".join(_parts(plan_of(path.read_text(encoding="utf-8"), path.name)))


def _parts(plan: Plan) -> Iterator[str]:
    tools = [plan.tools[name] for name in sorted(plan.tools)]
    yield "==== TypeScript"
    yield declaration(tools)
    for tool in tools:
        yield f"==== JSON Schema of {tool.bound}"
        yield json.dumps(json_schema(tool), indent=1, ensure_ascii=False)
    for tool in tools:
        if tool.isolated is not None:
            yield f"==== description of {tool.bound}"
            yield description_of(plan, tool)
