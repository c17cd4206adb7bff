"""Stage `types`: every condition becomes typed core JSON, or a report at the exact word.

The core form knows no policy names but those of parameters and attributes: sets and patterns stand in
place, literals are canonical for what they are compared with, `!=` and `not in` are `not`, constant
parts are folded.  Closures, digest and `explain` are all made from it.
"""

from dataclasses import dataclass

from ringfence.dsl import syntax
from ringfence.dsl.checks.calendars import lower_during
from ringfence.dsl.checks.fold import FALSE, TRUE, both, either, negate
from ringfence.dsl.checks.guards import known_present
from ringfence.dsl.checks.history import lower_after, lower_calls, lower_carries
from ringfence.dsl.checks.operands import BOOLEAN, POISON, UNTYPED, Operands
from ringfence.dsl.checks.pairs import (
    Clash,
    Typed,
    a,
    agree,
    fold,
    never_part,
    taken_for,
    url_beginning,
)
from ringfence.dsl.checks.provenance import lower_comes_from
from ringfence.dsl.checks.regex import pattern_mistake
from ringfence.dsl.checks.reports import refused
from ringfence.dsl.names import PRINCIPAL
from ringfence.dsl.plan import Json
from ringfence.dsl.source import Span
from ringfence.dsl.types import TEXTUAL, UNKNOWN, Type

DEEPEST = 40
"""Conditions nest at most this deep: nobody reads deeper ones, and evaluation must not exhaust the stack."""

