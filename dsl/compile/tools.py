"""From a checked tool to its `ToolPlan`: closures, budgets, obligations, rules across tools merged in."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile import core as core_form
from ringfence.dsl.compile.canonicalisers import AS_IS, canonicaliser
from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.compile.periods import PERIODS_NS, SCOPES
from ringfence.dsl.draft import ClauseDraft, Draft, Slot, ToolDraft
from ringfence.dsl.plan import Budget, Clause, Json, Obligations, Parameter, ToolPlan
from ringfence.dsl.source import Place, Source


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


class Compiler:
    """Compiles the tools of one draft, each once; rules across tools share their closures."""

    def __init__(self, draft: Draft, policy: str) -> None:
        self._draft = draft
        self._policy = policy
        self._source: Source = draft.document.source
        self._done: dict[str, ToolPlan] = {}
        self._clauses: dict[int, Clause] = {}

    def tool(self, name: str) -> ToolPlan:
        """Return the plan of one tool."""
        done = self._done.get(name)
        return done if done is not None else self._done.setdefault(name, self._compile(name))

    def _compile(self, name: str) -> ToolPlan:
        draft, entry = self._draft, self._draft.tools[name]
        node = entry.node
        parts = [*draft.clauses[name]]
        parts += [draft.rules[rule].variants[variant] for rule, variant in draft.covering.get(name, ())]
        parts.sort(key=lambda part: part.span)
        clauses = [self._clause(part) for part in parts]
        duties = core_form.obligations(node)
        stop_ms = duties.get("stop_ms")
        return ToolPlan(
            name=name,
            bound=node.bound.value if node.bound else name,
            description=node.description.value if node.description else None,
            needs=frozenset(entry.needs),
            traits=entry.traits,
            parameters=self._parameters(entry),
            denies=tuple(clause for clause in clauses if clause.effect == "deny"),
            asks=tuple(clause for clause in clauses if clause.effect == "ask"),
            allows=tuple(clause for clause in clauses if clause.effect == "allow"),
            budgets=tuple(self._budgets(name, entry)),
            obligations=Obligations(
                max_rows=duties.get("max_rows"),
                max_bytes=duties.get("max_bytes"),
                audit=duties.get("audit", "standard"),
                stop_ns=None if stop_ms is None else stop_ms * 1_000_000,
            ),
            place=self.place(node.name),
            required=frozenset(key for key, slot in (entry.slots or {}).items() if not slot.optional),
            principal_fields=_first_of_each(clauses),
        )

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

    def _clause(self, part: ClauseDraft) -> Clause:
        ready = self._clauses.get(id(part))
        if ready is not None:
            return ready
        core: Json = core_form.ALWAYS if part.core == TRUE else part.core
        clause = Clause(
            name=part.reason,
            effect=part.effect,
            condition=None if part.core == TRUE else bounded(part.core),
            core=core,
            place=self._source.place(part.span),
            because=part.because,
            approver=part.approver.text if part.approver else None,
            principal_fields=part.principal,
        )
        return self._clauses.setdefault(id(part), clause)

    def _budgets(self, name: str, entry: ToolDraft) -> Iterator[Budget]:
        taken: dict[str, int] = {}
        for node in entry.node.clauses:
            if not isinstance(node, syntax.Rate):
                continue
            scope = core_form.scope(node)
            # A parameter may have any name, so it is told from the scopes that every tool has.
            counted = "policy" if scope is None else scope if scope in SCOPES else f"arg.{scope}"
            plain = f"{self._policy}/{name}/rate/{node.period.text}/{counted}"
            taken[plain] = taken.get(plain, 0) + 1
            yield Budget(
                id=plain if taken[plain] == 1 else f"{plain}/{taken[plain]}",
                reason=f"{name}.rate",
                limit=node.count.value,
                period_ns=PERIODS_NS[node.period.text],
                scope=scope,
                halts=node.otherwise_halt,
                place=self._source.place(node.span),
            )


def _first_of_each(clauses: list[Clause]) -> tuple[tuple[str, str, Place], ...]:
    fields: dict[str, tuple[str, str, Place]] = {}
    for clause in clauses:
        for attribute in clause.principal_fields:
            fields.setdefault(attribute, (attribute, clause.name, clause.place))
    return tuple(fields.values())
