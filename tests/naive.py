"""The naive model of a decision: no state, no fold; each question scans the whole history again.

It imports the events and nothing else of the engine.  Slow, short, and read beside LANGUAGE section 5.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ringfence.dsl.plan import Plan, Scope, UnfitError
from ringfence.engine.decision.events import Stamped

Named = tuple[int, set[str], str | None]
"""Verdict (0 unknown, 1 deny, 2 ask, 3 allow), names of the reasons, what halts the run."""


class History:
    """Questions about the events so far."""

    def __init__(self, plan: Plan, events: Sequence[Stamped]) -> None:
        self.events, self.plan, self.begun = events, plan, events[0]

    def of(self, kind: str, **fields: object) -> list[Any]:
        found = [s.event for s in self.events if s.event.kind == kind]
        return [e for e in found if all(getattr(e, name) == value for name, value in fields.items())]

    def last(self, kind: str, call: str, *, charged: bool = False) -> int:
        events = [e for e in self.of(kind, call=call) if not charged or e.charges]
        return max((s.seq for s in self.events if s.event in events), default=0)

    def refunded(self, call: str, *, charged: bool = False) -> bool:
        since = self.last("CallDecided", call, charged=charged)
        return self.last("BudgetRefunded", call) > since and not self.of("CallStarted", call=call)

    def holds(self, call: str) -> bool:
        return self.last("CallDecided", call, charged=True) > 0 and not self.refunded(call, charged=True)

    def taken(self, budget: str, key: str, period_ns: int | None, now_ns: int) -> int:
        units = 0
        for call in {e.call for e in self.of("CallDecided") if e.charges}:
            charges = [e.charges for e in self.of("CallDecided", call=call) if e.charges][-1]
            at = [s.at_ns for s in self.events if s.event in self.of("CallStarted", call=call)]
            gone = at and period_ns is not None and at[0] + period_ns <= now_ns
            if self.holds(call) and not gone:
                units += sum(c["amount"] for c in charges if (c["budget"], c["key"]) == (budget, key))
        return units

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


def naive(
    plan: Plan, events: Sequence[Stamped], key: str, tool_name: str, given: Mapping[str, Any],
    *, approved: frozenset[str], full: frozenset[str], now_ns: int,
) -> Named:  # fmt: skip
    """Decide one call whose budgets `full` the ledger has refused, and which `approved` have approved."""
    past, begun, agent = History(plan, events), events[0].event, plan.agents["main"]
    verdict, names, halt = 3, set[str](), None
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
        try:
            assert tool.parameters is not None
            if not set(given) <= set(tool.parameters) or not tool.required <= set(given):
                raise UnfitError("names")
            arguments = {name: tool.parameters[name].canonical(value) for name, value in given.items()}
        except UnfitError:
            verdict, names = min(verdict, 1), names | {f"{tool.name}.arguments"}
        else:
            scope, asks, allowed = Scope(arguments, principal), set[str](), set[str]()
            for clause in (*tool.denies, *tool.asks, *tool.allows):
                truth = clause.condition(scope) if clause.condition else True
                said = clause.name if truth is not None else f"{clause.name}!error"
                if clause.effect == "allow":
                    names |= {said} if truth is not False else set()
                    allowed |= {said} if truth is True else set()
                elif truth is not False:
                    names.add(said)
                    verdict = min(verdict, 1) if clause.effect == "deny" else verdict
                    asks |= {clause.approver} - approved if clause.effect == "ask" else set()  # type: ignore[arg-type]
            undecided = any(f"{clause.name}!error" in names for clause in tool.allows)
            if not allowed:
                verdict, names = 1, names if undecided else names | {f"{tool.name}.allow"}
            verdict = min(verdict, 2) if asks else verdict
            questions = {(d.call, who) for d in past.of("CallDecided", verdict="ask") for who in d.asks}
            questions |= {(t.call, t.approver) for t in past.of("ApprovalAsked")}
            questions |= {(key, who) for who in asks}
            if verdict >= 2 and agent.calls and past.places() >= agent.calls.at_most:
                verdict, names, halt = 1, names | {agent.calls.reason}, agent.calls.reason
            elif verdict == 2 and agent.requests and len(questions) > agent.requests.at_most:
                verdict, names, halt = 1, names | {agent.requests.reason}, agent.requests.reason
            if verdict >= 2 and not past.holds(key):
                scopes = {"run": "", "user": principal.get("user"), "tool": tool.name, **arguments}
                room = True
                for wide in (False, True):
                    for budget in tool.budgets if room or not wide else ():
                        value = scopes.get(str(budget.scope))
                        if value is None:
                            room, names = False, names | {f"{budget.reason}!key"}
                        elif (budget.period_ns is not None and budget.scope != "run") is not wide:
                            continue
                        elif (
                            budget.id in full
                            if wide
                            else (past.taken(budget.id, str(value), budget.period_ns, now_ns) >= budget.limit)
                        ):
                            room, names = False, names | {budget.reason}
                            halt = halt or (budget.reason if budget.halts else None)
                verdict = verdict if room else 1
    denials = [d for d in past.of("CallDecided") if d.verdict in ("deny", "unknown")]
    if verdict <= 1 and agent.denials and len(denials) >= agent.denials.at_most and not halted:
        names, halt = names | {agent.denials.reason}, halt or agent.denials.reason
    return verdict, names, halt
