"""Calls, decisions and facts as the records that events hold, and back.

The guard writes events with these, and replay reads them with the same: so a decision that is made again
from a record can be compared with the recorded one, field by field.
"""

from collections.abc import Mapping, Sequence

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, TextFile, Verdict
from ringfence.engine.decision.calls import (
    NO_FACTS,
    RESERVED,
    Charge,
    Decision,
    Facts,
    Refusal,
    ToolCall,
    digest_of,
)
from ringfence.engine.decision.events import CallDecided, CallRequested, RunStarted
from ringfence.engine.decision.written import around_call, quoted, reason_of, reason_record


def requested(
    key: str,
    call: ToolCall,
    parent: str | None = None,
    *,
    withheld: str | None = None,
    arguments: Json = None,
    ahead: bool = False,
) -> CallRequested:
    """Return the event for a call that reached the guard.

    Args:
        ahead: It is asked about before the framework makes it.
        withheld: Why the record may not show the arguments; then `arguments` stand in for them.
    """
    names = None if call.schema_names is None else tuple(sorted(call.schema_names))
    shown = dict(call.arguments) if withheld is None else arguments
    return CallRequested(
        key, call.tool, shown, call.call_id, call.task, parent, call.attempt, names, withheld, ahead
    )


def call_of(event: CallRequested) -> ToolCall:
    """Return the call that the event recorded; with stand-ins for arguments that were withheld."""
    given = event.arguments
    arguments = given if type(given) is dict or isinstance(given, Mapping) else {}
    names = None if event.schema_names is None else frozenset(event.schema_names)
    return ToolCall(event.tool, arguments, event.call_id, event.task, event.attempt, names)


def decided(
    key: str,
    call: ToolCall,
    decision: Decision,
    facts: Facts,
    *,
    levels: Sequence[str] = (),
    said: bytes | None = None,
    edited: Mapping[str, Json] | None = None,
) -> CallDecided:
    """Return the event for a decision; total: arguments that are no JSON have the empty digest.

    Args:
        levels: Those of the plan, lowest first: they name the decision's label.
        said: The canonical form of the call's arguments, where the caller has it already; nobody else may
            change them meanwhile.
        edited: The call's arguments, where the record has had others since.
    """
    try:
        if said is not None and (
            decision.arguments is call.arguments or untouched(decision.arguments, call.arguments)
        ):
            decided_on, same = said, True
        else:
            decided_on = canonical(dict(decision.arguments))
            same = decided_on == (canonical(dict(call.arguments)) if said is None else said)
        own = digest_of(call.tool, decided_on)
    except (ValueError, TypeError, RecursionError):
        own, same = "", True  # fails closed: such arguments have been denied, and no ticket fits ""
    return CallDecided(
        call=key,
        verdict=_VERDICTS[decision.verdict],
        reasons=[*map(reason_record, decision.reasons)],
        shadow=[*map(reason_record, decision.shadow)],
        arguments=None if same else dict(decision.arguments),
        digest=own,
        charges=[*map(charge_record, decision.charges)],
        asks=decision.asks,
        facts=facts_record(facts),
        label=None if decision.label is None else levels[decision.label],
        edited=edited,
    )


_VERDICTS = {verdict: str(verdict) for verdict in Verdict}
_ALLOW = Verdict.ALLOW


class Form:
    """What the allows of one tool in one run say alike: everything but the call, and the digest of it.

    Most say nothing else, so these parts are made and written once.
    INVARIANT: nobody changes the records in an event; all events of a form share them.
    """

    __slots__ = ("_begun", "_between", "_charges", "_end", "_event", "_facts", "_label", "_reasons")

    def __init__(
        self, event: CallDecided, decision: Decision, facts: Facts, around: tuple[str, str, str]
    ) -> None:
        self._event = event
        self._reasons, self._charges, self._label = decision.reasons, decision.charges, decision.label
        self._facts = facts
        self._begun, self._between, self._end = around

    def of(
        self, key: str, call: ToolCall, decision: Decision, facts: Facts, said: bytes
    ) -> tuple[CallDecided, bytes] | None:
        """Return what `decided` and `decided_body` give; None: the decision says something else.

        Args:
            said: The canonical form of the call's arguments.
        """
        verdict, reasons, arguments, _, charges, _, halt, shadow, label = decision
        if (
            facts is not self._facts
            or charges is not self._charges
            or verdict is not _ALLOW
            or shadow
            or halt is not None
            or label != self._label
            or reasons != self._reasons
            or not untouched(arguments, call.arguments)
        ):
            return None
        try:
            digest, same = digest_of(call.tool, said), self._event
            event = CallDecided(
                key, same.verdict, same.reasons, same.shadow, None, digest,
                same.charges, (), same.facts, same.label,
            )  # fmt: skip
            return event, f"{self._begun}{quoted(key)}{self._between}{quoted(digest)}{self._end}".encode()
        except (ValueError, TypeError):  # a lone surrogate: said at length
            return None


