"""Policies of any size as .fence text, and calls that fit them: 80 % allowed, the rest refused three ways."""

from dataclasses import dataclass
from random import Random

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import ToolCall

_REGIONS = ("eu", "us", "apac")

_PREDICATES = (
    ("limit: integer", "limit >= 1 and limit <= {n}"),
    ("region: text", "region in regions"),
    ("path: text", "path matches path_{k}"),
    ("names: list of text at most 20", "every name in names satisfies (name in names_{k})"),
    ("body: text at most 20 KB", "size(body) <= 4 KB"),
    ("env: text", 'env != "prod"'),
)
"""Parameter and predicate; a tool has the first three to all six."""


def policy_text(tools: int, *, rate: bool = True) -> str:
    """Return a policy of that many tools, each with three to six predicates and, if wanted, a rate."""
    lines = ["language 1", "policy bench", 'set regions = ["eu", "us", "apac"]']
    for k in range(8):
        names = ", ".join(f'"name_{k}_{i}"' for i in range(20))
        lines += [f"pattern path_{k} = /\\/srv\\/data_{k}\\/[a-z0-9_]+/", f"set names_{k} = [{names}]"]
    lines += ["capability work is read", "agent main { holds work  stop after 10 hours }", ""]
    for number in range(tools):
        lines += _tool(number, rate=rate)
    return "\n".join(lines)


def _tool(number: int, *, rate: bool) -> list[str]:
    used = _used(number)
    takes = ", ".join(parameter for parameter, _ in used)
    fill = {"n": 100 + number % 900, "k": number % 8}
    first, *rest = [predicate.format(**fill) for _, predicate in used]
    return [
        f"tool tool_{number} {{",
        "  needs work",
        f"  takes {takes}, mode: text",
        f"  allow when {first}",
        *(f"  require check_{i}: {predicate}" for i, predicate in enumerate(rest)),
        '  deny when mode == "closed"',
        *(["  rate 1000000 per hour for each workspace"] if rate else []),
        "}",
        "",
    ]


def _used(number: int) -> tuple[tuple[str, str], ...]:
    return _PREDICATES[: 3 + number % 4]


def text_of_lines(lines: int) -> str:
    """Return a policy of about that many lines."""
    tools = 1
    while policy_text(tools).count("\n") < lines:
        tools += max(1, (lines - policy_text(tools).count("\n")) // 12)
    return policy_text(tools)


def plan_of(tools: int) -> Plan:
    """Return the compiled policy, loaded as a user's would be."""
    loaded = load_text(policy_text(tools), name="bench.fence")
    if loaded.plan is None:
        raise RuntimeError("\n".join(f"{found.code} {found.message}" for found in loaded.diagnostics[:5]))
    return loaded.plan


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls against a policy of `policy_text`."""

    all: tuple[ToolCall, ...]
    allowed: tuple[ToolCall, ...]


def calls_for(tools: int, *, count: int, seed: int = 1) -> Calls:
    """Return calls spread evenly over the tools: 80 % allowed, 10 % bad, 5 % denied, 5 % unknown."""
    random = Random(seed)
    kinds = random.choices(("fine", "bad", "closed", "unknown"), (80, 10, 5, 5), k=count)
    made = [_call(random.randrange(tools), kind, index) for index, kind in enumerate(kinds)]
    fine = tuple(call for call, kind in zip(made, kinds, strict=True) if kind == "fine")
    return Calls(tuple(made), fine)


def _call(number: int, kind: str, index: int) -> ToolCall:
    k = number % 8
    values: dict[str, Json] = {
        "limit": -1 if kind == "bad" else 1 + index % 100,
        "region": _REGIONS[index % 3],
        "path": f"/srv/data_{k}/file_{index % 50}",
        "names": [f"name_{k}_{index % 20}", f"name_{k}_{(index + 7) % 20}"],
        "body": "a summary of the last week, as asked",
        "env": "test",
    }
    arguments = {name.partition(":")[0]: values[name.partition(":")[0]] for name, _ in _used(number)}
    arguments["mode"] = "closed" if kind == "closed" else "open"
    return ToolCall("no_such_tool" if kind == "unknown" else f"tool_{number}", arguments, call_id=f"c{index}")
