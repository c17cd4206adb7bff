"""Stage `types`, concluded: policy tests name what exists, and give values that fit.

A test that could only fail by its own mistake is a mistake of the text, and is drawn like any other.
"""

import json
from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.functions import FROM_PLUGINS
from ringfence.dsl.compile.calendars import wall_ns
from ringfence.dsl.compile.canonicalisers import canonicaliser
from ringfence.dsl.draft import Draft, ToolDraft
from ringfence.dsl.names import PRINCIPAL, declared
from ringfence.dsl.plan import Canonicaliser, Json, UnfitError
from ringfence.dsl.resolve import approver_known
from ringfence.dsl.source import Span
from ringfence.dsl.types import Type


def check_tests(draft: Draft) -> None:
    """Check every test block of the policy and of the files that it uses, under all its ceilings."""
    names: set[str] = set()
    for node in draft.document.declarations:
        if isinstance(node, syntax.PolicyTest):
            if node.name.value in names:
                draft.duplicate("test", node.name.value, node.name.span)
            names.add(node.name.value)
            _Checking(draft, node).run()


def plain(value: syntax.Name | syntax.Text, canonical: Canonicaliser) -> Json:
    """Return what `tier "gold"` or `seats "12"` says of the principal, in the attribute's type.

    Raises:
        UnfitError: It is no value of that type.
    """
    text = value.value if isinstance(value, syntax.Text) else value.text
    try:
        return canonical(text)
    except UnfitError as unfit:
        try:
            return canonical(json.loads(text))
        except (ValueError, RecursionError):  # no JSON either: what stood there first is said
            raise unfit from None