def form_of(event: CallDecided, decision: Decision, facts: Facts) -> Form | None:
    """Return the form of an allow that others may have, too; None: it is said at length each time."""
    if decision.verdict is not _ALLOW or decision.shadow or decision.halt is not None:
        return None
    if (facts is not RESERVED and facts is not NO_FACTS) or event.redacted:
        return None
    around = around_call(event, decision, facts)
    return None if around is None else Form(event, decision, facts, around)


def untouched(canonical_arguments: Mapping[str, Json], given: Mapping[str, Json]) -> bool:
    """Say whether every value is the very object that was given, or the same text: the usual case.

    A list may be another one that holds the very same objects.
    """
    if len(canonical_arguments) != len(given):
        return False
    for name, value in canonical_arguments.items():
        own = given.get(name, untouched)
        if own is value or (type(own) is type(value) is str and own == value):
            continue
        if type(value) is not list or type(own) is not list or len(value) != len(own):
            return False
        for one, other in zip(value, own, strict=True):
            if one is not other:
                return False
    return True


def charge_record(charge: Charge) -> dict[str, Json]:
    """Return one charge as a record; `counting` and `members` only where they say something."""
    record: dict[str, Json] = {"budget": charge.budget, "key": charge.key, "amount": charge.amount}
    if charge.counting != "calls":
        record["counting"] = charge.counting
    if charge.members:
        record["members"] = list(charge.members)
    return record


def facts_record(facts: Facts) -> dict[str, Json]:
    """Return the facts as a record; times as decimal text, since they can be beyond 2^53-1."""
    if facts is RESERVED or facts is NO_FACTS:  # as it is most of the time
        said: dict[str, Json] = {"attempted": None, "approved_by": {}, "answers": {}, "failed": None}
        said["reserved"] = [] if facts is RESERVED else None
        return said
    people = facts.approved_by
    record: dict[str, Json] = {
        "reserved": None if facts.reserved is None else [*map(_refusal_record, facts.reserved)],
        "attempted": None if facts.attempted is None else [*map(_refusal_record, facts.attempted)],
        "approved_by": {approver: list(people[approver]) for approver in people} if people else {},
        "answers": dict(facts.answers) if facts.answers else {},
        "failed": facts.failed,
    }
    if facts.above:
        record["above"] = [reason_record(reason) for reason in facts.above]
    return record


def _refusal_record(refusal: Refusal) -> dict[str, Json]:
    free_ns = refusal.free_ns
    return {
        "budget": refusal.budget,
        "key": refusal.key,
        "free_ns": None if free_ns is None else str(free_ns),
    }


def facts_of(record: Mapping[str, Json]) -> Facts:
    """Rebuild facts from their record; raise KeyError, TypeError or ValueError for another shape.

    A record from before there were answers and attempts says nothing of them.
    """
    if record == _NO_RECORD:
        return NO_FACTS
    return Facts(
        reserved=_refusals_of(record["reserved"]),
        approved_by={approver: tuple(people) for approver, people in record["approved_by"].items()},
        answers={key: list(answer) for key, answer in record.get("answers", {}).items()},
        attempted=_refusals_of(record.get("attempted")),
        above=tuple(reason_of(one) for one in record.get("above", ())),
        failed=record["failed"],
    )


_NO_RECORD = facts_record(NO_FACTS)


def _refusals_of(record: Json) -> tuple[Refusal, ...] | None:
    if record is None:
        return None
    return tuple(
        Refusal(item["budget"], item["key"], None if item["free_ns"] is None else int(item["free_ns"]))
        for item in record
    )


def texts_of(begun: RunStarted) -> tuple[TextFile, ...]:
    """Return the texts that the run's policy was made from, the policy first.

    Raises:
        KeyError, TypeError, ValueError: they are recorded in another shape.
    """
    others = (TextFile(one["role"], one["name"], one["text"]) for one in begun.files)
    return (TextFile("policy", begun.policy_file, begun.policy_text), *others)


def texts_record(files: Sequence[TextFile]) -> tuple[dict[str, Json], ...]:
    """Return the texts beside the policy as they are recorded."""
    return tuple({"role": one.role, "name": one.name, "text": one.text} for one in files[1:])
