"""Operands of conditions: what a name means, what a literal is, what a function gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ringfence.dsl import syntax
from ringfence.dsl.checks.functions import FUNCTIONS, LATER_FUNCTIONS
from ringfence.dsl.checks.pairs import Typed, a, family
from ringfence.dsl.compile.canonicalisers import KINDS
from ringfence.dsl.draft import Draft, Slot
from ringfence.dsl.names import PRINCIPAL
from ringfence.dsl.plan import Json
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST, UNKNOWN, Type

TEXT = Type("text")
BOOLEAN = Type("boolean")
_POISON = Typed(["const", None], UNKNOWN)


@dataclass(slots=True)
class Operands:
    """Lowers operands in one place: one tool's clause, or a rule seen from one covered tool."""

    draft: Draft
    tool: str
    slots: Mapping[str, Slot] | None
    lenient: bool = False
    """True where names of parameters cannot be judged: some `takes` was not understood."""
    variables: dict[str, Type] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    """Optionals known to be given at this point."""
    named: dict[str, None] = field(default_factory=dict)
    """The attributes of the principal that were named and are not optional, in order."""
    failed: bool = False
    """Some mistake was met, reported here or earlier."""
    depth: int = 0

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
            case syntax.Later():
                self.draft.later(node)
                return _POISON
        self.clash(
            "a value stands here, and this is a condition", node.span, "", "remove it, or join with `and`"
        )
        return _POISON

    def _constant(self, node: syntax.Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(["const", value], BOOLEAN)
        if isinstance(value, str):
            return Typed(["const", value], TEXT)
        if not -LARGEST <= value <= LARGEST:
            self.clash("this number is too large", node.span, "beyond 2^53-1", "no call can carry it exactly")
            return _POISON
        return Typed(
            ["const", KINDS["number"](value)], Type("integer" if isinstance(value, int) else "number")
        )

    def _list(self, node: syntax.ListOf) -> Typed:
        for item in node.items:
            # Literals only, before anything is looked up: a set that names itself must not be followed.
            if isinstance(item, syntax.Later):
                self.draft.later(item)
                return _POISON
            if not isinstance(item, syntax.Constant | syntax.Size):
                self.clash(
                    "a list holds texts, numbers, sizes or true and false",
                    item.span,
                    "this is none of them",
                    "texts stand in double quotes",
                )
                return _POISON
        items = [self.value(item) for item in node.items]
        if not all(value.type.known for value in items):
            return _POISON
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
                return _POISON
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
                    return _POISON
                if first not in self.draft.set_values:
                    lowered = self._list(self.draft.sets[first].items)
                    self.draft.set_values[first] = (lowered.core, lowered.type)
                return Typed(*self.draft.set_values[first])
        slot, core = self.slot(node)
        if slot is None or not slot.type.known:
            return _POISON
        if slot.optional and str(core) not in self.present:
            name = str(node)
            self.report(
                "E117",
                f"`{name}` is optional and may be missing here",
                node.span,
                "not guarded",
                f"write `{name} is present and (…)` or `{name} is missing or (…)`",
            )
            return _POISON
        return Typed(core, slot.type)

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
        if function is None:
            if name in LATER_FUNCTIONS:
                self.draft.later(syntax.Later(name, node.function.span))
            elif not self._refused_function(name):
                self.draft.unknown("E107", "function", node.function, FUNCTIONS)
            return _POISON
        arguments = [self.value(argument) for argument in node.arguments]
        if len(arguments) != 1:
            self.report(
                "E107",
                f"`{name}` takes one value",
                node.function.span,
                f"given {len(arguments)}",
                f"write `{name}(…)` with one value",
            )
            return _POISON
        if not arguments[0].type.known:
            return _POISON
        found = function(arguments[0].type)
        if found is None:
            self.clash(
                f"`{name}` does not take {a(arguments[0].type)}",
                node.function.span,
                "",
                function.__doc__ or "",
            )
            return _POISON
        operation, result = found
        return Typed([operation, arguments[0].core], result)

    def _refused_function(self, name: str) -> bool:
        """True if the policy declares this function, which is refused at its declaration."""
        text = self.draft.document.source.text
        return any(
            isinstance(node, syntax.Later) and text[node.span.start : node.span.end].split()[-1:] == [name]
            for node in self.draft.document.declarations
        )
