"""The naive model of a decision: no state, no fold; each question scans the whole history again.

It imports the events and nothing else of the engine.  Slow, short, and read beside LANGUAGE section 5.
What conditions ask of the session is answered by a scan, too (tests/scanned.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from ringfence.dsl.plan import Budget, Plan, Question, Scope, ToolPlan, UnansweredError, UnfitError
from ringfence.engine.decision.events import Stamped
from tests.scanned import Scanned

Named = tuple[int, set[str], str | None, int | None]
"""Verdict (0 unknown, 1 deny, 2 ask, 3 allow), names of the reasons, what halts, the rank of the result."""

Measure = tuple[Budget, str, int, set[str]]
"""A budget, its key, and what the call is charged: units, members."""


class History:
    """Questions about the events so far."""

    def __init__(self, plan: Plan, events: Sequence[Stamped]) -> None:
        self.events, self.plan, self.begun = events, plan, events[0]

    def of(self, kind: str, **fields: object) -> list[Any]:
        found = [s.event for s in self.events if s.event.kind == kind]
        return [e for e in found if all(getattr(e, name) == value for name, value in fields.items())]

    def last(self, kind: str, call: str, *, charged: bool = False) -> int:
        events = [e for e in self.of(kind, call=call) if not charged or held(e)]
        return max((s.seq for s in self.events if s.event in events), default=0)

    def refunded(self, call: str, *, charged: bool = False) -> bool:
        since = self.last("CallDecided", call, charged=charged)
        return self.last("BudgetRefunded", call) > since and not self.of("CallStarted", call=call)

    def holds(self, call: str) -> bool:
        return self.last("CallDecided", call, charged=True) > 0 and not self.refunded(call, charged=True)

    def room(self, budget: Budget, key: str, units: int, members: set[str], now_ns: int) -> bool:
        """Whether the units fit, or the members, beside all that is held and in the window."""
        for charge in self.charged(budget, key, now_ns):
            units, members = units + charge["amount"], members | set(charge.get("members", ()))
        return 0 < budget.limit >= (len(members) if budget.kind == "distinct" else units)

    def charged(self, budget: Budget, key: str, now_ns: int) -> Iterator[dict[str, Any]]:
        """The charges of one budget and key that still count."""
        for call in {e.call for e in self.of("CallDecided") if e.charges}:
            decided = [e for e in self.of("CallDecided", call=call) if e.charges]
            begun = self.of("CallStarted", call=call)
            failed = [e for e in self.of("CallFailed", call=call) if e.has_not_succeeded]
            if budget.counting == "attempts":
                begun = decided[:1]
            elif not self.holds(call) or (budget.counting == "successes" and failed):
                continue
            at = [s.at_ns for s in self.events if s.event in begun]
            if not (at and budget.period_ns is not None and at[0] + budget.period_ns <= now_ns):
                latest = decided[0] if budget.counting == "attempts" else decided[-1]
                yield from (c for c in latest.charges if (c["budget"], c["key"]) == (budget.id, key))

    def places(self) -> int:
        calls = {e.call for e in self.of("CallDecided")}
        return sum(1 for c in calls if self.of("CallStarted", call=c) or self._allowed_now(c))

    def _allowed_now(self, call: str) -> bool:
        return self.of("CallDecided", call=call)[-1].verdict == "allow" and not self.refunded(call)

    def still_ns(self, now_ns: int) -> int:
        """How long the clock has stood still: nothing in flight and a ticket open, until it expires."""
        total, moments = 0, [*(s.at_ns for s in self.events[1:]), now_ns]
        for count, until in enumerate(moments, start=1):
            past = History(self.plan, self.events[:count])
            ended = {e.call for k in ("CallFinished", "CallFailed") for e in past.of(k)}
            calls = {e.call for e in past.of("CallDecided")} | {e.call for e in past.of("CallStarted")}
            flying = [c for c in calls - ended if past.of("CallStarted", call=c) or past._allowed_now(c)]
            settled = {e.call for e in past.of("CallDecided") if e.verdict != "ask"}
            shut = {e.ticket for e in past.of("ApprovalAnswered")}
            open_ = [t for t in past.of("ApprovalAsked") if t.ticket not in shut and t.call not in settled]
            if open_ and not flying:
                since = past.events[-1].at_ns
                ends = [until if t.expires_ns is None else t.expires_ns for t in open_]
                total += max(0, min(until, max(ends)) - since)
        return total


def held(event: Any) -> bool:
    return any(charge.get("counting") != "attempts" for charge in event.charges)


def owed(budget: Budget, scope: Scope) -> tuple[int, set[str]]:
    """Units and members that a call is charged; raises where that cannot be said."""
    if budget.kind == "calls":
        return 1, set()
    if budget.kind == "distinct":
        given = [scope.arguments[name] for name in budget.resources if name in scope.arguments]
        members = {str(m) for value in given for m in (value if isinstance(value, list) else [value])}
        return len(members), members
    assert budget.amount is not None
    units = ceil(Fraction(budget.amount(scope)) * budget.scale)
    if units < 0:
        raise ValueError
    return units, set()


def level(tool: ToolPlan, scope: Scope) -> int | None:
    """The highest rank of the clauses that hold, in any layer."""
    ranks: list[int] = []
    for layer in {clause.layer for clause in tool.labels}:
        mine = [clause for clause in tool.labels if clause.layer == layer]
        truths = [(c.condition(scope) if c.condition else True, c.rank) for c in mine if not c.otherwise]
        ranks += [rank for truth, rank in truths if truth is not False]
        ranks += [c.rank for c in mine if c.otherwise and all(truth is not True for truth, _ in truths)]
    return max(ranks, default=None)


def passed_on(plan: Plan, name: str | None) -> set[str]:
    """The approver and those to whom its question is passed on."""
    found = set[str]()
    while name is not None and name not in found:
        found, name = found | {name}, plan.approvers[name].otherwise_ask
    return found


def redact(tool: ToolPlan, scope: Scope) -> set[str]:
    """Put the redacted values in place; return the reasons of what could not be redacted."""
    found = {
        (one.param, one.redactor): f"{one.name}!error"
        for one in reversed(tool.redactions)
        if one.param in scope.arguments and not one.shadow
        if one.condition is None or one.condition(scope) is not False
    }
    given, failed = dict(scope.arguments), set[str]()
    for (param, redactor), reason in sorted(found.items()):
        try:
            answer = scope.ask(Question(f"redact {redactor}", (given[param],)))
            given[param] = tool.parameters[param].canonical(answer)  # type: ignore[index]
        except (UnansweredError, UnfitError):
            failed.add(reason)
    scope.arguments = scope.arguments if failed else given
    return failed


def naive(
    plan: Plan, events: Sequence[Stamped], key: str, tool_name: str, given: Mapping[str, Any],
    *, approved: frozenset[str], full: frozenset[str], now_ns: int, session: Sequence[Stamped] = (),
    answers: Mapping[str, Any] | None = None, labelled: bool = False,
) -> Named:  # fmt: skip
    """Decide one call whose budgets `full` the ledger has refused, and which `approved` have approved.

    `events` are those of the run, `session` all before the call (the same, if there is one run).  `labelled`:
    the rank of the result is wanted though the call be denied.
    """
    past, begun, agent = History(plan, events), events[0].event, plan.agents["main"]
    verdict, names, halt, label = 3, set[str](), None, None
    halted = past.of("RunHalted")
    if halted:
        verdict, names = 1, {halted[0].reason}
    elif agent.stop and begun and now_ns - events[0].at_ns - past.still_ns(now_ns) >= agent.stop.at_most:
        verdict, names, halt = 1, {agent.stop.reason}, agent.stop.reason
    tool = plan.by_bound_name.get(tool_name)
    if tool is None:
        verdict, names = 0, names | {"unknown"}
    elif not tool.needs <= set(begun.capabilities):  # type: ignore[union-attr]
        verdict, names = 0, names | {f"{tool.name}.needs"}
    else:
        principal = {**begun.principal, "agent": "main"}  # type: ignore[union-attr]
        lacking = {f"{reason}!key" for field, reason, _ in tool.principal_fields if field not in principal}
        verdict, names = (1 if lacking else verdict), names | lacking
        scope = Scope(
            given, principal, memory=Scanned(plan, session or events), now_ns=now_ns, wall_ns=now_ns
        )
        fit, scope.answers = True, answers or {}
        try:
            assert tool.parameters is not None
            if not set(given) <= set(tool.parameters) or not tool.required <= set(given):
                raise UnfitError("names")
            scope.arguments = {name: tool.parameters[name].canonical(value) for name, value in given.items()}
        except UnfitError:
            fit, verdict, names = False, min(verdict, 1), names | {f"{tool.name}.arguments"}
        if fit:
            unredacted = redact(tool, scope)
            fit, names = not unredacted, names | unredacted
            verdict = min(verdict, 1) if unredacted else verdict

        def measured(budgets: Sequence[Budget]) -> tuple[list[Measure], bool]:
            nonlocal names
            found: list[Measure] = []
            unsaid = set[str]()
            for budget in budgets:
                whole = {"None": "", "run": "", "agent": "main", "session": begun.session}  # type: ignore[union-attr]
                said = {one: principal.get(one) for one in ("user", "workspace")}
                keys = {**whole, **said, "tool": tool.name, **scope.arguments}
                value = keys.get(str(budget.scope))
                try:
                    units, members = owed(budget, scope) if value is not None else (0, set())
                except Exception:
                    unsaid.add(f"{budget.reason}!error")
                    continue
                if value is None:
                    unsaid.add(f"{budget.reason}!key")
                elif members or budget.kind != "distinct":
                    found.append((budget, str(value), units, members))
            names = names | unsaid
            return found, not unsaid

        def room(measures: Sequence[Measure], *, wide: bool) -> bool:
            nonlocal names, halt
            lacking = [
                budget
                for budget, value, units, members in measures
                if (budget.period_ns is not None and budget.scope != "run") is wide
                if (budget.id in full if wide else not past.room(budget, value, units, members, now_ns))
            ]
            if wide:
                lacking.sort(key=lambda budget: budget.id)  # the ledger is asked in this order
            names = names | {budget.reason for budget in lacking}
            halt = halt or next((budget.reason for budget in lacking if budget.halts), None)
            return not lacking

        attempts = [b for b in tool.budgets if b.counting == "attempts" and (fit or b.kind == "calls")]
        if any(c.get("counting") == "attempts" for d in past.of("CallDecided", call=key) for c in d.charges):
            attempts = []
        tried, ok = measured(attempts)
        if not (room(tried, wide=False) and ok):
            verdict, tried = min(verdict, 1), []
        charged: list[Measure] = []
        if fit:
            asks, allowed = set[str](), set[str]()
            met = {name for name in plan.approvers if approved & passed_on(plan, name)}
            for clause in (*tool.denies, *tool.asks, *tool.allows):
                truth = clause.condition(scope) if clause.condition else True
                if clause.shadow:
                    continue
                said = clause.name if truth is not None else f"{clause.name}!error"
                if clause.effect == "allow":
                    names |= {said} if truth is not False else set()
                    allowed |= {said} if truth is True else set()
                elif truth is not False:
                    names.add(said)
                    verdict = min(verdict, 1) if clause.effect == "deny" else verdict
                    asks |= {clause.approver} - met if clause.effect == "ask" else set()  # type: ignore[arg-type]
            undecided = any(f"{clause.name}!error" in names for clause in tool.allows)
            if not allowed:
                verdict, names = 1, names if undecided else names | {f"{tool.name}.allow"}
            verdict = min(verdict, 2) if asks else verdict
            label = level(tool, scope)
            questions = {(d.call, who) for d in past.of("CallDecided", verdict="ask") for who in d.asks}
            questions |= {(t.call, t.approver) for t in past.of("ApprovalAsked")}
            questions |= {(key, who) for who in asks}
            if verdict >= 2 and agent.calls and past.places() >= agent.calls.at_most:
                verdict, names, halt = 1, names | {agent.calls.reason}, agent.calls.reason
            elif verdict == 2 and agent.requests and len(questions) > agent.requests.at_most:
                verdict, names, halt = 1, names | {agent.requests.reason}, agent.requests.reason
            budgets = [b for b in tool.budgets if b.counting != "attempts"]
            if verdict >= 2 and not past.holds(key):
                charged, ok = measured(budgets)
                if not (room(charged, wide=False) and ok):
                    verdict, charged = 1, []
        if not room(tried, wide=True):
            verdict, charged = min(verdict, 1), []
        if not room(charged, wide=True):
            verdict = 1
    denials = [d for d in past.of("CallDecided") if d.verdict in ("deny", "unknown")]
    if verdict <= 1 and agent.denials and len(denials) >= agent.denials.at_most and not halted:
        names, halt = names | {agent.denials.reason}, halt or agent.denials.reason
    return verdict, names, halt, label if verdict >= 2 or labelled else None