class _Checking:
    """The steps of one test, in order."""

    def __init__(self, draft: Draft, test: syntax.PolicyTest) -> None:
        self.draft = draft
        self.test = test
        self.begun = False
        """True once something happened in the run that is on."""
        self.agent_said = len(draft.agents) <= 1

    def run(self) -> None:
        for step in self.test.steps:
            match step:
                case syntax.As():
                    self._as(step)
                case syntax.At():
                    self._at(step.moment)
                case syntax.NewRun():
                    self.begun = False
                case syntax.Given():
                    self._given(step)
                case syntax.Prompt() | syntax.Wait():
                    self._begin()
                case syntax.Ran():
                    self._begin()
                    for approver in step.signed_by:
                        approver_known(self.draft, approver)
                    self._call(step.call, [])
                case syntax.Called():
                    self._begin()
                    if step.approver is not None:
                        approver_known(self.draft, step.approver)
                    self._call(step.call, _forgiven(step))

    def _begin(self) -> None:
        self.begun = True
        if not self.agent_said:
            self.agent_said = True
            agents = ", ".join(f"`{name}`" for name in sorted(self.draft.agents))
            self.draft.report(
                "E133",
                "the test does not say which agent acts",
                self.test.name.span,
                f"the agents are {agents}",
                "begin with `as agent NAME, user …`",
            )

    def _as(self, step: syntax.As) -> None:
        if self.begun:
            self.draft.report(
                "E003",
                "did not expect `as` here",
                Span(step.span.start, step.span.start + len("as")),
                "this run has begun already",
                "put it first, or behind `new run`",
            )
        self.begun = True
        seen: set[str] = set()
        for who in step.who:
            name = who.attribute
            if name.text in seen:
                self.draft.report(
                    "E115", f"`{name.text}` is said twice", name.span, "the second one", "keep one of them"
                )
            seen.add(name.text)
            if name.text == "agent":
                self._agent(who.value)
            else:
                self._attribute(who)

    def _agent(self, value: syntax.Name | syntax.Text) -> None:
        self.agent_said = True
        agent = value if isinstance(value, syntax.Name) else syntax.Name(value.value, value.span)
        known = self.draft.agents or ("main",)
        if agent.text not in known:
            self.draft.unknown("E133", "agent", agent, known)

    def _attribute(self, who: syntax.Who) -> None:
        name = who.attribute
        if name.text in PRINCIPAL:
            return
        slot = self.draft.principal.get(name.text)
        if slot is None:
            self.draft.unknown("E102", "attribute", name, (*PRINCIPAL, *self.draft.principal))
        elif slot.type.known:
            try:
                plain(who.value, canonicaliser(slot.type))
            except UnfitError as error:  # reported: the policy does not load
                self._clash(name.text, slot.written, who.value.span, error)

    def _at(self, moment: syntax.Text) -> None:
        try:
            wall_ns(moment.value)
        except ValueError as error:  # reported: the policy does not load
            zone = str(error) if "zone" in str(error) else ""
            self.draft.report(
                "E109",
                f"`{moment.value}` is no moment",
                moment.span,
                zone,
                'write day, time and zone: `at "2026-11-23 10:00 Europe/London"`',
            )

    # ---- what functions and redactors answer ---------------------------------------------------------

    def _given(self, step: syntax.Given) -> None:
        name, arguments = step.function.name, step.function.arguments
        for argument in arguments:
            if argument.name is not None:
                self.draft.report(
                    "E107",
                    "what a function is given has no names",
                    argument.name.span,
                    "",
                    f"write `given {name.text}(VALUE) gives …`",
                )
        functions = self._functions()
        function = functions.get(name.text)
        if function is not None:
            types = [(param.name.text, declared(self.draft, param.type)) for param in function.params]
            self._count(step.function, len(types))
            for argument, (word, type) in zip(arguments, types, strict=False):
                self._fits(word, type, argument.value)
            self._fits(f"what `{name.text}` gives", declared(self.draft, function.gives), step.answer)
        elif name.text in FROM_PLUGINS or name.text in self._redactors():
            self._count(step.function, 1)
        else:
            known = (*functions, *FROM_PLUGINS, *self._redactors())
            self.draft.unknown("E107", "function", name, known)

    def _functions(self) -> dict[str, syntax.FunctionOf]:
        """Return the policy's functions and those of its ceilings; one name of several is the policy's."""
        functions: dict[str, syntax.FunctionOf] = {}
        for layer in (*self.draft.ceilings, self.draft):
            functions |= layer.functions
        return functions

    def _count(self, function: syntax.Invocation, count: int) -> None:
        given = len(function.arguments)
        if given != count:
            takes = "one value" if count == 1 else f"{count} values"
            self.draft.report(
                "E107", f"`{function.name.text}` takes {takes}", function.name.span, f"given {given}"
            )

    def _redactors(self) -> Iterator[str]:
        layers = (self.draft, *self.draft.ceilings)
        for node in (node for layer in layers for node in layer.document.declarations):
            if isinstance(node, syntax.Rule) and node.redactor is not None:
                yield node.redactor.text
            elif isinstance(node, syntax.Tool):
                for clause in node.clauses:
                    if isinstance(clause, syntax.Redact):
                        yield clause.redactor.text

    # ---- calls ---------------------------------------------------------------------------------------

    def _call(self, call: syntax.Invocation, forgiven: list[str]) -> None:
        """Check a call; `forgiven` says what the test expects to be wrong: `tool`, `arguments`."""
        for argument in call.arguments:
            if argument.name is None:
                self.draft.report(
                    "E102",
                    "an argument of a tool has a name",
                    argument.span,
                    "whose value is this?",
                    f"write `{call.name.text}(PARAMETER: VALUE)`",
                )
        tool = self.draft.tools.get(call.name.text)
        if tool is None:
            if "tool" not in forgiven:
                self.draft.unknown("E101", "tool", call.name, self.draft.tools)
        elif tool.slots is not None and not tool.broken and "arguments" not in forgiven:
            self._arguments(call, tool)

    def _arguments(self, call: syntax.Invocation, tool: ToolDraft) -> None:
        slots = tool.slots or {}
        given: set[str] = set()
        for argument in call.arguments:
            if argument.name is None:
                return
            given.add(argument.name.text)
            slot = slots.get(argument.name.text)
            if slot is None:
                self.draft.unknown("E102", "parameter", argument.name, slots)
            else:
                self._fits(slot.name, slot.type, argument.value, slot.written)
        missing = [name for name, slot in slots.items() if not slot.optional and name not in given]
        if missing:
            lacking = ", ".join(f"`{name}`" for name in missing)
            self.draft.report(
                "E102",
                f"`{call.name.text}` is not given {lacking}",
                call.name.span,
                "not optional",
                f"give a value, or expect `is denied by {call.name.text}.arguments`",
            )

    def _fits(self, word: str, type: Type, value: syntax.Value, written: str | None = None) -> None:
        if not type.known:
            return
        try:
            canonicaliser(type)(value.value)
        except UnfitError as error:  # reported: the policy does not load
            self._clash(word, written or str(type), value.span, error)

    def _clash(self, word: str, written: str, span: Span, error: UnfitError) -> None:
        shown = word if word.startswith("what ") else f"`{word}`"
        self.draft.report(
            "E110", f"this value does not fit {shown}", span, str(error), f"declared as `{written}`"
        )


def _forgiven(step: syntax.Called) -> list[str]:
    if step.expected == "not found":
        return ["tool", "arguments"]
    name = step.call.name.text
    if step.by is not None and [part.text for part in step.by.parts] == [name, "arguments"]:
        return ["arguments"]
    return []
