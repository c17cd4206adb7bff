"""Policy tests: `test "…" { … }`."""

from dataclasses import dataclass
from typing import Any
from typing import Literal as OneOf

from ringfence.dsl.source import Span
from ringfence.dsl.syntax.expressions import Path
from ringfence.dsl.syntax.words import Duration, Name, Text


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON value as a test writes it: a text, a number, true, false, a list, a record."""

    value: Any
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """`to: ["a@b.example"]`; without a name in `given is_customer("a@b.example")`."""

    name: Name | None
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Invocation:
    """`send_email(to: [], body: "x")`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Who:
    """`agent support`, `user "alice"`, `tier "gold"`."""

    attribute: Name
    value: Name | Text
    span: Span


@dataclass(frozen=True, slots=True)
class As:
    """`as agent support, user "alice", workspace "w1"`."""

    who: tuple[Who, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class At:
    """`at "2026-11-23 10:00 Europe/London"`."""

    moment: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Prompt:
    """`prompt "…"`: typed by the user."""

    text: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Wait:
    """`wait 6 minutes`."""

    duration: Duration
    span: Span


@dataclass(frozen=True, slots=True)
class NewRun:
    """`new run`: the next run of the same session."""

    span: Span


@dataclass(frozen=True, slots=True)
class Given:
    """`given is_customer("x@y.example") gives true`."""

    function: Invocation
    answer: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Ran:
    """`ran web_fetch(url: "…") returning "…" signed by support_lead, privacy_officer`."""

    call: Invocation
    returning: Value | None
    signed_by: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Called:
    """`call send_email(…) is denied by send_email.rate`: what is expected of one call."""

    call: Invocation
    expected: OneOf["allowed", "not found", "denied", "asks"]
    approver: Name | None
    """Of `asks`."""
    by: Path | None
    span: Span


PolicyTestStep = As | At | Prompt | Wait | NewRun | Given | Ran | Called


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """`test "…" { … }`."""

    name: Text
    steps: tuple[PolicyTestStep, ...]
    span: Span
