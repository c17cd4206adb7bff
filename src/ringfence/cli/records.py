"""What commands print under `--json`: rows, steps and tickets as plain records."""

from dataclasses import asdict

from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.timeline import CallStep, Moment, Step
from ringfence.engine.seams.ports import RunRow, Ticket


def run_record(row: RunRow) -> dict[str, Json]:
    """Return a run of the list; the head is the hash of its last event, in hex."""
    return {**asdict(row), "head": row.head.hex()}


def step_record(step: Step) -> dict[str, Json]:
    """Return a step of a timeline."""
    if isinstance(step, Moment):
        return {"step": step.step, "seq": step.seq, "at_ns": step.at_ns, **step.said}
    record = {**asdict(step), "verdict": step.verdict}
    return {"step": record.pop("step"), **record}


def call_record(step: CallStep, source: list[str]) -> dict[str, Json]:
    """Return one call with the lines of the policy that decided it."""
    return {**step_record(step), "policy_lines": source}


def ticket_record(ticket: Ticket) -> dict[str, Json]:
    """Return a ticket; `answers` are who, verdict and why, in order."""
    answers = [{"by": by, "verdict": verdict, "because": because} for by, verdict, because in ticket.answers]
    return {**asdict(ticket), "arguments": dict(ticket.arguments), "answers": answers}
