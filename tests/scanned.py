"""What a session remembers, the naive way: every question reads all recorded events again.

It imports the events, and of the plan only what a question is made of.
"""

import re
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

from ringfence.dsl.plan import Happening, Json, Origin, Plan, Scope, Truth
from ringfence.engine.decision.events import Stamped

_BEFORE, _BEHIND = r"""(?:^|[\s"'()\[\]])""", r"""(?=$|[\s"'()\[\]]|[.,;:!?]+(?:$|[\s"'()\[\]]))"""


class Call(NamedTuple):
    """One call whose latest decision was `allow`, and which was not given back before it started."""

    tool: str
    arguments: dict[str, Json]
    principal: dict[str, Json]
    label: int
    run: int
    decided: int
    end: float
    """Where its end stands; inf: it is in flight."""
    end_ns: int
    finished: bool
    lost: bool
    """Its run ended with it in flight: its result may have been shown."""


class Scanned:
    """A `Recalled` over the events of all runs of one session, one after another."""

    def __init__(self, plan: Plan, events: Sequence[Stamped]) -> None:
        self.plan, self.all = plan, events
        self.events: list[Any] = [stamped.event for stamped in events]
        self.run = sum(event.kind == "RunStarted" for event in self.events)

    def calls(self) -> Iterator[Call]:
        principal: dict[str, Json] = {}
        requests: dict[str, Any] = {}
        decided: dict[str, tuple[int, Any, dict[str, Json], int]] = {}
        run = 0
        for at, event in enumerate(self.events):
            if event.kind == "RunStarted":
                run, principal = run + 1, {**event.principal, "agent": event.agent}
            elif event.kind == "CallRequested":
                requests[event.call] = event
            elif event.kind == "CallDecided":
                decided[event.call] = (at, event, principal, run)
        for key, (at, event, principal, run) in decided.items():
            later = [(n, e) for n, e in enumerate(self.events) if n > at and getattr(e, "call", None) == key]
            started = next((n for n, e in later if e.kind == "CallStarted"), None)
            if event.verdict != "allow":
                continue
            if started is None and any(e.kind == "BudgetRefunded" for _, e in later):
                continue
            ends = [(n, e.kind) for n, e in later if e.kind in ("CallFinished", "CallFailed")]
            others = (n for n, e in enumerate(self.events) if n > at and e.kind == "RunStarted")
            over = next(others, inf)  # a run that was not ended leaves its calls in flight
            ends += [(n, e.kind) for n, e in enumerate(self.events) if at < n < over and e.kind == "RunEnded"]
            end, kind = min(ends, default=(inf, ""))
            arguments = event.arguments if event.arguments is not None else requests[key].arguments
            level = event.label
            label = self.label(at if started is None else started) if level is None else self._rank(level)
            end_ns = 0 if end == inf else self.all[int(end)].at_ns
            tool = requests[key].tool
            yield Call(
                tool,
                arguments,
                principal,
                label,
                run,
                at,
                end,
                end_ns,
                kind == "CallFinished",
                kind == "RunEnded",
            )

    def _rank(self, level: str) -> int:
        return self.plan.levels.index(level)

    def label(self, before: float = inf) -> int:
        """The session's label: the join of all that was shown before that event."""
        top = len(self.plan.levels) - 1
        shown = [top for n, e in enumerate(self.events) if n < before and getattr(e, "source", "") == "host"]
        past = Scanned(self.plan, self.all if before == inf else self.all[: int(before)])
        return max([0, *shown, *(call.label for call in past.calls() if call.finished or call.lost)])

    def happened(self, event: Happening, within_ns: int | None, in_run: bool, now_ns: int) -> list[Any]:
        """All (sure, position, call) of an event that count in the extent; of host prompts no call."""
        found: list[Any] = []
        for call in self.calls():
            truth: Truth = call.label >= event.rank if event.rank is not None else False
            if call.tool in event.tools:
                where = event.tools[call.tool]
                truth = True if where is None else where(Scope(call.arguments, call.principal))
            failed = call.end < inf and not call.finished and not call.lost
            if truth is False or (event.rank is not None and failed):
                continue
            if (in_run and call.run < self.run) or self._left(call.end, call.end_ns, within_ns, now_ns):
                continue
            found.append((truth is True and call.finished, call.end, call))
        for at, prompt in enumerate(self.events):
            if event.rank is not None and self.plan.levels and getattr(prompt, "source", "") == "host":
                begun = sum(e.kind == "RunStarted" for e in self.events[:at])
                gone = self._left(at, self.all[at].at_ns, within_ns, now_ns)
                if not gone and (begun == self.run or not in_run):
                    found.append((True, at, None))
        return found

    def _left(self, end: float, end_ns: int, within_ns: int | None, now_ns: int) -> bool:
        return end < inf and within_ns is not None and now_ns - end_ns >= within_ns

    # ---- the questions of a `Recalled` -----------------------------------------------------------------

    def after(self, watch: str, *, now_ns: int) -> Truth:
        asked = self.plan.watches[watch]
        found = self.happened(asked.events[0], asked.within_ns, asked.in_run, now_ns)
        if asked.kind == "since":
            later = self.happened(asked.events[1], None, asked.in_run, now_ns)
            if any(sure and all(at >= other for _, other, _ in later) for sure, at, _ in found):
                return True
            found = [one for one in found if not any(sure and other > one[1] for sure, other, _ in later)]
            return None if found else False
        return True if any(sure for sure, _, _ in found) else None if found else False

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        asked = self.plan.watches[watch]
        found = self.happened(asked.events[0], asked.within_ns, asked.in_run, now_ns)
        return sum(sure for sure, _, _ in found), len(found)

    def ordered(self, watch: str, value: Json) -> Truth:
        asked = self.plan.watches[watch]

        def came(step: int, after: float, surely: bool) -> bool:
            if step == len(asked.events):
                return True
            return any(
                came(step + 1, at, surely)
                for sure, at, call in self.happened(asked.events[step], None, asked.in_run, 0)
                if call.decided > after and (sure or not surely)
                if asked.same is None
                or (asked.same in call.arguments and call.arguments[asked.same] == value)
            )

        return True if came(0, -1, True) else None if came(0, -1, False) else False

    def carries(self, rank: int) -> Truth:
        return self.label() >= rank

    def comes_from(self, value: Json, source: Origin) -> Truth:
        if source.kind == "model":
            others = [Origin(kind, only=True) for kind in ("user", "system", "attachment")]
            others += [Origin("tool", tool, only=True) for tool in self.plan.by_bound_name]
            answers = [self.comes_from(value, other) for other in others]
            return False if True in answers else None if None in answers else True
        tools, echoed, shown = (
            {e.call: e.tool for e in self.events if e.kind == "CallRequested"},
            False,
            False,
        )
        known = source.kind != "user"
        lost = any(call.lost and call.tool == source.tool for call in self.calls())
        for event in self.events:
            if event.kind == "CallRequested":
                echoed = echoed or any(holds(text, value) for text in texts(event.arguments))
            elif event.kind == "PromptGiven" and event.source == source.kind:
                known = True
                if any(holds(text, value) for text in texts(event.text)):
                    return True
            elif event.kind == "CallFinished" and tools[event.call] == source.tool:
                shown = True
                leaves = list(texts(event.result, source.path if source.kind == "field" else None))
                matched = value in leaves or (source.kind == "tool" and any(holds(t, value) for t in leaves))
                if matched and not echoed:
                    return True
        return False if known and not lost and not (shown and not source.only) else None


def holds(text: str, value: Json) -> bool:
    """Say whether the value is a whole, token-delimited span of the text."""
    return re.search(_BEFORE + re.escape(str(value)) + _BEHIND, text) is not None


def texts(value: Json, path: tuple[str, ...] | None = None) -> Iterator[str]:
    """All texts in a value, or those at a path; lists are transparent."""
    if isinstance(value, list):
        for element in value:
            yield from texts(element, path)
    elif isinstance(value, dict):
        for name, element in value.items():
            if path is None or path[:1] == (name,):
                yield from texts(element, None if path is None else path[1:])
    elif isinstance(value, str) and not path:
        yield value
