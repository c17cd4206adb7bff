"""Functions that the policy declares: `function is_customer(address: email) gives boolean from "…"`."""

from typing import TYPE_CHECKING

from ringfence.dsl import syntax
from ringfence.dsl.checks.functions import FROM_PLUGINS, FUNCTIONS
from ringfence.dsl.checks.pairs import Typed, a, family, literal, taken_for
from ringfence.dsl.draft import Draft
from ringfence.dsl.names import declared, not_installed
from ringfence.dsl.plan import UnfitError
from ringfence.dsl.types import TEXTUAL, UNKNOWN, Type, written

if TYPE_CHECKING:
    from ringfence.dsl.checks.operands import Operands

_LINES = frozenset({"line", "email", "url", "date", "host", "domain"})
_TAKEN: dict[str, frozenset[str]] = {
    "text": TEXTUAL,
    "line": _LINES,
    "number": frozenset({"number", "integer", "count"}),
    "integer": frozenset({"integer", "count"}),
}
"""Kinds whose every value a parameter of another kind takes."""


def check_functions(draft: Draft) -> None:
    """Check the declarations of functions, used or not (E107, E111, E115)."""
    for name, node in draft.functions.items():
        if name in FUNCTIONS:
            draft.report(
                "E115", f"`{name}` is a built-in function", node.name.span, "", "choose another name"
            )
        if not node.plugin.value.strip():
            draft.report(
                "E107", "this plugin has no name", node.plugin.span, "", "write which plugin answers"
            )
        seen: set[str] = set()
        for param in node.params:
            if param.name.text in seen:
                draft.duplicate("parameter", param.name.text, param.name.span)
            seen.add(param.name.text)
            if param.optional:
                draft.report(
                    "E111",
                    f"`{param.name.text}` cannot be optional",
                    param.name.span,
                    "a function is given all its values",
                    "remove `optional`",
                )
            declared(draft, param.type)
        declared(draft, node.gives)


def imply(draft: Draft, name: syntax.Name) -> None:
    """Declare a function that needs no declaration, as if `function … from "…"` stood in the file."""
    plugin, gives, is_list = FROM_PLUGINS[name.text]
    span = name.span
    text = syntax.TypeName(syntax.Name("text", span), False, None, span)
    param = syntax.Param(syntax.Name("query", span), text, False, span)
    result = syntax.TypeName(syntax.Name(gives, span), is_list, None, span)
    draft.functions[name.text] = syntax.FunctionOf(name, (param,), result, syntax.Text(plugin, span), span)
    if draft.installed is not None and not draft.installed(plugin):
        not_installed(draft, "plugin", plugin, span)


def asked(operands: "Operands", node: syntax.Apply, function: syntax.FunctionOf) -> Typed:
    """Lower a call of a declared function; its type is what the declaration gives."""
    name, span = node.function.text, node.function.span
    poison = Typed(["const", None], UNKNOWN)
    if operands.in_event:
        operands.clash(
            f"`{name}` cannot be asked inside `where (…)`",
            span,
            "a function is asked about the call being decided",
            "ask it outside, or compare the arguments",
        )
        return poison
    arguments = [operands.value(argument) for argument in node.arguments]
    if len(arguments) != len(function.params):
        takes = "one value" if len(function.params) == 1 else f"{len(function.params)} values"
        shape = ", ".join(f"{param.name.text}: {written(param.type)}" for param in function.params)
        operands.report(
            "E107", f"`{name}` takes {takes}", span, f"given {len(arguments)}", f"declared `{name}({shape})`"
        )
        return poison
    if not all(argument.type.known for argument in arguments):
        return poison
    fitted = []
    for argument, param in zip(arguments, function.params, strict=True):
        type = declared(operands.draft, param.type)
        fit = _fit(argument, type)
        if fit is None and type.known:
            operands.clash(
                f"`{name}` does not take {a(argument.type)}",
                span,
                f"`{param.name.text}` is {a(type)}",
                "give a value of the declared type, or change the declaration",
            )
        fitted.append(fit)
    gives = declared(operands.draft, function.gives)
    if not gives.known or any(fit is None for fit in fitted):
        return poison
    core = ["call", operands.draft.function_key(name), [fit.core for fit in fitted if fit is not None]]
    return Typed([*core, [gives.kind, gives.is_list, gives.at_most, gives.unit]], gives)


def _fit(argument: Typed, type: Type) -> Typed | None:
    """Return the argument as the parameter takes it; None if it does not."""
    given = argument.type
    if given.kind == "untyped":
        if type.kind in ("text", "number", "boolean"):
            return taken_for(argument, type.kind, type.is_list)
        return None
    if given.is_list != type.is_list:
        return None
    if given.kind == "empty":
        return argument
    if argument.constant and family(given) == family(type) and type.kind != "integer":
        try:
            return Typed(["const", literal(argument.core[1], type.kind)], type)
        except UnfitError:  # the literal is no value of that type: reported by the caller
            return None
    return argument if given.kind == type.kind or given.kind in _TAKEN.get(type.kind, ()) else None