_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(slots=True)
class Lowering(Operands):
    """Lowers the conditions of one place."""

    def condition(self, node: syntax.Expression) -> Json | None:
        """Return the core form, or None if a mistake was met."""
        core = self._truth(node)
        return None if self.failed else core

    def _truth(self, node: syntax.Expression) -> Json:
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                self.report(
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
                case syntax.After() | syntax.ComesFrom() | syntax.Carries() | syntax.During():
                    return self._of_session(node)
            value = self.value(node)
            if not value.type.known:
                return FALSE
            if value.type == UNTYPED:
                value = taken_for(value, "boolean")
            if value.type != BOOLEAN:
                self.clash(
                    f"a condition is true or false; this is {a(value.type)}",
                    node.span,
                    "",
                    'say again what it is compared with, or list the values: `… in ["a", "b"]`'
                    if value.constant
                    else "compare it with something, such as `== …`",
                )
                return FALSE
            return ["true?", value.core]
        finally:
            self.depth -= 1

    def _operands(self, operands: tuple[syntax.Expression, ...], truth: bool) -> list[Json]:
        """Lower the parts of an `and` (or `or`), each knowing what the others guard."""
        known = [(at, known_present(operand, truth)) for at, operand in enumerate(operands)]
        guarded = [(at, facts) for at, facts in known if facts]  # few: a long condition takes no square
        outer = self.present
        lowered = []
        for index, operand in enumerate(operands):
            others = (facts for at, facts in guarded if at != index)
            self.present = outer.union(*others)
            lowered.append(self._truth(operand))
        self.present = outer
        return lowered

    def _of_session(self, node: syntax.After | syntax.ComesFrom | syntax.Carries | syntax.During) -> Json:
        """Lower what is asked of more than the call: it may not stand inside `where (…)`."""
        if self.in_event:
            self._not_of_event(node.span)
            return FALSE
        match node:
            case syntax.After():
                return lower_after(self, node)
            case syntax.ComesFrom():
                return lower_comes_from(self, node)
            case syntax.Carries():
                return lower_carries(self, node)
        return lower_during(self, node)

    def _not_of_event(self, span: Span) -> None:
        self.clash(
            "`where (…)` asks about the arguments of that call alone",
            span,
            "no history, label, source or calendar",
            "write it outside, joined with `and`",
        )

    def of_call(self, tool: str, node: syntax.Expression) -> Json | None:
        """Lower the `where (…)` of an event for one of its tools; None after a mistake."""
        entry = self.draft.tools[tool]
        lenient = self.draft.unread(entry.node.span)
        inner = Lowering(self.draft, tool, entry.slots, lenient, in_event=True)
        core = inner.condition(node)
        self.named.update(inner.named)
        return core

    def _side(self, node: syntax.Expression) -> Typed:
        """Lower a side of a comparison, the one place where `calls to …` may stand."""
        if not isinstance(node, syntax.CallsTo):
            return self.value(node)
        if self.in_event:
            self._not_of_event(node.span)
            return POISON
        return lower_calls(self, node)

    def _compare(self, node: syntax.Compare) -> Json:
        left, right = self._side(node.left), self._side(node.right)
        if not (left.type.known and right.type.known):
            return FALSE
        operator, at = node.operator.text, node.operator.span
        pair = self._agree(left, right, operator, at)
        if pair is None:
            return FALSE
        left, right = pair
        self._agents_known(node.left, node.right)
        self._agents_known(node.right, node.left)
        if left.constant and right.constant:
            return TRUE if fold(operator, left.core[1], right.core[1]) else FALSE
        if left.core == right.core:
            # SECURITY: `where (x == arg.x)` reads as if it compared two calls, and would hold for every call.
            help = "each name in `where (…)` is of the earlier call: two calls are compared by `order … same`"
            self.clash(
                f"`{operator}` compares a value with itself",
                at,
                "both sides are the same",
                help if self.in_event else "write what it is compared with",
            )
            return FALSE
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
            self.clash(
                f"`{word}` asks for one value, and this is {a(left.type)}",
                node.operator,
                "",
                "write `every x in … satisfies (x in …)`",
            )
            return FALSE
        if not right.type.is_list and right.type != UNTYPED:
            self.clash(
                f"`{word}` needs a list on its right",
                node.operator,
                f"this is {a(right.type)}",
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
            self.failed |= refused(self.draft, node.pattern)
        if not subject.type.known:
            return FALSE
        if subject.type == UNTYPED:
            subject = taken_for(subject, "text")
        if subject.type.is_list or subject.type.kind not in TEXTUAL:
            at = self.word_between("matches", node.subject.span, node.pattern.span)
            self.clash(
                f"`matches` needs a text, and this is {a(subject.type)}",
                at,
                "",
                "compare it with `==` or `<`",
            )
            return FALSE
        return ["matches", subject.core, text]

    def _affix(self, node: syntax.Affix) -> Json:
        subject, part = self.value(node.subject), self.value(node.part)
        if not (subject.type.known and part.type.known):
            return FALSE
        if subject.type.is_list and node.kind == "contains":
            if part.type.is_list:
                self.clash("`contains` looks for one element", node.operator, f"this is {a(part.type)}")
                return FALSE
            pair = self._agree(part, subject, "contains", node.operator)
            return FALSE if pair is None else ["in", pair[0].core, pair[1].core]
        subject, part = (
            taken_for(side, "text") if side.type == UNTYPED else side for side in (subject, part)
        )
        for side in (subject, part):
            if side.type.is_list or side.type.kind not in TEXTUAL:
                self.clash(
                    f"`{node.kind}` needs a text, and this is {a(side.type)}",
                    node.operator,
                    "",
                    "lists are searched with `in`, `every` and `some`"
                    if side.type.is_list
                    else "compare it with `==`",
                )
                return FALSE
        if part.constant and never_part(part.core[1], node.kind, subject.type.kind):
            self.clash(
                f"{a(subject.type)} has no capital letters there",
                node.operator,
                "this is never true",
                "hosts and domains are written in lower case",
            )
            return FALSE
        if part.constant and node.kind == "starts with" and subject.type.kind == "url":
            beginning = url_beginning(part.core[1])
            if beginning != part.core[1]:
                self.clash(
                    "no url begins so",
                    node.operator,
                    "this is never true",
                    f'write "{beginning}"' if beginning else "write the url as it is after canonicalising",
                )
                return FALSE
        return [node.kind, subject.core, part.core]

    def _presence(self, node: syntax.Presence) -> Json:
        subject = node.subject
        if isinstance(subject, syntax.Path) and subject.parts[0].text in self.variables:
            element = self.value(subject)
            if element.core[0] == "field":
                return negate(["present", element.core]) if node.missing else ["present", element.core]
            if not element.type.known:
                return FALSE
        if not isinstance(subject, syntax.Path) or (
            len(subject.parts) == 1 and subject.parts[0].text in self.variables
        ):
            self.clash(
                "only a parameter can be present or missing", node.span, "", "name a parameter of the tool"
            )
            return FALSE
        slot, core = self.slot(subject)
        if slot is None:
            return FALSE
        if core[0] == "principal" and node.missing and not slot.optional:
            self.report(
                "E120",
                f"`{subject}` is never missing where this is asked",
                node.span,
                "without it the call is denied before",
                "write `require … is present`"
                if slot.name in PRINCIPAL
                else f"declare it `{slot.name}: {slot.written} optional` if the host need not say it",
            )
        may_miss = slot.optional or core[0] == "field"
        truth: Json = ["present", core] if may_miss else TRUE
        return negate(truth) if node.missing else truth

    def _quantified(self, node: syntax.Quantified) -> Json:
        domain = self.value(node.domain)
        name = node.variable.text
        if name in self.variables or name in (self.slots or {}) or name in self.draft.sets:
            self.report(
                "E115",
                f"`{name}` already means something here",
                node.variable.span,
                "",
                "choose another name",
            )
        if domain.type == UNTYPED:
            domain = Typed(["as", "list of any", domain.core], Type("untyped", True))
        element = domain.type.element if domain.type.is_list else UNKNOWN
        if domain.type.known and not domain.type.is_list:
            self.clash(
                f"`{'every' if node.every else 'some'}` goes through a list",
                node.domain.span,
                f"this is {a(domain.type)}",
            )
        shadowed = self.variables.get(name)
        self.variables[name] = element
        self.roots[name] = self.parameter_of(domain.core)
        body = self._truth(node.body)
        if shadowed is None:
            del self.variables[name]
        else:
            self.variables[name] = shadowed
        return ["every" if node.every else "some", name, domain.core, body]

    def _agree(self, left: Typed, right: Typed, word: str, at: Span) -> tuple[Typed, Typed] | None:
        found = agree(left, right, word)
        if isinstance(found, Clash):
            self.clash(found.message, at, found.label, found.help)
            return None
        return found

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

    def word_between(self, word: str, before: Span, after: Span) -> Span:
        """Return where a word stands between two parts of a construct."""
        start = self.draft.document.source.text.find(word, before.end, after.start)
        return Span(start, start + len(word)) if start >= 0 else before


def _sorted(values: list[Json]) -> list[Json]:
    return sorted(dict.fromkeys(values))
