"""Microsoft's agent-os-kernel by its shared evaluator: a rule per tool with all its conditions."""

import re
from typing import Any

from agent_os.policies.shared import Condition, SharedPolicyEvaluator, SharedPolicyRule

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return the evaluator: a rule that denies, one per tool that allows, one that denies the rest."""
    rules = [
        SharedPolicyRule(
            id="closed", action="deny", priority=100, conditions=[Condition("env", "eq", CLOSED)]
        )
    ]
    for name, checks in tools.items():
        conditions = [Condition("tool_name", "eq", name)]
        for check in checks:
            conditions += _conditions(check)
        rules.append(SharedPolicyRule(id=name, action="allow", priority=10, conditions=conditions))
    rules.append(SharedPolicyRule(id="rest", action="deny", priority=0, conditions=[]))
    evaluator = SharedPolicyEvaluator()

    def allowed(call: Call) -> bool:
        return bool(evaluator.evaluate({"tool_name": call.tool, **call.arguments}, rules).allowed)

    return allowed


def _conditions(check: Check) -> list[Any]:
    name = check.parameter
    if check.kind == "one of":
        return [Condition(name, "in", list(check.among))]
    if check.kind == "begins":
        return [Condition(name, "matches", "^" + re.escape(check.text))]
    if check.kind == "pattern":
        return [Condition(name, "matches", f"^{check.text}$")]
    if check.kind == "between":
        return [Condition(name, "gt", check.low - 1), Condition(name, "lt", check.high + 1)]
    return [Condition(name, "matches", list_pattern(check.among))]


def list_pattern(among: tuple[str, ...]) -> str:
    """Return a pattern of a list of these texts as Python writes it: it has no operator for lists."""
    return rf"^\[('({'|'.join(among)})'(, )?)*\]$"
