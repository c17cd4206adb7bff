"""What is said over the wire: questions and withdrawals out, answers in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ringfence.plugin import Answer, Json, Question, loads_strict

_BY_AT_MOST = 256
_BECAUSE_AT_MOST = 4_000


@dataclass(frozen=True, slots=True)
class Message:
    """One message, the same for every try: the receiver tells by its id that it has it already."""

    id: str
    body: bytes


def asked(question: Question) -> Message:
    """Return the message `approval.asked`."""
    data: dict[str, Json] = {
        "ticket": question.ticket,
        "run": question.run,
        "agent": question.agent,
        "tool": question.tool,
        "arguments": dict(question.arguments),
        "sources": {name: list(found) for name, found in question.sources.items()},
        "approver": question.approver,
        "group": question.group,
        "because": question.because,
        "requester": question.requester,
        "asked_at": _moment(question.asked_ns),
        "asked_ns": str(question.asked_ns),
        "expires_at": None if question.expires_ns is None else _moment(question.expires_ns),
        "expires_ns": None if question.expires_ns is None else str(question.expires_ns),
        "text": question.text,
    }
    body = {"type": "approval.asked", "timestamp": _moment(question.asked_ns), "data": data}
    return Message(f"asked_{question.ticket}", _encoded(body))


def withdrawn(ticket: str, because: str, *, at_ns: int) -> Message:
    """Return the message `approval.withdrawn`."""
    body: dict[str, Json] = {
        "type": "approval.withdrawn",
        "timestamp": _moment(at_ns),
        "data": {"ticket": ticket, "because": because},
    }
    return Message(f"withdrawn_{ticket}", _encoded(body))


@dataclass(frozen=True, slots=True)
class Said:
    """One person's answer."""

    ticket: str
    verdict: Answer
    by: str
    because: str | None
    edited: Mapping[str, Json] | None


def said(body: bytes) -> Said:
    """Read an answer; raise ValueError, with what is wrong, for anything but exactly one."""
    value = loads_strict(body)
    if not isinstance(value, dict):
        raise ValueError("an answer is a record")
    unknown = sorted(value.keys() - {"ticket", "verdict", "by", "because", "edited"})
    if unknown:
        raise ValueError(f"an answer has no `{unknown[0]}`")
    verdict, edited = value.get("verdict"), value.get("edited")
    if verdict not in ("approve", "reject"):
        raise ValueError("`verdict` must be `approve` or `reject`")
    if edited is not None and not isinstance(edited, dict):
        raise ValueError("`edited` must be a record of arguments")
    if edited is not None and verdict == "reject":
        raise ValueError("`edited` goes with `approve`")
    return Said(
        ticket=_text(value, "ticket", _BY_AT_MOST),
        verdict="approve" if verdict == "approve" else "reject",
        by=_text(value, "by", _BY_AT_MOST),
        because=None if value.get("because") is None else _text(value, "because", _BECAUSE_AT_MOST, least=0),
        edited=edited,
    )


def _text(record: Mapping[str, Json], name: str, most: int, *, least: int = 1) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise ValueError(f"`{name}` must be text of {least} to {most} characters")
    return value


def _moment(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{rest_ns // 1_000_000:03d}Z"


def _encoded(body: Mapping[str, Json]) -> bytes:
    """Return JSON in ASCII: what a model wrote cannot steer whatever shows the raw text."""
    return json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
