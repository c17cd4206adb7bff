"""Microsoft's agent-os-kernel by a policy document: one condition per rule, so a tool's checks deny."""

import re
from typing import Any

from agent_os.policies import PolicyCondition, PolicyDocument, PolicyEvaluator, PolicyRule

from bench.peers.engines.agent_os_shared import list_pattern
from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return the evaluator of one document; the arguments are named `TOOL.ARGUMENT`."""
    rules = [_rule("closed", "env", "eq", CLOSED, "deny", 100)]
    for name, checks in tools.items():
        for check in checks:
            field = f"{name}.{check.parameter}"
            for operator, value in _broken(check):
                rules.append(_rule(f"{field} {operator}", field, operator, value, "deny", 50))
    rules.append(_rule("known", "tool_name", "in", list(tools), "allow", 1))
    document = PolicyDocument(name="peers", rules=rules, defaults={"action": "deny"})
    evaluator = PolicyEvaluator(policies=[document])

    def allowed(call: Call) -> bool:
        context: dict[str, Any] = {"tool_name": call.tool, "env": call.arguments["env"]}
        for name, value in call.arguments.items():
            context[f"{call.tool}.{name}"] = value
        return bool(evaluator.evaluate(context).allowed)

    return allowed


def _rule(name: str, field: str, operator: str, value: object, action: str, priority: int) -> Any:
    condition = PolicyCondition(field=field, operator=operator, value=value)
    return PolicyRule(name=name, condition=condition, action=action, priority=priority)


def _broken(check: Check) -> list[tuple[str, object]]:
    if check.kind == "one of":
        return [("not_in", list(check.among))]
    if check.kind == "begins":
        return [("matches", f"^(?!{re.escape(check.text)})")]
    if check.kind == "pattern":
        return [("matches", f"^(?!{check.text}$)")]
    if check.kind == "between":
        return [("lt", check.low), ("gt", check.high)]
    return [("matches", f"^(?!{list_pattern(check.among)[1:]})")]
