"""Who answers, who acts, what is told, where code runs."""

from dataclasses import dataclass
from typing import Literal as OneOf

from ringfence.dsl.source import Span
from ringfence.dsl.syntax.tools import StopAfter
from ringfence.dsl.syntax.words import Count, Duration, Name, Size, Text


@dataclass(frozen=True, slots=True)
class Group:
    """`group "support-leads"`."""

    name: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Quorum:
    """`quorum 2`."""

    count: Count
    span: Span


@dataclass(frozen=True, slots=True)
class NeverRequester:
    """`never the requester`."""

    span: Span


@dataclass(frozen=True, slots=True)
class AnswerWithin:
    """`answer within 15 minutes otherwise deny` (or `otherwise ask NAME`)."""

    within: Duration
    otherwise_ask: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Approver:
    """`approver support_lead { … }`."""

    name: Name
    clauses: tuple[Group | Quorum | NeverRequester | AnswerWithin, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Holds:
    """`holds read_data, browse`."""

    capabilities: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class AtMost:
    """`at most 40 calls`, `at most 5 denials`, `at most 3 approval requests`; `noun` is as written."""

    count: Count
    noun: Name
    span: Span


@dataclass(frozen=True, slots=True)
class MayStart:
    """`may start researcher`."""

    agents: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Agent:
    """`agent support { … }`."""

    name: Name
    clauses: tuple[Holds | StopAfter | AtMost | MayStart, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Says:
    """`deny says "not authorized"`; `text` is None for `deny says because`."""

    occasion: Name
    text: Text | None
    span: Span


@dataclass(frozen=True, slots=True)
class Latency:
    """`latency at least 40 ms in steps of 20 ms`."""

    floor: Duration
    step: Duration
    span: Span


@dataclass(frozen=True, slots=True)
class Responses:
    """`responses { … }`."""

    clauses: tuple[Says | Latency, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class IsolateClause:
    """`lockdown full`, `memory 64 MB`, `cpu 500 ms`, `may call a, b`, `clock coarse 5 ms` and so on."""

    kind: OneOf["lockdown", "memory", "cpu", "time", "may call", "output", "clock"]
    value: Name | Size | Duration | tuple[Name, ...]
    step: Duration | None
    """Of `clock coarse`."""
    span: Span


@dataclass(frozen=True, slots=True)
class Isolate:
    """`isolate calculator { … }`."""

    name: Name
    clauses: tuple[IsolateClause, ...]
    span: Span
