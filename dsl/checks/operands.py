"""Operands of conditions: what a name means, what a literal is, what a function gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ringfence.dsl import syntax
from ringfence.dsl.checks.declared import asked, imply
from ringfence.dsl.checks.functions import FROM_PLUGINS, FUNCTIONS, READ_AS_TEXT
from ringfence.dsl.checks.pairs import Typed, a, family, taken_for
from ringfence.dsl.compile.canonicalisers import KINDS
from ringfence.dsl.draft import Draft, Slot
from ringfence.dsl.names import PRINCIPAL
from ringfence.dsl.plan import Json
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST, UNKNOWN, Type

TEXT = Type("text")
BOOLEAN = Type("boolean")
UNTYPED = Type("untyped")
POISON = Typed(["const", None], UNKNOWN)


@dataclass(slots=True)
class Operands:
    """Lowers operands in one place: one tool's clause, or a rule seen from one covered tool."""

    draft: Draft
    tool: str
    slots: Mapping[str, Slot] | None
    lenient: bool = False
    """True where names of parameters cannot be judged: some `takes` was not understood."""
    variables: dict[str, Type] = field(default_factory=dict)
    roots: dict[str, str | None] = field(default_factory=dict)
    """Variable -> the parameter whose elements it goes through."""
    present: frozenset[str] = frozenset()
    """Optionals known to be given at this point."""
    named: dict[str, None] = field(default_factory=dict)
    """The attributes of the principal that were named and are not optional, in order."""
    failed: bool = False
    """Some mistake was met, reported here or earlier."""
    depth: int = 0
    in_event: bool = False
    """Inside the `where (…)` of an event: it is decided when that call is made, of that call alone."""

    def report(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Report a mistake in this condition."""
        self.failed = True
        self.draft.report(code, message, span, label, help)

    def clash(self, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Report two types that do not go together."""
        self.report("E110", message, span, label, help)

    def value(self, node: syntax.Expression) -> Typed:
        """Lower an operand; after a mistake its type is unknown."""
        typed = self._value(node)
        if not typed.type.known:
            self.failed = True
        return typed

    def _value(self, node: syntax.Expression) -> Typed:
        match node:
            case syntax.Constant():
                return self._constant(node)
            case syntax.Size():
                return Typed(["const", node.bytes], Type("bytes"))
            case syntax.Duration():
                return Typed(["const", node.ns // 1_000_000], Type("duration"))
            case syntax.ListOf():
                return self._list(node)
            case syntax.Path():
                return self._path(node)
            case syntax.Apply():
                return self._apply(node)
            case syntax.CallsTo():
                self.clash(
                    "`calls to …` is a number known between bounds",
                    node.span,
                    "it can only be compared",
                    "write it beside `==`, `!=`, `<`, `<=`, `>` or `>=`",
                )
                return POISON
        self.clash(
            "a value stands here, and this is a condition", node.span, "", "remove it, or join with `and`"
        )
        return POISON

    def _constant(self, node: syntax.Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(["const", value], BOOLEAN)
        if isinstance(value, str):
            return Typed(["const", value], TEXT)
        if not -LARGEST <= value <= LARGEST:
            self.clash("this number is too large", node.span, "beyond 2^53-1", "no call can carry it exactly")
            return POISON
        return Typed(
            ["const", KINDS["number"](value)], Type("integer" if isinstance(value, int) else "number")
        )

    def _list(self, node: syntax.ListOf) -> Typed:
        for item in node.items:
            # Literals only, before anything is looked up: a set that names itself must not be followed.
            if not isinstance(item, syntax.Constant | syntax.Size):
                self.clash(
                    "a list holds texts, numbers, sizes or true and false",
                    item.span,
                    "this is none of them",
                    "texts stand in double quotes",
                )
                return POISON
        items = [self.value(item) for item in node.items]
        if not all(value.type.known for value in items):
            return POISON
        if not items:
            return Typed(["const", []], Type("empty", True))
        first = items[0].type
        for value, written in zip(items, node.items, strict=True):
            if family(value.type) != family(first):
                self.clash(
                    "the elements of a list are of one type",
                    written.span,
                    f"{a(value.type)}, the first is {a(first)}",
                )
                return POISON
        kind = "number" if any(value.type.kind == "number" for value in items) else first.kind
        return Typed(["const", [value.core[1] for value in items]], Type(kind, True))

    def _path(self, node: syntax.Path) -> Typed:
        first = node.parts[0].text
        if len(node.parts) == 1:
            if first in self.variables:
                return Typed(["var", first], self.variables[first])
            if first in self.draft.sets:
                if first in (self.slots or {}):
                    self.report(
                        "E115",
                        f"`{first}` is a set and a parameter",
                        node.span,
                        "which one is meant?",
                        f"write `arg.{first}` for the parameter, or rename the set",
                    )
                    return POISON
                return self.named_set(first)
        elif first in self.variables and self.variables[first].fields:
            return Typed(["field", ["var", first], [part.text for part in node.parts[1:]]], UNTYPED)
        slot, core = self.slot(node)
        if slot is None or not slot.type.known:
            return POISON
        root = core[1] if core[0] == "field" else core
        if slot.optional and str(root) not in self.present:
            name = str(node)
            self.report(
                "E117",
                f"`{name}` is optional and may be missing here",
                node.span,
                "nothing says what holds without it",
                f"write `{name} is present and (…)` or `{name} is missing or (…)`",
            )
            return POISON
        return Typed(core, slot.type)

    def named_set(self, name: str) -> Typed:
        """Return a set of the policy as the list it is."""
        if name not in self.draft.set_values:
            lowered = self._list(self.draft.sets[name].items)
            self.draft.set_values[name] = (lowered.core, lowered.type)
        return Typed(*self.draft.set_values[name])

    def parameter_of(self, core: Json) -> str | None:
        """Return the parameter whose value, or part of it, an operand is; None for what no call brings."""
        while core[0] not in ("arg", "var"):
            if core[0] in ("const", "principal", "call"):
                return None
            core = core[2] if core[0] == "as" else core[1]
        name: str = core[1]
        return name if core[0] == "arg" else self.roots.get(name)

    def slot(self, node: syntax.Path) -> tuple[Slot | None, Json]:
        """Return what a path names, with its core form; report a name that nothing declares."""
        first, rest = node.parts[0], node.parts[1:]
        if first.text == "principal" and rest:
            name = rest[0]
            slot = self.draft.principal.get(name.text)
            if name.text in PRINCIPAL:
                slot = Slot(name.text, TEXT, False, "text", name.span)
            if slot is None:
                self.failed = True
                self.draft.unknown("E102", "attribute", name, (*PRINCIPAL, *self.draft.principal))
            elif not slot.optional:
                # SECURITY: here, not in the core form: `principal.user not in blocked` with an empty set
                # folds to true, and would let a call through whose principal the host has not said.
                self.named[name.text] = None
            return self._whole(slot, ["principal", name.text], rest[1:])
        if first.text == "arg" and rest:
            first, rest = rest[0], rest[1:]
        slot = (self.slots or {}).get(first.text)
        if slot is None:
            self.failed = True
            if first.text in self.variables and rest:
                return self._whole(Slot(first.text, UNKNOWN, False, "", first.span), None, rest)
            if not self.lenient and first.text not in self.draft.document.lost:
                self._unknown_parameter(first)
        return self._whole(slot, ["arg", first.text], rest)

    def _whole(
        self, slot: Slot | None, core: Json, rest: tuple[syntax.Name, ...]
    ) -> tuple[Slot | None, Json]:
        if slot is not None and rest and slot.type.fields:
            names = [part.text for part in rest]
            return replace(slot, name=".".join((slot.name, *names)), type=UNTYPED), ["field", core, names]
        if slot is not None and rest:
            self.report("E102", f"`{slot.name}` has no field `{rest[0].text}`", rest[0].span, "not a record")
            return None, None
        return slot, core

    def _unknown_parameter(self, name: syntax.Name) -> None:
        if not self.tool:
            self.clash(
                "a list holds texts, numbers, sizes or true and false",
                name.span,
                "this is a name",
                f'texts stand in double quotes: `"{name.text}"`',
            )
            return
        if self.slots is None:
            self.report(
                "E102",
                f"tool `{self.tool}` has no `takes`, so no clause may name `{name.text}`",
                name.span,
                "not declared",
                f"add `takes {name.text}: …` to tool `{self.tool}`",
            )
            return
        if name.text == "always":
            guess = "write `allow always`, without `when`"
        elif name.text in PRINCIPAL or name.text in self.draft.principal:
            guess = f"write `principal.{name.text}` for what the host says"
        else:
            guess = did_you_mean(name.text, [*self.slots, *self.variables, *self.draft.sets])
        here = ", ".join(f"`{slot}`" for slot in self.slots)
        self.report(
            "E102",
            f"unknown parameter `{name.text}`",
            name.span,
            f"tool `{self.tool}` does not take it",
            guess or f"it takes {here}",
        )

    def _apply(self, node: syntax.Apply) -> Typed:
        name = node.function.text
        function = FUNCTIONS.get(name)
        if function is None and name in FROM_PLUGINS and name not in self.draft.functions:
            imply(self.draft, node.function)
        if function is None and name in self.draft.functions:
            return asked(self, node, self.draft.functions[name])
        if function is None:
            known = (*FUNCTIONS, *FROM_PLUGINS, *self.draft.functions)
            self.draft.unknown("E107", "function", node.function, known)
            return POISON
        arguments = [self.value(argument) for argument in node.arguments]
        if len(arguments) != 1:
            self.report(
                "E107",
                f"`{name}` takes one value",
                node.function.span,
                f"given {len(arguments)}",
                f"write `{name}(…)` with one value",
            )
            return POISON
        (argument,) = arguments
        if not argument.type.known:
            return POISON
        if argument.type == UNTYPED and name in READ_AS_TEXT:
            argument = taken_for(argument, "text")
        found = function(argument.type)
        if found is None:
            self.clash(
                f"`{name}` does not take {a(argument.type)}",
                node.function.span,
                "",
                function.__doc__ or "",
            )
            return POISON
        operation, result = found
        return Typed([operation, argument.core], result)
