"""Ringfence: the policy is loaded from its text; the decision has its reasons and is not recorded."""

from bench.decisions import decider
from bench.peers.workload import CLOSED, LABELS, MODES, REGIONS, Call, Check, Decide, Tools
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import ToolCall

_TYPES = {
    "one of": "text",
    "begins": "text",
    "pattern": "text",
    "between": "integer",
    "all of": "list of text",
}


def build(tools: Tools, *, rate: bool = False) -> Decide:
    """Return the decision without a rate limit: what the other engines are asked for as well."""
    decide = decider(_plan(tools, rate=rate))

    def allowed(call: Call) -> bool:
        return decide(ToolCall(call.tool, call.arguments)).allowed

    return allowed


def policy_text(tools: Tools, *, rate: bool) -> str:
    """Return the workload as a policy."""
    lines = [
        "language 1",
        "policy peers",
        *(f"set {name} = [{_listed(among)}]" for name, among in _SETS.items()),
        "capability work is read",
        "agent main { holds work  stop after 10 hours }",
        f'rule closed: deny any tool when env == "{CLOSED}"',
    ]
    for name, checks in tools.items():
        first, *rest = [_condition(check) for check in checks]
        lines += [
            f"tool {name} {{",
            "  needs work",
            f"  takes {', '.join(f'{check.parameter}: {_TYPES[check.kind]}' for check in checks)}, env: text",
            f"  allow when {first}",
            *(f"  require check_{number}: {condition}" for number, condition in enumerate(rest)),
            *(["  rate 1000000 per hour for each workspace"] if rate else []),
            "}",
        ]
    return "\n".join(lines) + "\n"


_SETS = {"modes": MODES, "regions": REGIONS, "all_labels": LABELS}


def _listed(among: tuple[str, ...]) -> str:
    return ", ".join(f'"{one}"' for one in among)


def _condition(check: Check) -> str:
    name = check.parameter
    if check.kind == "one of":
        return f"{name} in {name}s"
    if check.kind == "begins":
        return f'{name} starts with "{check.text}"'
    if check.kind == "pattern":
        return f"{name} matches /{check.text}/"
    if check.kind == "between":
        return f"{name} >= {check.low} and {name} <= {check.high}"
    return f"every label in {name} satisfies (label in all_labels)"


def _plan(tools: Tools, *, rate: bool) -> Plan:
    loaded = load_text(policy_text(tools, rate=rate), name="peers.fence")
    if loaded.plan is None:
        raise RuntimeError("\n".join(f"{found.code} {found.message}" for found in loaded.diagnostics[:5]))
    return loaded.plan
