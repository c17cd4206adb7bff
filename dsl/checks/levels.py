"""Stage `levels`: what results carry (E103, E115, E135)."""

from ringfence.dsl import syntax
from ringfence.dsl.checks.clauses import lower
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.draft import Draft, LabelDraft, ToolDraft


def label_results(draft: Draft) -> None:
    """Lower the `result is` clauses of every tool."""
    for name, tool in draft.tools.items():
        made = _labels(draft, name, tool)
        if made:
            draft.labels[name] = made


def _labels(draft: Draft, name: str, tool: ToolDraft) -> list[LabelDraft]:
    made: list[LabelDraft] = []
    has_otherwise = False
    for clause in tool.clauses:
        if not isinstance(clause, syntax.ResultIs):
            continue
        rank = rank_of(draft, clause.level)
        core, _ = (TRUE, ()) if clause.condition is None else lower(draft, name, tool, clause.condition)
        if clause.otherwise and has_otherwise:
            draft.report(
                "E115", "`otherwise` is said twice", clause.span, "the second one", "keep one of them"
            )
        has_otherwise |= clause.otherwise
        made.append(LabelDraft(rank, core, clause.otherwise, clause.span))
    return made


def rank_of(draft: Draft, level: syntax.Name) -> int | None:
    """Return the rank of a level; report a name that is none."""
    if level.text in draft.levels:
        return draft.levels.index(level.text)
    if draft.levels or level.text in draft.document.lost:
        draft.unknown("E103", "level", level, draft.levels)
    elif draft.policy is not None or draft.layer is None:
        draft.report(
            "E103",
            f"unknown level `{level.text}`",
            level.span,
            "no levels are declared",
            "declare them, lowest first: `levels public < internal < secret`",
        )
    return None


def readers_labelled(draft: Draft) -> None:
    """Report a reading tool whose results carry no label, where there are levels."""
    if draft.layer is not None or not draft.levels:
        return
    for name, tool in draft.tools.items():
        if tool.starts is not None or "read" not in tool.traits or draft.unread(tool.node.span):
            continue
        if not any(name in layer.labels for layer in (draft, *draft.ceilings)):
            draft.report(
                "E135",
                f"tool `{name}` reads, and nothing says how sensitive its result is",
                tool.node.name.span,
                "no `result is`",
                f"add `result is {draft.levels[-1]}`, or the level that fits",
            )
