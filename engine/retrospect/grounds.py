"""What a recorded decision rested on: the session's label, where values came from, what was missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ringfence.dsl.plan import Origin, Plan, Reason, ToolPlan
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.decision.records import facts_of
from ringfence.engine.decision.retold import call_again
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Fold, compiled


@dataclass(frozen=True, slots=True)
class Grounds:
    """What was known when a call was decided."""

    seq: int
    label: str | None
    """The session's level; None: the policy has none, or it is not known."""
    sources: Mapping[str, tuple[str, ...]]
    """Argument -> where its value was found, as a policy writes it."""
    remedies: tuple[str, ...]
    """What would have allowed it, one for each reason against it."""


def grounds(record: RunRecord, call: str) -> list[Grounds]:
    """Return what was known at each decision of one call, in order.

    Raises:
        RecordError: The run, or one that it goes on from, is not whole, or its policy does not load.
    """
    if record.tale.gaps:
        raise RecordError(f"events of run `{record.run}` were purged: what it knew cannot be told")
    plan = compiled(record.started, record.run)
    fold = Fold(record, plan)
    found: list[Grounds] = []
    for stamped in record.events[1:]:
        event = stamped.event
        if isinstance(event, CallDecided) and event.call == call and call in fold.state.calls:
            known = fold.state.calls[call]
            try:
                again = call_again(known, event, plan.by_bound_name.get(known.tool))
                facts = facts_of(event.facts)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RecordError(f"the facts of event {stamped.seq} cannot be read: {error}") from error
            now_ns = max(stamped.at_ns, fold.state.latest_ns)
            shown = known.request if isinstance(again, str) else again
            made = decide(plan, fold.state, shown, facts, now_ns=now_ns, key=call)
            recall = fold.state.recall
            label = plan.levels[recall.label] if plan.levels and not recall.unknown else None
            sources: dict[str, tuple[str, ...]] = {}
            if recall.traces is not None and not isinstance(again, str):
                sources = {
                    name: ("approver",)
                    if name in known.edited
                    else tuple(map(said, recall.sources_of(value)))
                    for name, value in made.arguments.items()
                }
            tool = plan.by_bound_name.get(known.tool)
            remedies = tuple(dict.fromkeys(_remedies(plan, tool, made.reasons, made.asks)))
            found.append(Grounds(stamped.seq, label, sources, remedies))
        fold.take(stamped)
    return found


def said(origin: Origin) -> str:
    """Return a source as a policy writes it."""
    return origin.kind if origin.tool is None else ".".join([origin.tool, *origin.path])


def _remedies(
    plan: Plan, tool: ToolPlan | None, reasons: tuple[Reason, ...], asks: tuple[str, ...]
) -> Iterator[str]:
    for approver in asks:
        yield f"an approval by {approver}"
    if tool is None:
        yield "a declaration of this tool in the policy"
        return
    budgets = {budget.reason for budget in tool.budgets}
    for reason in reasons:
        name, _, failing = reason.name.partition("!")
        if reason.effect == "unknown":
            yield f"a run that may use `{tool.name}`: {reason.detail}"
        elif reason.effect == "halt" and name not in budgets:
            yield f"a new run: `{name}` ended this one"
        elif reason.effect not in ("deny", "halt"):
            continue
        elif name == "engine":
            yield "a decision that could be made: store, ledger and plugins must answer"
        elif failing == "key":
            yield f"the missing value: {reason.detail}"
        elif name in budgets:
            yield f"room in `{name}`, later or with a larger limit"
        elif name == f"{tool.name}.arguments":
            yield f"arguments that fit: {reason.detail}"
        elif name == f"{tool.name}.allow":
            yield from _allowing(tool)
        elif failing:
            yield f"`{name}` being decided: what it asks could not be answered{_at(reason)}"
        else:
            yield f"`{name}` not standing in the way{_at(reason)}"


def _allowing(tool: ToolPlan) -> Iterator[str]:
    if not tool.allows:
        yield f"an `allow` clause of `{tool.name}`: it has none"
    for clause in tool.allows:
        yield f"the `allow` at {clause.place} being true"


def _at(reason: Reason) -> str:
    because = f", because {reason.because}" if reason.because else ""
    return "" if reason.place is None else f" (at {reason.place}{because})"
