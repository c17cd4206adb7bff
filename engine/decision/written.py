"""The bodies that every call records, put together from their parts.

Each gives exactly the bytes of `canonical(body_of(event))`, at a fraction of its cost: the names and their
order are known, the arguments are canonical already, and a reason is the same in every call.  Where a part is
unusual they give None, and the body is made the general way.
"""

from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any

from ringfence.dsl.canonical import LARGEST_INTEGER, canonical
from ringfence.dsl.plan import Json, Reason
from ringfence.dsl.source import Place
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Charge, Decision, Facts
from ringfence.engine.decision.events import CallDecided, CallFinished, CallRequested, CallStarted, RunEvent

quoted = encode_basestring


def requested_body(event: CallRequested, said: bytes) -> bytes | None:
    """Return the body of a request whose arguments have the canonical form `said`."""
    if event.withheld is not None or event.ahead:
        return None
    try:
        names = event.schema_names
        named = "null" if names is None else "[" + ",".join(map(quoted, names)) + "]"
        attempt = "null" if event.attempt is None else quoted(event.attempt)
        call_id = "null" if event.call_id is None else quoted(event.call_id)
        parent = "null" if event.parent is None else quoted(event.parent)
        task = "null" if event.task is None else quoted(event.task)
        return (
            b'{"arguments":'
            + said
            + (
                f',"attempt":{attempt},"call":{quoted(event.call)},"call_id":{call_id},"parent":{parent}'
                f',"schema_names":{named},"task":{task},"tool":{quoted(event.tool)},"withheld":null}}'
            ).encode()
        )
    except (ValueError, TypeError):  # a lone surrogate, or no text: the general way describes it
        return None


def decided_body(event: CallDecided, decision: Decision, facts: Facts) -> bytes | None:
    """Return the body of a decision, made from what the event was made of."""
    around = around_call(event, decision, facts)
    if around is None:
        return None
    begun, between, end = around
    try:
        return f"{begun}{quoted(event.call)}{between}{quoted(event.digest)}{end}".encode()
    except (ValueError, TypeError):  # a lone surrogate, or no text: the general way describes it
        return None


def around_call(event: CallDecided, decision: Decision, facts: Facts) -> tuple[str, str, str] | None:
    """Return the parts of a decision's body before its call, between that and its digest, and after it."""
    if event.arguments is not None or event.edited is not None:
        return None
    if facts is not RESERVED and facts is not NO_FACTS:
        if facts.approved_by or facts.failed is not None or facts.reserved:
            return None
        if facts.answers or facts.attempted or facts.above:
            return None
    try:
        reasons = ",".join(map(reason_text, decision.reasons))
        shadow = ",".join(map(reason_text, decision.shadow))
        charges = ",".join(map(_charge, decision.charges))
        asks = ",".join(map(quoted, event.asks))
        reserved = "null" if facts.reserved is None else "[]"
        label = "null" if event.label is None else quoted(event.label)
        attempted = "null" if facts.attempted is None else "[]"
        return (
            f'{{"arguments":null,"asks":[{asks}],"call":',
            f',"charges":[{charges}],"digest":',
            f',"facts":{{"answers":{{}},"approved_by":{{}},"attempted":{attempted}'
            f',"failed":null,"reserved":{reserved}}},"label":{label}'
            f',"reasons":[{reasons}],"shadow":[{shadow}],"verdict":{quoted(event.verdict)}}}',
        )
    except (ValueError, TypeError):  # a lone surrogate, or no text: the general way describes it
        return None


def started_body(event: CallStarted) -> bytes | None:
    """Return the body of a dispatch."""
    try:
        return f'{{"call":{quoted(event.call)}}}'.encode()
    except (ValueError, TypeError):  # a lone surrogate, or no text: the general way describes it
        return None


def finished_body(event: CallFinished) -> bytes | None:
    """Return the body of a result."""
    duration_ns = event.duration_ns
    if (
        event.truncated is not None
        or event.redacted
        or type(duration_ns) is not int
        or not 0 <= duration_ns <= LARGEST_INTEGER
    ):
        return None
    try:
        return (
            f'{{"call":{quoted(event.call)},"duration_ns":{duration_ns},"result":'.encode()
            + canonical(event.result)
            + b',"truncated":null}'
        )
    except (ValueError, TypeError, RecursionError):  # what JSON cannot say: the general way describes it
        return None


WRITERS: Mapping[type[RunEvent], Callable[[Any], bytes | None]] = {
    CallStarted: started_body,
    CallFinished: finished_body,
}
"""Those that need nothing but the event."""


def reason_record(reason: Reason) -> dict[str, Json]:
    """Return one reason as a record; made once, since most reasons are those of the plan."""
    record = reason.record
    if record is None:
        record = {
            "name": reason.name,
            "effect": reason.effect,
            "place": None if reason.place is None else str(reason.place),
            "because": reason.because,
            "detail": reason.detail,
        }
        object.__setattr__(reason, "record", record)
    return record.copy()


def reason_of(record: Mapping[str, Json]) -> Reason:
    """Rebuild a reason from its record; raise KeyError or TypeError for another shape."""
    place = None if record["place"] is None else _place(record["place"])
    return Reason(record["name"], record["effect"], place, record["because"], record["detail"])


def _place(said: str) -> Place:
    file, line, column = said.rsplit(":", 2)
    return Place(file, int(line), int(column))


def reason_text(reason: Reason) -> str:
    """Return the reason's record as canonical JSON; remembered, since most reasons are those of the plan."""
    written = reason.written
    if written is None:
        written = canonical(reason_record(reason)).decode()
        object.__setattr__(reason, "written", written)
    return written


def _charge(charge: Charge) -> str:
    amount = charge.amount
    if type(amount) is not int or not -LARGEST_INTEGER <= amount <= LARGEST_INTEGER:
        raise ValueError("no amount that JSON can say")
    budget, key = quoted(charge.budget), quoted(charge.key)
    if charge.counting == "calls" and not charge.members:
        return f'{{"amount":{amount},"budget":{budget},"key":{key}}}'
    counting = "" if charge.counting == "calls" else f'"counting":{quoted(charge.counting)},'
    members = f',"members":[{",".join(map(quoted, charge.members))}]' if charge.members else ""
    return f'{{"amount":{amount},"budget":{budget},{counting}"key":{key}{members}}}'
