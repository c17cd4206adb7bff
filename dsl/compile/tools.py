"""From a checked tool to its `ToolPlan`: closures, budgets, obligations, rules across tools merged in."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile import core as core_form
from ringfence.dsl.compile.canonicalisers import AS_IS, canonicaliser
from ringfence.dsl.compile.certain import certain
from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.compile.operands import operand
from ringfence.dsl.compile.periods import PERIODS_NS
from ringfence.dsl.compile.watches import asked
from ringfence.dsl.draft import BudgetDraft, ClauseDraft, Draft, LabelDraft, Slot, ToolDraft
from ringfence.dsl.plan import (
    AuditRule,
    Budget,
    Clause,
    Condition,
    Isolated,
    Json,
    LabelClause,
    Obligations,
    Parameter,
    Redaction,
    ToolPlan,
)
from ringfence.dsl.source import Place, Source, Span


class Tools(Mapping[str, ToolPlan]):
    """The tools of a plan; each is compiled when it is first asked for, and is the same ever after.

    Immutable to the eye: compiling is a pure function of the draft, so it does not matter when it
    happens, nor that two threads may do it at once.
    """

    __slots__ = ("_compiler", "_names", "_ready")

    def __init__(self, compiler: "Compiler", names: Mapping[str, str]) -> None:
        self._compiler = compiler
        self._names = names
        self._ready: dict[str, ToolPlan] = {}

    def __getitem__(self, name: str) -> ToolPlan:
        ready = self._ready.get(name)
        if ready is None:
            ready = self._ready.setdefault(name, self._compiler.tool(self._names[name]))
        return ready

    def get(self, name: str, default: ToolPlan | None = None) -> ToolPlan | None:  # type: ignore[override]
        """Return the tool or `default`; quicker than what `Mapping` inherits, for the hot path."""
        ready = self._ready.get(name)
        if ready is not None:
            return ready
        return self[name] if name in self._names else default

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


AUDITS = ("minimal", "standard", "full")


class Compiler:
    """Compiles the tools of a policy and its ceilings, each once; rules across tools share their closures."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._layers = (draft, *draft.ceilings)
        self._source: Source = draft.document.source
        self._done: dict[str, ToolPlan] = {}
        self._clauses: dict[int, Clause] = {}
        self._conditions: dict[int, Condition | None] = {}

    def tool(self, name: str) -> ToolPlan:
        """Return the plan of one tool."""
        done = self._done.get(name)
        return done if done is not None else self._done.setdefault(name, self._compile(name))

    def _compile(self, name: str) -> ToolPlan:
        entry = self._draft.tools[name]
        node = entry.node
        parts = [(part, layer.layer) for layer in self._layers for part in parts_of(layer, name)]
        parts.sort(key=lambda pair: pair[0].span)
        said = [(part.principal, part.reason, part.span) for part, _ in parts]
        for layer in self._layers:
            said += [
                (one.principal[name], one.node.name.text, one.node.span)
                for one in layer.amounts.values()
                if name in one.principal
            ]
        clauses = [self._clause(part, layer) for part, layer in parts if part.effect in _DECIDING]
        return ToolPlan(
            name=name,
            bound=node.bound.value if node.bound else name,
            description=node.description.value if node.description else None,
            needs=frozenset(entry.needs),
            traits=entry.traits,
            parameters=self._parameters(entry),
            denies=tuple(clause for clause in clauses if clause.effect == "deny"),
            asks=tuple(clause for clause in clauses if clause.effect == "ask"),
            allows=tuple(self._allows(entry, clauses)),
            budgets=tuple(self._budgets(name)),
            obligations=self._obligations(name),
            place=self.place(node.name),
            required=frozenset(key for key, slot in (entry.slots or {}).items() if not slot.optional),
            principal_fields=self._first_of_each(said),
            labels=tuple(self._labels(name)),
            redactions=tuple(self._redactions(parts)),
            audits=tuple(self._audit(part, layer) for part, layer in parts if part.effect == "audit"),
            isolated=_isolated(self._draft, entry),
            starts=entry.starts,
            remembers=any(True for core in self.cores(name) for _ in asked(core)),
            certainly=certain,
        )

    def cores(self, name: str) -> Iterator[Json]:
        """Yield every condition and operand that is looked at for one tool."""
        for layer in self._layers:
            yield from cores_of(layer, name)

    def _parameters(self, entry: ToolDraft) -> Mapping[str, Parameter] | None:
        if entry.slots is None:
            return None
        return MappingProxyType({name: self.parameter(slot) for name, slot in entry.slots.items()})

    def place(self, node: syntax.Name) -> Place:
        """Return where a name stands."""
        return self._source.place(node.span)

    def parameter(self, slot: Slot) -> Parameter:
        """Return the plan of a parameter or of an attribute of the principal."""
        canonical = canonicaliser(slot.type)
        place = self._source.place(slot.span)
        return Parameter(slot.name, slot.written, slot.optional, canonical, place, AS_IS.get(canonical))

    def _allows(self, entry: ToolDraft, clauses: list[Clause]) -> Iterator[Clause]:
        if entry.starts is not None:  # `may start` is what allows it
            name = entry.node.name
            yield Clause(f"{name.text}.allow", "allow", None, core_form.ALWAYS, self.place(name))
        yield from (clause for clause in clauses if clause.effect == "allow")

    def _clause(self, part: ClauseDraft, layer: str | None) -> Clause:
        ready = self._clauses.get(id(part))
        if ready is not None:
            return ready
        clause = Clause(
            name=part.reason,
            effect=part.effect,  # type: ignore[arg-type]  # the others are no clauses of a plan
            condition=self._condition(part),
            core=_written(part.core),
            place=self._source.place(part.span),
            because=part.because,
            approver=part.approver.text if part.approver else None,
            shadow=part.shadow,
            principal_fields=part.principal,
            layer=layer,
        )
        return self._clauses.setdefault(id(part), clause)

    def _condition(self, part: ClauseDraft | LabelDraft) -> Condition | None:
        if id(part) not in self._conditions:
            self._conditions[id(part)] = None if part.core == TRUE else bounded(part.core)
        return self._conditions[id(part)]

    def _audit(self, part: ClauseDraft, layer: str | None) -> AuditRule:
        return AuditRule(
            level=part.level,  # type: ignore[arg-type]  # checked against the three
            condition=self._condition(part),
            shadow=part.shadow,
            name=part.reason,
            place=self._source.place(part.span),
            layer=layer,
            core=_written(part.core),
        )

    def _labels(self, name: str) -> Iterator[LabelClause]:
        for layer in self._layers:
            for part in layer.labels.get(name, ()):
                assert part.rank is not None
                place, core = self._source.place(part.span), _written(part.core)
                yield LabelClause(part.rank, self._condition(part), part.otherwise, layer.layer, core, place)

    def _redactions(self, parts: list[tuple[ClauseDraft, str | None]]) -> Iterator[Redaction]:
        found = [(part.redacts, layer, part) for part, layer in parts if part.redacts is not None]
        # Whatever the order of clauses, a parameter passes through the same redactors in the same order.
        found.sort(key=lambda one: (one[0], one[1] or "", one[2].reason))
        for (param, redactor), layer, part in found:
            condition = self._condition(part)
            place = self._source.place(part.span)
            core = _written(part.core)
            yield Redaction(part.reason, param, redactor, condition, place, layer, part.shadow, core)

    def _budgets(self, name: str) -> Iterator[Budget]:
        for layer in self._layers:
            for part in budgets_of(layer, name):
                yield Budget(
                    id=part.id,
                    reason=part.reason,
                    limit=part.limit,
                    period_ns=PERIODS_NS[part.period],
                    scope=part.scope,
                    halts=part.halts,
                    place=self._source.place(part.span),
                    kind=part.kind,
                    counting=part.counting,
                    resources=part.resources,
                    resource=part.resource,
                    amount=None if part.amount is None else operand(part.amount),
                    scale=part.scale,
                    layer=layer.layer,
                    core=part.amount,
                )

    def _obligations(self, name: str) -> Obligations:
        """Join what the layers demand: the tighter bound, the coarser step, the fuller record."""
        said = [core_form.obligations(layer.tools[name].clauses) for layer in self._layers]

        def found(key: str) -> list[Json]:
            return [form[key] for form in said if key in form]

        stop_ms = min(found("stop_ms"), default=None)
        return _shared(
            Obligations(
                max_rows=min(found("max_rows"), default=None),
                max_bytes=min(found("max_bytes"), default=None),
                audit=max(found("audit"), key=AUDITS.index, default="standard"),
                stop_ns=None if stop_ms is None else stop_ms * 1_000_000,
                step_bytes=max(found("step_bytes"), default=None),
            )
        )

    def _first_of_each(
        self, said: list[tuple[tuple[str, ...], str, Span]]
    ) -> tuple[tuple[str, str, Place], ...]:
        fields: dict[str, tuple[str, str, Place]] = {}
        for attributes, reason, span in said:
            for attribute in attributes:
                if attribute not in fields:
                    fields[attribute] = (attribute, reason, self._source.place(span))
        return tuple(fields.values())


