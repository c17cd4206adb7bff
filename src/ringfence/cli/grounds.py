"""Why a call was decided so, as lines: each reason under its line of the policy that the run pinned."""

from collections.abc import Iterator, Mapping, Sequence

from ringfence.cli.drawing import Line, duration, reason_line, short, step_lines
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.grounds import Grounds
from ringfence.engine.retrospect.timeline import CallStep
from ringfence.engine.seams.escape import escaped, escaped_json

Texts = Mapping[str, str]
"""The texts that the policy is made from, by the name that its places say."""


def ground_lines(
    call: CallStep, texts: Texts, *, start_ns: int, known: Sequence[Grounds] = ()
) -> Iterator[Line]:
    """Return what is known of the call: arguments in full, reasons, charges, facts, outcome.

    Args:
        known: What was known at each of its decisions, where that can be told.
    """
    first, *rest = step_lines(call, start_ns=start_ns)
    yield first
    if isinstance(call.arguments, dict):
        for name, value in call.arguments.items():
            yield (f"  {escaped(str(name))} = {escaped_json(value, limit=2000)}",)
    for number, decision in enumerate(call.decisions):
        yield ()
        yield "decided: ", (escaped(str(decision["verdict"])), "bold")
        yield from _decision(decision, texts)
        if number < len(known):
            yield from _known(known[number], str(decision["verdict"]))
    yield ()
    decided = {line for decision in call.decisions for line in _plain_reasons(decision)}
    for line in rest:
        if _plain(line[1:]) not in decided:
            yield line


def policy_lines(call: CallStep, texts: Texts) -> list[str]:
    """Return the lines of the policy at which the call's reasons stand, in order, each once."""
    lines: dict[str, None] = {}
    for decision in call.decisions:
        for reason in decision.get("reasons") or []:
            if (found := _source(reason, texts)) is not None:
                lines[found[1]] = None
    return list(lines)


def _decision(decision: dict[str, Json], texts: Texts) -> Iterator[Line]:
    if decision.get("arguments") is not None:
        yield (f"  as {short(escaped_json(decision['arguments']), 2000)}",)
    for reason in decision.get("reasons") or []:
        yield "  ", *reason_line(reason)
        if (found := _source(reason, texts)) is not None:
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


def _known(known: Grounds, verdict: str) -> Iterator[Line]:
    if known.label is not None:
        yield (f"  the session carries: {escaped(known.label)}",)
    for name, sources in known.sources.items():
        yield (f"  {escaped(name)} comes from: {short(', '.join(sources) or 'it cannot be told')}",)
    if verdict != "allow" and known.remedies:
        yield ("  would have been allowed with:",)
        for remedy in known.remedies:
            yield (f"    {short(remedy, 400)}",)


def _source(reason: dict[str, Json], texts: Texts) -> tuple[int, str, int] | None:
    """Return number and text of the line at which a reason stands, and the column; None if unknown."""
    file, line, column = [*str(reason.get("place") or "").rsplit(":", 2), "", ""][:3]
    only = next(iter(texts.values())) if len(texts) == 1 else ""
    lines = texts.get(file, only).split("\n")
    if not (line.isdecimal() and column.isdecimal() and 1 <= int(line) <= len(lines)):
        return None
    return int(line), lines[int(line) - 1].rstrip("\r"), int(column)


def _plain(line: Line) -> str:
    return "".join(piece if isinstance(piece, str) else piece[0] for piece in line)


def _plain_reasons(decision: dict[str, Json]) -> list[str]:
    return [_plain(reason_line(reason)) for reason in decision.get("reasons") or []]
