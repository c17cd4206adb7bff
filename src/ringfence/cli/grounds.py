"""Why a call was decided so, as lines: each reason under its line of the policy that the run pinned."""

from collections.abc import Iterator

from ringfence.cli.drawing import Line, duration, reason_line, short, step_lines
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.timeline import CallStep
from ringfence.engine.seams.escape import escaped, escaped_json


def ground_lines(call: CallStep, policy: str, *, start_ns: int) -> Iterator[Line]:
    """Return what is known of the call: arguments in full, reasons, charges, facts, outcome."""
    first, *rest = step_lines(call, start_ns=start_ns)
    yield first
    if isinstance(call.arguments, dict):
        for name, value in call.arguments.items():
            yield (f"  {escaped(str(name))} = {escaped_json(value, limit=2000)}",)
    for decision in call.decisions:
        yield ()
        yield "decided: ", (escaped(str(decision["verdict"])), "bold")
        yield from _decision(decision, policy)
    yield ()
    decided = {line for decision in call.decisions for line in _plain_reasons(decision)}
    for line in rest:
        if _plain(line[1:]) not in decided:
            yield line


def policy_lines(call: CallStep, policy: str) -> list[str]:
    """Return the lines of the policy at which the call's reasons stand, in order, each once."""
    lines: dict[str, None] = {}
    for decision in call.decisions:
        for reason in decision.get("reasons") or []:
            if (found := _source(reason, policy)) is not None:
                lines[found[1]] = None
    return list(lines)


def _decision(decision: dict[str, Json], policy: str) -> Iterator[Line]:
    if decision.get("arguments") is not None:
        yield (f"  as {short(escaped_json(decision['arguments']), 2000)}",)
    for reason in decision.get("reasons") or []:
        yield "  ", *reason_line(reason)
        if (found := _source(reason, policy)) is not None:
            number, text, column = found
            yield (f"{number:>6} | {escaped(text)}", "dim"), ""
            yield (f"       | {' ' * (len(escaped(text[: column - 1])))}^", "dim"), ""
    for reason in decision.get("shadow") or []:
        yield ("  in shadow: ", "dim"), *reason_line(reason)
    for charge in decision.get("charges") or []:
        key = f" of {short(charge['key'])}" if charge.get("key") else ""
        yield (f"  charged {escaped(str(charge['amount']))} to {short(charge['budget'])}{key}",)
    facts = decision.get("facts") or {}
    for refusal in facts.get("reserved") or []:
        free = refusal.get("free_ns")
        when = f"; there is room again in {duration(int(free))}" if free is not None else ""
        yield (f"  no room in {short(refusal['budget'])}{when}",)
    for approver, people in (facts.get("approved_by") or {}).items():
        yield (f"  approved for {short(approver)} by {short(', '.join(map(str, people)))}",)
    if facts.get("failed"):
        yield (f"  could not be answered: {short(facts['failed'])}",)


def _source(reason: dict[str, Json], policy: str) -> tuple[int, str, int] | None:
    """Return number and text of the line at which a reason stands, and the column; None if unknown."""
    _, line, column = [*str(reason.get("place") or "").rsplit(":", 2), "", ""][:3]
    lines = policy.split("\n")
    if not (line.isdecimal() and column.isdecimal() and 1 <= int(line) <= len(lines)):
        return None
    return int(line), lines[int(line) - 1].rstrip("\r"), int(column)


def _plain(line: Line) -> str:
    return "".join(piece if isinstance(piece, str) else piece[0] for piece in line)


def _plain_reasons(decision: dict[str, Json]) -> list[str]:
    return [_plain(reason_line(reason)) for reason in decision.get("reasons") or []]
