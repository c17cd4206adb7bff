"""Stage `types`: every condition becomes typed core JSON, or a report at the exact word.

The core form knows no policy names but those of parameters and attributes: sets and patterns stand in
place, literals are canonical for what they are compared with, `!=` and `not in` are `not`, constant
parts are folded.  Closures, digest and `explain` are all made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import FALSE, TRUE, both, either, negate
from ringfence.dsl.checks.functions import FUNCTIONS, LATER_FUNCTIONS
from ringfence.dsl.checks.guards import known_present
from ringfence.dsl.checks.regex import pattern_mistake
from ringfence.dsl.compile.canonicalisers import KINDS
from ringfence.dsl.draft import Draft, Slot
from ringfence.dsl.names import PRINCIPAL
from ringfence.dsl.plan import Json, UnfitError
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST, NUMERIC, TEXTUAL, UNKNOWN, Type

DEEPEST = 40
"""Conditions nest at most this deep: nobody reads deeper ones, and evaluation must not exhaust the stack."""

_TEXT = Type("text")
_BOOLEAN = Type("boolean")


@dataclass(slots=True)
class Typed:
    """A lowered operand: its core form and type."""

    core: Json
    type: Type

    @property
    def constant(self) -> bool:
        """True for a literal or a list of literals."""
        return bool(self.core[0] == "const")


_POISON = Typed(["const", None], UNKNOWN)


@dataclass(slots=True)
class Lowering:
    """Lowers the conditions of one place: one tool's clause, or a rule seen from one covered tool."""

    draft: Draft
    tool: str
    slots: Mapping[str, Slot] | None
    lenient: bool = False
    """True where names of parameters cannot be judged: some `takes` was not understood."""
    variables: dict[str, Type] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    """Optionals known to be given at this point."""
    failed: bool = False
    """Some mistake was met, reported here or earlier."""
    depth: int = 0

    def condition(self, node: syntax.Expression) -> Json | None:
        """Return the core form, or None if a mistake was met."""
        core = self._truth(node)
        return None if self.failed else core

    def _report(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        self.failed = True
        self.draft.report(code, message, span, label, help)

    def _clash(self, message: str, span: Span, label: str = "", help: str = "") -> None:
        self._report("E110", message, span, label, help)

    # ---- conditions --------------------------------------------------------------------------------

    def _truth(self, node: syntax.Expression) -> Json:
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                self._report(
                    "E003",
                    "this condition is nested too deeply",
                    node.span,
                    f"more than {DEEPEST} levels",
                    "split it into several clauses",
                )
                return FALSE
            match node:
                case syntax.Both():
                    return both(self._operands(node.operands, True))
                case syntax.Either():
                    return either(self._operands(node.operands, False))
                case syntax.Not():
                    return negate(self._truth(node.operand))
                case syntax.Compare():
                    return self._compare(node)
                case syntax.Membership():
                    return self._membership(node)
                case syntax.Matches():
                    return self._matches(node)
                case syntax.Affix():
                    return self._affix(node)
                case syntax.Presence():
                    return self._presence(node)
                case syntax.Quantified():
                    return self._quantified(node)
                case syntax.Constant() if isinstance(node.value, bool):
                    return TRUE if node.value else FALSE
                case syntax.Later():
                    self.failed = True
                    self.draft.later(node)
                    return FALSE
            value = self.value(node)
            if not value.type.known:
                return FALSE
            if value.type != _BOOLEAN:
                self._clash(
                    f"a condition is true or false; this is {_a(value.type)}",
                    node.span,
                    "",
                    "compare it with something, such as `== …`",
                )
                return FALSE
            return ["true?", value.core]
        finally:
            self.depth -= 1

    def _operands(self, operands: tuple[syntax.Expression, ...], truth: bool) -> list[Json]:
        """Lower the parts of an `and` (or `or`), each knowing what the others guard."""
        guarded = [known_present(operand, truth) for operand in operands]
        outer = self.present
        lowered = []
        for index, operand in enumerate(operands):
            others = (facts for at, facts in enumerate(guarded) if at != index)
            self.present = outer.union(*others)
            lowered.append(self._truth(operand))
        self.present = outer
        return lowered

    def _compare(self, node: syntax.Compare) -> Json:
        left, right = self.value(node.left), self.value(node.right)
        if not (left.type.known and right.type.known):
            return FALSE
        operator, at = node.operator.text, node.operator.span
        pair = self._agree(left, right, operator, at)
        if pair is None:
            return FALSE
        left, right = pair
        if operator not in ("==", "!=") and not _ordered(left.type, right.type):
            self._clash(
                f"`{operator}` does not order {left.type} values",
                at,
                f"{_a(left.type)} and {_a(right.type)}",
                "use `==`, `!=`, `in` or `matches`",
            )
            return FALSE
        self._agents_known(node.left, node.right)
        self._agents_known(node.right, node.left)
        if left.constant and right.constant:
            return TRUE if _fold(operator, left.core[1], right.core[1]) else FALSE
        if left.constant:
            left, right, operator = right, left, _MIRRORED[operator]
        if operator == "!=":
            return negate(["==", left.core, right.core])
        return [operator, left.core, right.core]

    def _membership(self, node: syntax.Membership) -> Json:
        left, right = self.value(node.left), self.value(node.right)
        if not (left.type.known and right.type.known):
            return FALSE
        word = "not in" if node.negated else "in"
        if left.type.is_list:
            self._clash(
                f"`{word}` asks for one value, and this is {_a(left.type)}",
                node.operator,
                "",
                "write `every x in … satisfies (x in …)`",
            )
            return FALSE
        if not right.type.is_list:
            self._clash(
                f"`{word}` needs a list on its right",
                node.operator,
                f"this is {_a(right.type)}",
                "a text is searched with `contains`",
            )
            return FALSE
        pair = self._agree(left, right, word, node.operator)
        if pair is None:
            return FALSE
        left, right = pair
        self._agents_known(node.left, node.right)
        if right.constant and not right.core[1]:
            core = FALSE
        elif left.constant and right.constant:
            core = TRUE if left.core[1] in right.core[1] else FALSE
        elif right.constant:
            core = ["in", left.core, ["const", _sorted(right.core[1])]]
        else:
            core = ["in", left.core, right.core]
        return negate(core) if node.negated else core

    def _matches(self, node: syntax.Matches) -> Json:
        subject = self.value(node.subject)
        if isinstance(node.pattern, syntax.Name):
            named = self.draft.patterns.get(node.pattern.text)
            if named is None:
                self.draft.unknown("E104", "pattern", node.pattern, self.draft.patterns)
                self.failed = True
                return FALSE
            text = named.pattern.text
            self.failed |= pattern_mistake(text) is not None
        else:
            text = node.pattern.text
            mistake = pattern_mistake(text)
            if mistake:
                self._report(
                    "E130",
                    f"this pattern cannot run in linear time: {mistake}",
                    node.pattern.span,
                    "not of RE2's dialect",
                    "no look-around and no back-references",
                )
        if not subject.type.known:
            return FALSE
        if subject.type.is_list or subject.type.kind not in TEXTUAL:
            at = self._word_between("matches", node.subject.span, node.pattern.span)
            self._clash(f"`matches` needs a text, and this is {_a(subject.type)}", at)
            return FALSE
        return ["matches", subject.core, text]

    def _affix(self, node: syntax.Affix) -> Json:
        subject, part = self.value(node.subject), self.value(node.part)
        if not (subject.type.known and part.type.known):
            return FALSE
        if subject.type.is_list and node.kind == "contains":
            if part.type.is_list:
                self._clash("`contains` looks for one element", node.operator, f"this is {_a(part.type)}")
                return FALSE
            pair = self._agree(part, subject, "contains", node.operator)
            return FALSE if pair is None else ["in", pair[0].core, pair[1].core]
        for side in (subject, part):
            if side.type.is_list or side.type.kind not in TEXTUAL:
                self._clash(f"`{node.kind}` needs a text, and this is {_a(side.type)}", node.operator)
                return FALSE
        return [node.kind, subject.core, part.core]

    def _presence(self, node: syntax.Presence) -> Json:
        subject = node.subject
        if not isinstance(subject, syntax.Path) or (
            len(subject.parts) == 1 and subject.parts[0].text in self.variables
        ):
            self._clash(
                "only a parameter can be present or missing", node.span, "", "name a parameter of the tool"
            )
            return FALSE
        slot, core = self._slot(subject)
        if slot is None:
            return FALSE
        truth: Json = ["present", core] if slot.optional else TRUE
        return negate(truth) if node.missing else truth

    def _quantified(self, node: syntax.Quantified) -> Json:
        domain = self.value(node.domain)
        name = node.variable.text
        if name in self.variables or name in (self.slots or {}) or name in self.draft.sets:
            self._report(
                "E115",
                f"`{name}` already means something here",
                node.variable.span,
                "",
                "choose another name",
            )
        element = domain.type.element if domain.type.is_list else UNKNOWN
        if domain.type.known and not domain.type.is_list:
            self._clash(
                f"`{'every' if node.every else 'some'}` goes through a list",
                node.domain.span,
                f"this is {_a(domain.type)}",
            )
        shadowed = self.variables.get(name)
        self.variables[name] = element
        body = self._truth(node.body)
        if shadowed is None:
            del self.variables[name]
        else:
            self.variables[name] = shadowed
        return ["every" if node.every else "some", name, domain.core, body]

    # ---- operands ----------------------------------------------------------------------------------

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
        self._clash(
            "a value stands here, and this is a condition", node.span, "", "remove it, or join with `and`"
        )
        return _POISON

    def _constant(self, node: syntax.Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(["const", value], _BOOLEAN)
        if isinstance(value, str):
            return Typed(["const", value], _TEXT)
        if not -LARGEST <= value <= LARGEST:
            self._clash(
                "this number is too large", node.span, "beyond 2^53-1", "no call can carry it exactly"
            )
            return _POISON
        return Typed(
            ["const", KINDS["number"](value)], Type("integer" if isinstance(value, int) else "number")
        )

    def _list(self, node: syntax.ListOf) -> Typed:
        items = [self.value(item) for item in node.items]
        if not all(item.type.known for item in items):
            return _POISON
        if not items:
            return Typed(["const", []], Type("empty", True))
        first = items[0].type
        for item, written in zip(items, node.items, strict=True):
            if not item.constant or item.type.is_list or item.type.kind == "duration":
                self._clash("a list holds texts, numbers, sizes or true and false", written.span)
                return _POISON
            if _family(item.type) != _family(first):
                self._clash(
                    "the elements of a list are of one type",
                    written.span,
                    f"{_a(item.type)}, the first is {_a(first)}",
                )
                return _POISON
        kind = "number" if any(item.type.kind == "number" for item in items) else first.kind
        return Typed(["const", [item.core[1] for item in items]], Type(kind, True))

    def _path(self, node: syntax.Path) -> Typed:
        first = node.parts[0].text
        if len(node.parts) == 1:
            if first in self.variables:
                return Typed(["var", first], self.variables[first])
            if first in self.draft.sets:
                if first in (self.slots or {}):
                    self._report(
                        "E115",
                        f"`{first}` is a set and a parameter",
                        node.span,
                        "which one is meant?",
                        f"write `arg.{first}` for the parameter, or rename the set",
                    )
                    return _POISON
                return self._list(self.draft.sets[first].items)
        slot, core = self._slot(node)
        if slot is None or not slot.type.known:
            return _POISON
        if slot.optional and str(core) not in self.present:
            name = str(node)
            self._report(
                "E117",
                f"`{name}` is optional and may be missing here",
                node.span,
                "not guarded",
                f"write `{name} is present and (…)` or `{name} is missing or (…)`",
            )
            return _POISON
        return Typed(core, slot.type)

    def _slot(self, node: syntax.Path) -> tuple[Slot | None, Json]:
        """Return what a path names, with its core form; report a name that nothing declares."""
        first, rest = node.parts[0], node.parts[1:]
        if first.text == "principal" and rest:
            name = rest[0]
            slot = self.draft.principal.get(name.text)
            if name.text in PRINCIPAL:
                slot = Slot(name.text, _TEXT, False, "text", name.span)
            if slot is None:
                self.failed = True
                self.draft.unknown("E102", "attribute", name, (*PRINCIPAL, *self.draft.principal))
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
            self._report("E102", f"`{slot.name}` has no field `{rest[0].text}`", rest[0].span, "not a record")
            return None, None
        return slot, core

    def _unknown_parameter(self, name: syntax.Name) -> None:
        if self.slots is None:
            self._report(
                "E102",
                f"tool `{self.tool}` has no `takes`, so no clause may name `{name.text}`",
                name.span,
                "not declared",
                f"add `takes {name.text}: …` to tool `{self.tool}`",
            )
            return
        guess = did_you_mean(name.text, [*self.slots, *self.variables, *self.draft.sets])
        here = ", ".join(f"`{slot}`" for slot in self.slots)
        self._report(
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
            self._report(
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
            self._clash(
                f"`{name}` does not take {_a(arguments[0].type)}",
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

    # ---- types of pairs ----------------------------------------------------------------------------

    def _agree(self, left: Typed, right: Typed, word: str, at: Span) -> tuple[Typed, Typed] | None:
        """Return the pair with its literals canonical for the other side, or report a clash at the operator."""
        if "duration" in (left.type.kind, right.type.kind):
            self._clash(
                "a duration stands in windows and limits only",
                at,
                f"{_a(left.type)} `{word}` {_a(right.type)}",
                "compare with a number or a size",
            )
            return None
        if "empty" in (left.type.kind, right.type.kind):
            return left, right
        lists_fit = left.type.is_list == right.type.is_list or word in ("in", "not in", "contains")
        if not lists_fit or _family(left.type) != _family(right.type):
            help = (
                "write the size with its unit: `200 bytes`, `20 KB`"
                if "bytes" in (left.type.kind, right.type.kind)
                else "compare values of one type"
            )
            self._clash(
                f"`{word}` compares {_a(left.type)} with {_a(right.type)}", at, "these never agree", help
            )
            return None
        try:
            if right.constant and not left.constant:
                return left, Typed(["const", _literal(right.core[1], left.type.kind)], right.type)
            if left.constant and not right.constant:
                return Typed(["const", _literal(left.core[1], right.type.kind)], left.type), right
        except UnfitError as error:
            self._clash(
                f"the literal can never equal {_a((right if left.constant else left).type.element)}",
                at,
                str(error),
                "write the value as it will be compared",
            )
            return None
        return left, right

    def _agents_known(self, subject: syntax.Expression, literal: syntax.Expression) -> None:
        """Report a literal that `principal.agent` is compared with and that names no agent."""
        if not isinstance(subject, syntax.Path) or str(subject) != "principal.agent" or not self.draft.agents:
            return
        for item in literal.items if isinstance(literal, syntax.ListOf) else (literal,):
            if (
                isinstance(item, syntax.Constant)
                and isinstance(item.value, str)
                and item.value not in self.draft.agents
            ):
                self.failed = True
                self.draft.unknown("E133", "agent", syntax.Name(item.value, item.span), self.draft.agents)

    def _word_between(self, word: str, before: Span, after: Span) -> Span:
        start = self.draft.document.source.text.find(word, before.end, after.start)
        return Span(start, start + len(word)) if start >= 0 else before


_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _a(type: Type) -> str:
    name = str(type)
    return f"{'an' if name[0] in 'aeiou' and name != 'url' else 'a'} {name}"


def _family(type: Type) -> str:
    if type.kind in NUMERIC:
        return "number"
    return "text" if type.kind in TEXTUAL else type.kind


def _ordered(left: Type, right: Type) -> bool:
    if left.is_list or right.is_list:
        return False
    if "date" in (left.kind, right.kind):
        return True
    return _family(left) in ("number", "bytes")


def _literal(value: Json, kind: str) -> Json:
    """Return a literal in the canonical form of the kind it is compared with; raise `UnfitError`."""
    if kind not in ("email", "url", "date", "host", "domain", "lowered", "line"):
        return value
    if isinstance(value, list):
        return [KINDS[kind](element) for element in value]
    return KINDS[kind](value)


def _sorted(values: list[Json]) -> list[Json]:
    return sorted(dict.fromkeys(values))


def _fold(operator: str, left: Json, right: Json) -> bool:
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
    return bool(left >= right)
