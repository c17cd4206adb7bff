"""The workload that every engine is given: tools with three to six checks, one rule over all, 10,000 calls.

Standard library only, because it is imported in the environment of each engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Value = str | int | list[str]
Kind = Literal["one of", "begins", "pattern", "between", "all of"]
Decide = Callable[["Call"], bool]
"""Whether the call is allowed."""

MODES = ("read", "list", "stat", "head")
REGIONS = ("eu", "us", "apac")
LABELS = ("alpha", "beta", "gamma", "delta")
REF = "[a-z]{3}-[0-9]{4}"
"""A regular expression; it is to fit the whole text."""

CLOSED = "prod"
"""No tool may be called with this `env`: the rule over all tools."""

COUNT = 10_000
BLOCK = 20
"""In each block of so many calls, 80 % are allowed, 10 % have a bad argument, 5 % denied, 5 % of no tool."""

_KINDS = ("fine",) * 16 + ("bad",) * 2 + ("closed", "unknown")
_BAD: dict[str, Value] = {
    "mode": "delete",
    "path": "/etc/shadow",
    "ref": "BAD_1",
    "top": 5_000,
    "labels": ["alpha", "omega"],
    "region": "mars",
}


@dataclass(frozen=True, slots=True)
class Check:
    """What one argument must be; `among` for the sets, `text` for the rest, `low` and `high` for numbers."""

    parameter: str
    kind: Kind
    among: tuple[str, ...] = ()
    text: str = ""
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call, and whether the workload says that it is allowed."""

    tool: str
    arguments: dict[str, Value]
    allowed: bool


Tools = dict[str, tuple[Check, ...]]


def tools_of(count: int) -> Tools:
    """Return so many tools; paths and upper bounds differ from tool to tool."""
    return {f"tool_{number}": _checks(number) for number in range(count)}


def _checks(number: int) -> tuple[Check, ...]:
    every = (
        Check("mode", "one of", among=MODES),
        Check("path", "begins", text=f"/srv/p{number}/"),
        Check("ref", "pattern", text=REF),
        Check("top", "between", low=1, high=100 + number % 900),
        Check("labels", "all of", among=LABELS),
        Check("region", "one of", among=REGIONS),
    )
    first = number % len(every)
    return (every[first:] + every[:first])[: 3 + number % 4]


def calls_for(tools: Tools, count: int = COUNT, *, seed: int = 8) -> list[Call]:
    """Return calls spread evenly over the tools, each with exactly the arguments that its tool takes."""
    random = Random(seed)
    names = list(tools)
    calls: list[Call] = []
    while len(calls) < count:
        kinds = list(_KINDS)
        random.shuffle(kinds)
        calls += [_call(random.choice(names), kind, tools, random) for kind in kinds]
    return calls[:count]


def _call(tool: str, kind: str, tools: Tools, random: Random) -> Call:
    checks = tools[tool]
    arguments: dict[str, Value] = {check.parameter: _fitting(check, random) for check in checks}
    arguments["env"] = CLOSED if kind == "closed" else random.choice(("dev", "stage"))
    if kind == "bad":
        wrong = random.choice(checks).parameter
        arguments[wrong] = _BAD[wrong]
    return Call(f"no_{tool}" if kind == "unknown" else tool, arguments, kind == "fine")


def _fitting(check: Check, random: Random) -> Value:
    if check.kind == "one of":
        return random.choice(check.among)
    if check.kind == "begins":
        return f"{check.text}d{random.randrange(100)}/f{random.randrange(1_000)}.txt"
    if check.kind == "pattern":
        letters = "".join(random.choice("abcdefgh") for _ in range(3))
        return f"{letters}-{random.randrange(10_000):04d}"
    if check.kind == "between":
        return random.randint(check.low, check.high)
    return random.sample(check.among, random.randint(1, 3))
