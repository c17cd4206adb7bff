"""Stage `checks`: who may answer (E105, E131)."""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft

GRAVE = frozenset({"destructive", "code", "money"})
"""Traits of tools that nobody may approve for themselves."""


def check_people(draft: Draft) -> None:
    """Check approvers, the chains they form, and that nobody answers for themselves where it is grave."""
    for approver in draft.approvers.values():
        _approver(draft, approver)
    for name, tool in draft.tools.items():
        for clause in draft.clauses[name]:
            if clause.approver is not None and tool.traits & GRAVE:
                _never_requester(draft, clause.approver, tool.traits & GRAVE)
    for rule in draft.rules.values():
        if rule.node.approver is None:
            continue
        grave = frozenset[str]().union(*(draft.tools[name].traits & GRAVE for name in rule.covers))
        if grave:
            _never_requester(draft, rule.node.approver, grave)


def _approver(draft: Draft, node: syntax.Approver) -> None:
    if not any(isinstance(clause, syntax.Group) for clause in node.clauses):
        draft.report(
            "E105",
            f"approver `{node.name.text}` names no group",
            node.name.span,
            "nobody could answer",
            'write whom to ask: `group "NAME"`',
        )
    if node.name.text == "anyone":
        draft.report(
            "E115",
            "`anyone` is every approver already",
            node.name.span,
            "`unless approved by anyone` means any of them",
            "give this approver another name",
        )
    seen: set[str] = set()
    for clause in node.clauses:
        what = _CLAUSES[type(clause)]
        if what in seen:
            draft.report("E115", f"`{what}` is said twice", clause.span, "the second one", "keep one of them")
        seen.add(what)
        if isinstance(clause, syntax.Quorum) and not 1 <= clause.count.value <= 1000:
            draft.report(
                "E105",
                f"`quorum {clause.count.value}` asks {'a crowd' if clause.count.value else 'nobody'}",
                clause.count.span,
                "between 1 and 1000 people",
                "write how many different people must approve",
            )
        if isinstance(clause, syntax.Group) and not clause.name.value.strip():
            draft.report(
                "E105", "this group has no name", clause.name.span, "", "write the name of a group of people"
            )
        if isinstance(clause, syntax.AnswerWithin) and clause.within.ns == 0:
            draft.report(
                "E105",
                "nobody can answer in no time",
                clause.within.span,
                "every question would expire at once",
                "write how long people have: `answer within 15 minutes`",
            )
        if isinstance(clause, syntax.AnswerWithin) and clause.otherwise_ask and _cycle(draft, node.name.text):
            draft.report(
                "E105",
                f"approver `{node.name.text}` passes its tickets on in a circle",
                clause.otherwise_ask.span,
                "this leads back here",
                "end the chain with `otherwise deny`",
            )


_CLAUSES: dict[type, str] = {
    syntax.Group: "group",
    syntax.Quorum: "quorum",
    syntax.NeverRequester: "never the requester",
    syntax.AnswerWithin: "answer within",
}


def passed_on_to(node: syntax.Approver) -> str | None:
    """Return who is asked when nobody answered in time."""
    for clause in node.clauses:
        if isinstance(clause, syntax.AnswerWithin) and clause.otherwise_ask is not None:
            return clause.otherwise_ask.text
    return None


def chain(draft: Draft, name: str) -> Iterator[syntax.Approver]:
    """Yield an approver and those its tickets are passed on to, each once."""
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current in draft.approvers and current not in seen:
        seen.add(current)
        node = draft.approvers[current]
        yield node
        current = passed_on_to(node)


def _cycle(draft: Draft, name: str) -> bool:
    return any(passed_on_to(node) == name for node in chain(draft, name))


def _never_requester(draft: Draft, used: syntax.Name, traits: frozenset[str]) -> None:
    for node in chain(draft, used.text):
        if any(isinstance(clause, syntax.NeverRequester) for clause in node.clauses):
            continue
        trait = min(traits)
        via = "" if node.name.text == used.text else f", to whom `{used.text}` passes on,"
        draft.report(
            "E131",
            f"approver `{node.name.text}`{via} can be the requester of a {trait} tool",
            used.span,
            "nobody approves this for themselves",
            f"add `never the requester` to approver `{node.name.text}`",
        )
        return
