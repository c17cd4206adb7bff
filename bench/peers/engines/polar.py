"""Oso's Polar: one rule per tool, found by its first argument, under one rule that denies for all."""

import json
import re

import oso

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


class _Texts:
    """The checks that Polar has no operator for."""

    @staticmethod
    def begins(value: str, start: str) -> bool:
        return value.startswith(start)

    @staticmethod
    def fits(value: str, pattern: str) -> bool:
        return re.fullmatch(pattern, value) is not None

    @staticmethod
    def within(values: list[str], among: list[str]) -> bool:
        return set(values) <= set(among)


def build(tools: Tools) -> Decide:
    """Return a query of one rule."""
    engine = oso.Oso()
    engine.register_class(_Texts, name="Texts")
    lines = [f'decide(tool, arguments) if permit(tool, arguments) and not arguments.env = "{CLOSED}";']
    for name, checks in tools.items():
        lines.append(f'permit("{name}", arguments) if {" and ".join(map(_condition, checks))};')
    engine.load_str("\n".join(lines))

    def allowed(call: Call) -> bool:
        return bool(engine.query_rule_once("decide", call.tool, call.arguments))

    return allowed


def _condition(check: Check) -> str:
    value = f"arguments.{check.parameter}"
    if check.kind == "one of":
        return f"{value} in {json.dumps(check.among)}"
    if check.kind == "begins":
        return f"Texts.begins({value}, {json.dumps(check.text)})"
    if check.kind == "pattern":
        return f"Texts.fits({value}, {json.dumps(check.text)})"
    if check.kind == "between":
        return f"{value} >= {check.low} and {value} <= {check.high}"
    return f"Texts.within({value}, {json.dumps(check.among)})"
