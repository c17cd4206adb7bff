"""The laws on policies that were written as text, at every decision of a whole recorded session.

A case of law 3 is one call, decided twice with the same past: as the policy stands, and with some atoms
undecided or raising, answers of plugins missing, the principal unsaid, or the memory forgotten or full.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.calls import Decision, Facts, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import RunStarted, Stamped
from ringfence.engine.decision.state import State, apply, start
from tests.texts import Author, TextSession, Written, compiled

STEPS = 30
BREAKS = 12
CALLS = 8
A_SESSION = BREAKS * CALLS
"""A session gives at least so many cases of law 3, and more for the decisions that were made in it."""
AUDITS = ("minimal", "standard", "full")

Counts = dict[tuple[Verdict, Verdict], int]
"""(before, after) -> how often."""


@dataclass(frozen=True)
class Asked:
    """A decision that was made after so many of the session's events."""

    after: int
    key: str | None
    call: ToolCall
    facts: Facts
    now_ns: int


@dataclass(frozen=True)
class Found:
    """What a decision came to, with the label that its result would carry."""

    decision: Decision
    label: int


def session_of(random: Random) -> tuple[Written, Plan, Any, TextSession, list[Asked]]:
    """Return a policy that loads, and a session under it with all that was asked in it."""
    plan, author = None, Author(random)
    while plan is None:
        written = author.written()
        plan, atoms = compiled(written)
    session, asked = TextSession(random, plan), list[Asked]()

    def ask(key: str | None, call: ToolCall) -> None:
        approved = random.choice([{}, {}, {"lead": ("bob",)}, {"boss": ("bob",)}])
        facts = Facts((), approved, session.answers, ())  # the ledger has room
        at = len(session.earlier) + len(session.events)
        asked.append(Asked(at, key, call, facts, session.now_ns))

    for _ in range(STEPS):
        key = session.step()
        if key is not None:
            ask(key, session.calls[key])
            session.decide(key)
    for _ in range(CALLS):
        ask(None, session.call())
    return written, plan, atoms, session, asked


def decisions(
    of: Plan,
    events: Sequence[Stamped],
    asked: Sequence[Asked],
    *,
    facts: Callable[[Facts], Facts] = lambda facts: facts,
    spoil: Callable[[State], None] = lambda state: None,
) -> list[Found]:
    """Fold the runs of the session again, and decide what was asked, each at its place."""
    state: State | None = None
    found: list[Found] = []
    waiting = list(asked)
    for number in range(len(events) + 1):
        while waiting and waiting[0].after == number:
            one = waiting.pop(0)
            assert state is not None
            spoil(state)
            given = facts(one.facts)
            made = conclude(assess(of, state, one.call, given, now_ns=one.now_ns, key=one.key), given)
            found.append(Found(made, state.recall.label if made.label is None else made.label))
        if number < len(events):
            stamped = events[number]
            if isinstance(stamped.event, RunStarted):
                state = start(of, stamped, None if state is None else state.recall.fork(child=False))
            else:
                assert state is not None
                apply(state, stamped)
    return found


def narrower(before: Found, after: Found) -> str | None:
    """Say what became more permissive; None: nothing did."""
    old, new = before.decision, after.decision
    if new.verdict > old.verdict:
        return "the verdict"
    if new.verdict < Verdict.ASK:
        return None
    if after.label < before.label:
        return "the label"
    if AUDITS.index(new.obligations.audit) < AUDITS.index(old.obligations.audit):
        return "the audit level"
    for limit in ("max_bytes", "max_rows"):
        most, more = getattr(old.obligations, limit), getattr(new.obligations, limit)
        if most is not None and (more is None or more > most):
            return limit
    given, sent = old.arguments.get("note"), new.arguments.get("note")
    if given != sent and str(given).startswith("<"):
        return "the redaction"
    if new.verdict is old.verdict and not set(old.asks) <= set(new.asks):
        return "the approvers"
    taken = {(c.budget, c.key): c for c in new.charges}
    for charge in old.charges:
        same = taken.get((charge.budget, charge.key))
        if same is None or same.amount < charge.amount or not set(charge.members) <= set(same.members):
            return "the charge"
    return None


def unchanged(before: Found, after: Found) -> bool:
    """Say whether two decisions are the same but for their order."""
    old, new = before.decision, after.decision
    return (
        (old.verdict, before.label, set(old.asks), old.arguments, old.obligations)
        == (new.verdict, after.label, set(new.asks), new.arguments, new.obligations)
        and {(r.name, r.effect) for r in old.reasons} == {(r.name, r.effect) for r in new.reasons}
        and set(old.charges) == set(new.charges)
    )


def unsaid(events: Sequence[Stamped], name: str) -> list[Stamped]:
    """Return the events as they are where the host does not say one thing of the principal."""
    return [
        replace(
            stamped,
            event=replace(
                stamped.event, principal={k: v for k, v in stamped.event.principal.items() if k != name}
            ),
        )
        if isinstance(stamped.event, RunStarted)
        else stamped
        for stamped in events
    ]


def cases(seed: int) -> Counts:
    """Check one policy and session; raise AssertionError for what became more permissive."""
    random = Random(seed)
    written, plan, atoms, session, asked = session_of(random)
    events = [*session.earlier, *session.events]
    whole = decisions(plan, events, asked)
    seen: Counts = {}

    def check(what: object, found: list[Found], *, of_law_three: bool = True) -> None:
        for one, before, after in zip(asked, whole, found, strict=True):
            wrong = narrower(before, after)
            assert wrong is None, (seed, wrong, what, one.call, before, after)
            if of_law_three:
                pair = (before.decision.verdict, after.decision.verdict)
                seen[pair] = seen.get(pair, 0) + 1

    for _ in range(BREAKS):
        some = random.sample(range(atoms.made), min(random.choice([1, 2, 4, 8]), atoms.made))
        atoms.how = {number: random.choice(["undecided", "raises"]) for number in some}
        share = random.choice([1.0, 0.8, 0.3])
        answers = {key: answer for key, answer in session.answers.items() if random.random() < share}
        for key in [*answers]:
            if random.random() < 0.1:
                answers[key] = random.choice([["failed", "raised"], ["gave", 7], ["gave", None]])
        said = random.choice([None, None, None, "user", "workspace"])
        past = events if said is None else unsaid(events, said)
        spoil = random.choice([_nothing, _nothing, _nothing, _forget, _overflow])
        found = decisions(plan, past, asked, facts=_with(answers), spoil=spoil)
        check((dict(atoms.how), said, spoil.__name__, _missing(session.answers, answers)), found)
        atoms.how = {}
    more = None
    while more is None:
        what, changed = Author(random).more(written)
        more = changed.load().plan
    check(what, decisions(more, events, asked), of_law_three=False)
    for turned, digest in ((written.shuffled(random), None), (written.moved(random), plan.digest)):
        other = turned.load().plan
        assert other is not None, (seed, turned.text())
        assert digest in (None, other.digest), (seed, "another digest", turned.text())
        for one, before, after in zip(asked, whole, decisions(other, events, asked), strict=True):
            assert unchanged(before, after), (seed, "another order", one.call, before, after)
    return seen


def _with(answers: dict[str, Json]) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, answers=answers)


def _missing(whole: dict[str, Json], fewer: dict[str, Json]) -> dict[str, Json]:
    return {key: fewer.get(key) for key, answer in whole.items() if fewer.get(key) != answer}


def _nothing(state: State) -> None:
    pass


def _forget(state: State) -> None:
    state.recall.forget()


def _overflow(state: State) -> None:
    if state.recall.traces is not None:
        state.recall.traces.overflow = True
