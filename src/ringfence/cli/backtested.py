"""What came of a backtest, for people and for programs."""

from ringfence.cli.drawing import change_line, count, short
from ringfence.cli.say import Say
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.backtest import Backtest, RuleChanges
from ringfence.engine.retrospect.whatif import Rule
from ringfence.engine.seams.escape import escaped

_SHOWN = 5
"""Changed calls of one rule that are listed; `--json` has all."""


def tell(found: Backtest, say: Say) -> None:
    """Write the outcome for people: the changes by rule, what they are worth, what no run exercised."""
    for undecided in found.not_decided:
        say.note(f"{escaped(undecided.run)}: cannot be decided again: {short(undecided.because, 400)}")
    withheld: dict[tuple[str, str], int] = {}
    for one in found.not_replayable:
        key = one.run, one.decision.because
        withheld[key] = withheld.get(key, 0) + 1
    for (run, because), number in withheld.items():
        what = count(number, "decision is", "decisions are")
        say.note(f"{escaped(run)}: {what} not replayable, the arguments are {escaped(because)}")
    for its in found.rules:
        _tell_rule(its, say)
    moves = ", ".join(f"{number:,} {_moved(*move)}" for move, number in found.moves.items())
    runs = count(found.runs - len(found.not_decided), "run")
    say.line(
        (f"{len(found.changes):,} of {found.decisions:,}", "bold" if found.changes else "green"),
        f" decisions in {runs} would have been different{': ' if moves else ''}{moves}",
    )
    if found.not_decided:
        say.line((f"{count(len(found.not_decided), 'run')} cannot be decided again", "yellow"))
    after = found.decisions - found.comparable
    if after:
        say.line(
            f"no longer comparable: {count(after, 'decision')} after a change in the same session, told as "
            "things went then; with the other policy they might not have come at all"
        )
    say.line(f"coverage: {found.clauses - len(found.unreached)} of {found.clauses} clauses exercised")
    for clause in found.unreached:
        say.line(f"  by no run: {escaped(str(clause))}")


def _tell_rule(its: RuleChanges, say: Say) -> None:
    runs = len({one.run for one in its.changed})
    at = f" at {escaped(its.rule.place)}" if its.rule.place else ""
    because = f": {short(its.rule.because)}" if its.rule.because else ""
    say.line(
        (escaped(its.rule.name), "bold"), (at, "dim"), because,
        f": {count(len(its.changed), 'decision')} in {count(runs, 'run')}",
    )  # fmt: skip
    if its.words:
        say.line("  ", (short(its.words), "dim"))
    for one in its.changed[:_SHOWN]:
        after = "" if one.comparable else "; after a change"
        say.line(f"  {escaped(one.run)} ", *change_line(one.change), after)
    if len(its.changed) > _SHOWN:
        say.line(f"  and {len(its.changed) - _SHOWN} more")
    say.line()


def _moved(recorded: str, verdict: str) -> str:
    return f"{short(recorded)} to {verdict}" if recorded != verdict else f"{verdict} of others"


def document(found: Backtest) -> dict[str, Json]:
    """Return the outcome for programs: every change once, and by rule how many there are."""
    return {
        "policy": found.policy,
        "digest": found.digest,
        "runs": found.runs,
        "decisions": found.decisions,
        "comparable": found.comparable,
        "moves": [
            {"recorded": recorded, "verdict": verdict, "decisions": number}
            for (recorded, verdict), number in found.moves.items()
        ],
        "rules": [
            {
                **_rule(one.rule),
                "words": one.words,
                "decisions": len(one.changed),
                "runs": len({each.run for each in one.changed}),
            }
            for one in found.rules
        ],
        "changes": [
            {
                "run": one.run,
                "seq": one.change.seq,
                "at_ns": one.change.at_ns,
                "call": one.change.call,
                "tool": one.change.tool,
                "recorded": one.change.recorded,
                "verdict": one.change.verdict,
                "rules": [_rule(rule) for rule in one.change.rules],
                "asks": list(one.change.asks),
                "comparable": one.comparable,
            }
            for one in found.changes
        ],
        "not_decided": [{"run": one.run, "because": one.because} for one in found.not_decided],
        "not_replayable": [
            {
                "run": one.run,
                "seq": one.decision.seq,
                "call": one.decision.call,
                "because": one.decision.because,
            }
            for one in found.not_replayable
        ],
        "coverage": {
            "clauses": found.clauses,
            "reached": found.clauses - len(found.unreached),
            "unreached": [
                {"file": one.file, "line": one.line, "column": one.column, "name": one.name}
                for one in found.unreached
            ],
        },
    }


def _rule(rule: Rule) -> dict[str, Json]:
    return {"name": rule.name, "place": rule.place, "because": rule.because}
