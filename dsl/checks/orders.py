"""`order NAME same PARAM: A then B then C`: a deny of the last step unless the others came before."""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.conditions import Lowering
from ringfence.dsl.checks.fold import both, negate
from ringfence.dsl.checks.history import lower_event, tools_of
from ringfence.dsl.draft import ClauseDraft, Draft
from ringfence.dsl.plan import Json
from ringfence.dsl.types import Type


def lower_order(draft: Draft, node: syntax.Order) -> list[tuple[ClauseDraft, tuple[str, ...]]]:
    """Return the denies of an order's last step, each with the tools it stands on.

    Several where the `where` of the last step is typed differently per tool.  Empty after a mistake, which
    is reported.
    """
    lowering = Lowering(draft, "", {})
    events = [lower_event(lowering, step) for step in node.steps]
    last = node.steps[-1]
    if last.kind == "reading":
        lowering.clash(
            "an order guards a call, and this is a result that was read",
            last.span,
            "the last step",
            "end it with a tool",
        )
    if node.same is not None:
        _same(lowering, node, node.same, events)
    guarded = events[-1]
    if lowering.failed or guarded is None:
        return []
    same = None if node.same is None else node.same.text
    unordered = negate(["ordered", node.name.text, events[:-1], same])
    groups: list[Json] = guarded[2] if len(guarded) > 2 else [[None, list(tools_of(draft, guarded[1]))]]
    said = tuple(lowering.named)
    return [
        (
            ClauseDraft(
                node.name.text,
                "deny",
                unordered if where is None else both([where, unordered]),
                node.span,
                principal=said,
            ),
            tuple(tools),
        )
        for where, tools in groups
    ]


def _same(lowering: Lowering, node: syntax.Order, same: syntax.Name, events: list[Json | None]) -> None:
    """Check that every step has the parameter, always, and that it is typed alike in all of them."""
    draft = lowering.draft
    first: Type | None = None
    for step, event in zip(node.steps, events, strict=True):
        if step.kind == "reading":
            lowering.clash(
                f"a result that was read has no `{same.text}`",
                step.span,
                "this step takes no parameters",
                "remove `same …`, or name a tool",
            )
            continue
        for tool, type, optional in _typed(draft, same.text, event):
            if type is None:
                if not draft.unread(draft.tools[tool].node.span):
                    lowering.report(
                        "E102",
                        f"unknown parameter `{same.text}`",
                        same.span,
                        f"tool `{tool}` does not take it",
                        "name a parameter that every step takes",
                    )
                continue
            if optional:
                lowering.report(
                    "E117",
                    f"`{same.text}` is optional in tool `{tool}`",
                    same.span,
                    "it may be missing",
                    "name a parameter that every call gives",
                )
            plain = Type(type.kind, type.is_list)
            first = first or plain
            if plain != first and plain.known and first.known:
                lowering.clash(
                    f"`{same.text}` is {first} in one step and {plain} in another",
                    same.span,
                    f"tool `{tool}` takes another type",
                    "declare it alike in all steps",
                )


def _typed(draft: Draft, name: str, event: Json | None) -> Iterator[tuple[str, Type | None, bool]]:
    if event is None:
        return
    for tool in tools_of(draft, event[1]):
        slot = (draft.tools[tool].slots or {}).get(name)
        yield tool, slot.type if slot else None, bool(slot and slot.optional)
