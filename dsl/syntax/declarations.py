"""What stands at the top of a policy."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from ringfence.dsl.source import Source, Span
from ringfence.dsl.syntax.expressions import ListOf
from ringfence.dsl.syntax.people import Agent, Approver, Isolate, Responses
from ringfence.dsl.syntax.rules import BudgetOf, Guarantee, Order, Rule
from ringfence.dsl.syntax.tests import PolicyTest
from ringfence.dsl.syntax.tools import Tool
from ringfence.dsl.syntax.words import Count, Name, Param, Pattern, Text, TypeName


@dataclass(frozen=True, slots=True)
class Edition:
    """`language 1`."""

    number: Count
    span: Span


@dataclass(frozen=True, slots=True)
class PolicyHeader:
    """`policy support_desk version "2026.11.1" under "org/acme.fence"`, or `ceiling acme_org version "7"`."""

    name: Name
    version: Text | None
    under: Text | None
    is_ceiling: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """`use "shared/words.fence"`: its declarations count as if they stood here."""

    path: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Levels:
    """`levels public < internal < secret`, lowest first."""

    names: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Calendar:
    """`calendar support_hours = monday to friday 08:00 to 18:00 in "Europe/London"`."""

    name: Name
    first_day: Name
    last_day: Name
    opens: Text
    closes: Text
    """`08:00`, as written; the end is exclusive."""
    zone: Text
    span: Span


@dataclass(frozen=True, slots=True)
class FunctionOf:
    """`function is_customer(address: email) gives boolean from "acme_plugins"`."""

    name: Name
    params: tuple[Param, ...]
    gives: TypeName
    plugin: Text
    span: Span


@dataclass(frozen=True, slots=True)
class Capability:
    """`capability browse is read, external`."""

    name: Name
    traits: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SetOf:
    """`set tables = ["users", "orders"]`."""

    name: Name
    items: ListOf
    span: Span


@dataclass(frozen=True, slots=True)
class PatternOf:
    """`pattern ticket = /T-[0-9]{6}/`."""

    name: Name
    pattern: Pattern
    span: Span


@dataclass(frozen=True, slots=True)
class PrincipalHas:
    """`principal has tier: text`."""

    params: tuple[Param, ...]
    span: Span


Declaration = (
    Edition
    | PolicyHeader
    | Use
    | Levels
    | Capability
    | SetOf
    | PatternOf
    | Calendar
    | FunctionOf
    | PrincipalHas
    | Approver
    | Agent
    | Responses
    | Isolate
    | Tool
    | Rule
    | Order
    | BudgetOf
    | Guarantee
    | PolicyTest
)


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed layer: the declarations of a file in the order they were written.

    Those of a file that it uses stand behind the `use`, as if they were written there.
    `lost` holds the words of statements that could not be read: a name among them may well have been
    declared there, so that its absence is not worth a second report.  It holds every word if a whole
    file is missing.
    """

    source: Source
    file: Span
    """The range of the file itself."""
    declarations: tuple[Declaration, ...]
    lost: Container[str] = frozenset()
    scripts: Mapping[Span, str] = field(default_factory=dict)
    """The JavaScript that `runs "FILE"` names, by the place of the name."""