@lru_cache(maxsize=1024)
def _shared(obligations: Obligations) -> Obligations:
    return obligations


def _written(core: Json) -> Json:
    return core_form.ALWAYS if core == TRUE else core


_DECIDING = ("deny", "ask", "allow")


def parts_of(layer: Draft, name: str) -> Iterator[ClauseDraft]:
    """Yield what one layer says about a tool: its own clauses, rules over it, orders that end with it."""
    yield from layer.clauses.get(name, ())
    for rule, variant in layer.covering.get(name, ()):
        yield layer.rules[rule].variants[variant]
    for order in layer.ordered.get(name, ()):
        yield layer.orders[order].clauses[name]


def budgets_of(layer: Draft, name: str) -> Iterator[BudgetDraft]:
    """Yield the budgets that one layer puts on a tool."""
    yield from layer.budgets.get(name, ())
    for amount in layer.amounts.values():
        if name in amount.budgets:
            yield amount.budgets[name]


def cores_of(layer: Draft, name: str) -> Iterator[Json]:
    """Yield every condition and operand by which one layer looks at a tool."""
    for part in parts_of(layer, name):
        yield part.core
    for label in layer.labels.get(name, ()):
        yield label.core
    for budget in budgets_of(layer, name):
        if budget.amount is not None:
            yield budget.amount


def _isolated(draft: Draft, entry: ToolDraft) -> Isolated | None:
    for part in entry.clauses:
        if isinstance(part, syntax.Runs):
            if isinstance(part.what, syntax.Name):
                return Isolated(part.isolate.text, part.what.text, None)
            return Isolated(part.isolate.text, None, part.what.value, draft.document.scripts[part.what.span])
    return None
