"""The workload as JSON Schemas: the arguments alone; a dictionary finds the schema of a tool."""

from typing import Any

from bench.peers.workload import CLOSED, Check, Tools


def schemas_of(tools: Tools) -> dict[str, dict[str, Any]]:
    """Return one schema per tool, the rule over all tools in each."""
    return {name: _schema(checks) for name, checks in tools.items()}


def _schema(checks: tuple[Check, ...]) -> dict[str, Any]:
    properties = {check.parameter: _property(check) for check in checks}
    properties["env"] = {"type": "string", "not": {"const": CLOSED}}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _property(check: Check) -> dict[str, Any]:
    if check.kind == "one of":
        return {"enum": list(check.among)}
    if check.kind == "begins":
        return {"type": "string", "pattern": f"^{check.text}"}
    if check.kind == "pattern":
        return {"type": "string", "pattern": f"^{check.text}$"}
    if check.kind == "between":
        return {"type": "integer", "minimum": check.low, "maximum": check.high}
    return {"type": "array", "items": {"enum": list(check.among)}}
