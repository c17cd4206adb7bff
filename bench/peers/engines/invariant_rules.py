"""Invariant's LocalPolicy over a trace of one message: what it is made for, flows, nothing here uses."""

import json

from invariant.analyzer import LocalPolicy

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return the analysis of a call as the one message of its trace; an error is a refusal."""
    names = json.dumps(list(tools))
    rules = [
        f'raise "closed" if:\n    (call: ToolCall)\n    call.function.arguments["env"] == "{CLOSED}"\n',
        f'raise "unknown" if:\n    (call: ToolCall)\n    not (call.function.name in {names})\n',
    ]
    for name, checks in tools.items():
        conditions = " and ".join(_condition(check) for check in checks)
        rules.append(
            f'raise "{name}" if:\n    (call: ToolCall)\n    call.function.name == "{name}"\n'
            f"    not ({conditions})\n"
        )
    policy = LocalPolicy.from_string("\n".join(rules))

    def allowed(call: Call) -> bool:
        asked = {"name": call.tool, "arguments": call.arguments}
        message = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": asked}],
        }
        return not policy.analyze([message]).errors

    return allowed


def _condition(check: Check) -> str:
    value = f'call.function.arguments["{check.parameter}"]'
    if check.kind == "one of":
        return f"({value} in {json.dumps(check.among)})"
    if check.kind == "begins":
        return f"match({json.dumps(check.text)}, {value})"
    if check.kind == "pattern":
        return f"match({json.dumps(check.text + '$')}, {value})"
    if check.kind == "between":
        return f"({value} >= {check.low}) and ({value} <= {check.high})"
    return f"(len([one for one in {value} if not (one in {json.dumps(check.among)})]) == 0)"
