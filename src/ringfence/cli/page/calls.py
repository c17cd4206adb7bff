"""A tool call as a row of the page: its arguments, decisions, questions to people, walls and outcome."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ringfence.cli.drawing import VERDICTS
from ringfence.cli.page.clauses import Clauses
from ringfence.cli.page.model import Answer, Asked, Bar, Decision, Level, Reason, Step
from ringfence.cli.page.texts import Text, Texts
from ringfence.cli.page.times import Times, number, took
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.timeline import CallStep

_TONES = {"allow": "allow", "ask": "ask", "deny": "deny", "halt": "deny", "unknown": "unknown"}
_WORDS = {**VERDICTS, "halt": "halted"}
_ANSWERS = {
    "approve": ("approved", "allow"),
    "reject": ("rejected", "deny"),
    "expire": ("expired", "deny"),
    "withdraw": ("withdrawn", "unknown"),
    "ignored": ("had no effect", "unknown"),
}
_WITHHELD = {
    "keyed": "audit minimal keeps keyed digests of the arguments, not their values",
    "secret": "something in the call is secret by the settings",
    "redacted": "the policy redacts some of the arguments: those that were decided are shown",
    "too large": "the arguments were too large to be recorded",
    "not JSON": "the arguments were no JSON values",
}
_MOST = 40
"""Reasons, charges and answers of one call that are shown."""


@dataclass(frozen=True, slots=True)
class Drawer:
    """What every row of one run is made with."""

    texts: Texts
    times: Times
    clauses: Clauses


def call_step(call: CallStep, by: Drawer, *, anchor: str, depth: int, level: Level | None) -> Step:
    """Return the row of one call."""
    texts = by.texts
    word, tone = _verdict(call, texts)
    outcome, outcome_tone = _outcome(call, texts)
    asked, arguments = _arguments(call)
    return Step(
        anchor=anchor,
        kind="call",
        tone=tone,
        offset=by.times.offset(call.at_ns),
        word=word,
        title=texts.line(call.tool, 120),
        facts=(("call", texts.line(call.call, 80)), *_ids(call, texts)),
        depth=min(depth, 6),
        within=call.within,
        bars=tuple(_bars(call, by, anchor)),
        level=level,
        number=call.number,
        arguments=texts.block(arguments),
        withheld=asked,
        prose=tuple(_prose(arguments, texts)),
        decisions=tuple(_decision(one, by, arguments) for one in call.decisions[:_MOST]),
        tickets=tuple(_asked(one, by) for one in call.tickets[:_MOST]),
        walls=tuple(_walls(call.isolate, texts)) if call.isolate is not None else (),
        result=texts.block(call.result) if call.outcome == "finished" else None,
        outcome=outcome,
        outcome_tone=outcome_tone,
        notes=tuple(_notes(call, texts)),
    )


def _ids(call: CallStep, texts: Texts) -> Iterator[tuple[str, str]]:
    if call.call_id is not None:
        yield "the model's id", texts.line(call.call_id, 80)
    if call.parent is not None and call.within is None:
        yield "made inside of", texts.line(call.parent, 80)


def _arguments(call: CallStep) -> tuple[str, Json]:
    """Return why the arguments are not those that were given, and what is known of them."""
    given = call.arguments
    why = "" if call.withheld is None else _WITHHELD.get(call.withheld, "some of the arguments are withheld")
    decided = [one["arguments"] for one in call.decisions if one.get("arguments") is not None]
    if not (isinstance(given, Mapping) and "$keyed" in given):
        return why, given
    if decided:
        return why, decided[-1]
    return why, given.get("$redacted", given)


def _verdict(call: CallStep, texts: Texts) -> tuple[str, str]:
    """Return what became of the question whether it may run, and its tone."""
    verdict = call.verdict
    if verdict == "ask":
        answers = [answer for ticket in call.tickets for answer in ticket["answers"]]
        closing = [one for one in answers if one["verdict"] in ("reject", "expire", "withdraw")]
        if closing:
            return _ANSWERS[str(closing[-1]["verdict"])]
        return "waiting for people", "ask"
    if verdict == "undecided":
        return "not decided", "failed"
    return _WORDS.get(verdict, texts.line(verdict, 40)), _TONES.get(verdict, "unknown")


def _outcome(call: CallStep, texts: Texts) -> tuple[str, str]:
    match call.outcome:
        case "finished":
            return f"ran in {took(call.duration_ns)}", "plain"
        case "running":
            return (
                "started, and no outcome was recorded: whether it had its effect is unknown",
                "failed",
            )
        case "unknown":
            lost = "whether it ran" if call.started_ns is None else "how it ended"
            return f"unknown: {lost} is not recorded, and its process is gone", "failed"
        case "not run":
            return "did not run", "plain"
    after = "" if call.duration_ns is None else f" after {took(call.duration_ns)}"
    return f"{texts.line(call.outcome, 60)}{after}: {texts.line(call.error, 2_000)}", "failed"


def _notes(call: CallStep, texts: Texts) -> Iterator[str]:
    if call.refunded is not None:
        yield f"budgets given back: {texts.line(call.refunded, 80)}"
    if call.truncated is not None:
        yield f"the result was bounded before the model saw it: {texts.line(call.truncated, 200)}"


def _bars(call: CallStep, by: Drawer, anchor: str) -> Iterator[Bar]:
    what = f"call {call.number}, {by.texts.line(call.tool, 60)}"
    for ticket in call.tickets[:_MOST]:
        end = ticket["answers"][-1]["at_ns"] if ticket["answers"] else by.times.end_ns
        yield by.times.bar("people", f"{what}: people were asked", ticket["asked_ns"], end, anchor)
    ran = number(call.duration_ns)
    if call.started_ns is not None and ran is not None:
        yield by.times.bar("body", what, call.started_ns, call.started_ns + ran, anchor)


def _walls(isolate: Mapping[str, Json], texts: Texts) -> Iterator[str]:
    name = texts.line(isolate.get("isolate", "(its beginning was purged)"), 80)
    runs = {"code": "code that the model wrote", "body": "our own JavaScript"}
    what = runs.get(str(isolate.get("runs")), "JavaScript")
    yield f"{what} in the isolate {name}, V8 {texts.line(isolate.get('v8') or 'of no known version', 40)}"
    walls = isolate.get("layers")
    if isinstance(walls, list | tuple) and walls:
        yield f"{len(walls)} walls stood: {', '.join(texts.line(wall, 40) for wall in walls[:20])}"
    else:
        yield "no wall is recorded: nothing is known of its end"
    if isolate.get("calls"):
        yield f"it made {texts.line(isolate['calls'], 20)} calls"
    if isolate.get("failure") is not None:
        where = f" at line {texts.line(isolate['line'], 20)}" if isolate.get("line") is not None else ""
        why = f"{texts.line(isolate['failure'], 80)}: {texts.line(isolate.get('message'), 500)}"
        yield f"failed{where}: {why}"
    if isolate.get("limits"):
        yield f"limits: {texts.line(isolate['limits'], 300)}"


# ---- decisions --------------------------------------------------------------------------------------


def _prose(arguments: Json, texts: Texts) -> Iterator[tuple[str, Text]]:
    """Return the arguments that are texts of several lines, code above all, as they read."""
    if isinstance(arguments, Mapping):
        for name, value in list(arguments.items())[:_MOST]:
            if isinstance(value, str) and "\n" in value.strip():
                yield texts.line(str(name), 80), texts.block(value)


def _decision(decision: Mapping[str, Json], by: Drawer, shown: Json) -> Decision:
    verdict = str(decision["verdict"])
    reasons = list(decision.get("reasons") or [])[:_MOST]
    # What made the verdict is said first; each part in the order in which the rules spoke.
    reasons.sort(key=lambda one: one.get("effect") not in (verdict, "halt"))
    shadow = list(decision.get("shadow") or [])[:_MOST]
    arguments = decision.get("arguments")
    return Decision(
        verdict=_WORDS.get(verdict, by.texts.line(verdict, 40)),
        tone=_TONES.get(verdict, "unknown"),
        offset=by.times.offset(decision["at_ns"]),
        reasons=(
            *(_reason(one, by) for one in reasons),
            *(_reason(one, by, shadow=True) for one in shadow),
        ),
        notes=tuple(_facts(decision, by.texts)),
        arguments=None if arguments is None or arguments is shown else by.texts.block(arguments, 2_000),
    )


def _reason(reason: Mapping[str, Json], by: Drawer, *, shadow: bool = False) -> Reason:
    texts = by.texts
    effect = str(reason.get("effect"))
    found = by.clauses.at(reason.get("place"))
    return Reason(
        effect=_WORDS.get(effect, texts.line(effect, 40)),
        tone=_TONES.get(effect, "unknown"),
        name=texts.line(reason.get("name"), 120),
        place=_place(str(reason["place"]), texts) if reason.get("place") else "",
        because=texts.line(reason["because"], 500) if reason.get("because") else "",
        detail=texts.line(reason["detail"], 500) if reason.get("detail") else "",
        line=found[1] if found else None,
        clause=texts.block(found[2], 2_400).shown if found else None,
        shadow=shadow,
    )


def _place(said: str, texts: Texts) -> str:
    """Return a place without the folders of the machine that it was decided on."""
    return texts.line(said.replace("\\", "/").rsplit("/", 1)[-1], 160)


def _facts(decision: Mapping[str, Json], texts: Texts) -> Iterator[str]:
    for charge in list(decision.get("charges") or [])[:_MOST]:
        key = f" of {texts.line(charge['key'], 80)}" if charge.get("key") else ""
        yield f"charged {texts.line(charge['amount'], 40)} to {texts.line(charge['budget'], 120)}{key}"
    facts = decision.get("facts") or {}
    for refusal in list(facts.get("reserved") or [])[:_MOST]:
        yield f"no room in {texts.line(refusal['budget'], 120)}"
    for approver, people in list((facts.get("approved_by") or {}).items())[:_MOST]:
        yield f"approved for {texts.line(approver, 80)} by {texts.line(', '.join(map(str, people)), 200)}"
    if facts.get("failed"):
        yield f"could not be answered: {texts.line(facts['failed'], 500)}"
    if decision.get("label") is not None:
        yield f"the result is of the level {texts.line(decision['label'], 80)}"


def _asked(ticket: Mapping[str, Json], by: Drawer) -> Asked:
    texts = by.texts
    answers = []
    for answer in ticket["answers"][:_MOST]:
        said, tone = _ANSWERS.get(str(answer["verdict"]), (texts.line(answer["verdict"], 40), "unknown"))
        edited = answer.get("edited")
        answers.append(
            Answer(
                said=said,
                tone=tone,
                by=texts.line(answer["by"], 120) if answer.get("by") else "",
                waited=took(answer["at_ns"] - ticket["asked_ns"]),
                because=texts.line(answer["because"], 500) if answer.get("because") else "",
                edited=None if edited is None else texts.block(edited, 2_000),
            )
        )
    return Asked(texts.line(ticket["ticket"], 80), texts.line(ticket["approver"], 120), tuple(answers))
