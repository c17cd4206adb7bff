"""What the layers see of each other: the policy, and the ceilings over it.

Traits, levels, approvers and attributes of the principal join; every other name is its own layer's.  To
a ceiling, a tool that needs nothing, or a capability that the ceiling does not declare, has every trait.
"""

from collections.abc import Iterator, Sequence

from ringfence.dsl import syntax
from ringfence.dsl.compile import core
from ringfence.dsl.draft import Draft, ToolDraft
from ringfence.dsl.names import TRAITS
from ringfence.dsl.resolve import held
from ringfence.dsl.source import Span

NARROWING = (
    syntax.Allow,  # it has a report of its own (E116)
    syntax.Require,
    syntax.Deny,
    syntax.Ask,
    syntax.Rate,
    syntax.Touches,
    syntax.BlastRadius,
    syntax.ResultIs,
    syntax.ResultAtMost,
    syntax.ResultInSteps,
    syntax.Redact,
    syntax.Audit,
    syntax.StopAfter,
)
"""The clauses that a ceiling may say about a tool."""


def compose(policy: Draft, ceilings: Sequence[Draft]) -> None:
    """Join what layers share, after every layer has declared its own."""
    policy.ceilings = tuple(ceilings)
    names: set[str] = set()
    for ceiling in ceilings:
        ceiling.policy = policy
        header = ceiling.header
        if header is not None and header.name.text in names:
            ceiling.duplicate("ceiling", header.name.text, header.name.span)
        if header is not None:
            names.add(header.name.text)
        if ceiling.layer is None:  # no ceiling, and reported: it must not be taken for a policy
            ceiling.layer = "" if header is None else header.name.text
    _join_traits(policy, ceilings)
    _join_levels(policy, ceilings)
    for ceiling in ceilings:
        _join_approvers(policy, ceiling)
        _join_principal(policy, ceiling)
        ceiling.agents = policy.agents


def _join_traits(policy: Draft, ceilings: Sequence[Draft]) -> None:
    layers = (policy, *ceilings)
    joined: dict[str, frozenset[str]] = {}
    for layer in layers:
        for name, traits in layer.capabilities.items():
            joined[name] = joined.get(name, frozenset()) | traits
    for layer in layers:
        for name in layer.capabilities:
            layer.capabilities[name] = joined[name]


def _join_levels(policy: Draft, ceilings: Sequence[Draft]) -> None:
    first: Draft | None = None
    for layer in (*ceilings, policy):
        if layer.own_levels is None:
            continue
        if first is None:
            first = layer
        elif layer.levels != first.levels:
            layer.report(
                "E115",
                f"ceiling `{first.layer}` has other levels",
                _first_other(layer, layer.own_levels, first.levels),
                "changed here",
                "repeat them word for word: `levels " + " < ".join(first.levels) + "`, or leave them out",
            )
    if first is not None:
        for layer in (*ceilings, policy):
            layer.levels = first.levels


def _first_other(layer: Draft, node: syntax.Levels, levels: tuple[str, ...]) -> Span:
    for index, name in enumerate(node.names):
        if index >= len(levels) or name.text != levels[index]:
            return name.span
    return node.names[-1].span


def _join_approvers(policy: Draft, ceiling: Draft) -> None:
    for name, node in ceiling.approvers.items():
        own = policy.approvers.get(name)
        if own is None:
            policy.approvers[name] = node
        elif core.approver(own) != core.approver(node):
            policy.report(
                "E115",
                f"approver `{name}` is not as ceiling `{ceiling.layer}` declares it",
                own.name.span,
                "changed here",
                "repeat it word for word, leave it out, or rename it",
            )


def _join_principal(policy: Draft, ceiling: Draft) -> None:
    for name, slot in ceiling.principal.items():
        own = policy.principal.get(name)
        if own is None:
            policy.principal[name] = slot
        elif (own.type, own.optional) != (slot.type, slot.optional):
            policy.report(
                "E115",
                f"attribute `{name}` is not as ceiling `{ceiling.layer}` declares it",
                own.span,
                "changed here",
                f"write `{name}: {slot.written}{' optional' if slot.optional else ''}`, or leave it out",
            )


def see(draft: Draft) -> None:
    """Put into a ceiling's draft the policy's tools as the ceiling sees them, with its own clauses."""
    if draft.layer is None:
        return
    blocks = draft.tools
    for block in blocks.values():
        _only_narrows(draft, block)
    if draft.policy is None:
        for block in blocks.values():
            block.unseen = True
        return
    draft.tools = {}
    for name, tool in draft.policy.tools.items():
        names = dict.fromkeys((name, tool.node.bound.value if tool.node.bound else name))
        clauses = tuple(clause for one in names if one in blocks for clause in blocks[one].clauses)
        draft.tools[name] = ToolDraft(
            node=tool.node,
            clauses=clauses,
            needs=tuple(need for need in tool.needs if need in draft.capabilities),
            traits=_traits_seen(draft, tool),
            slots=tool.slots,
            broken=tool.broken,
            unseen=draft.policy.unread(tool.node.span),
            starts=tool.starts,
        )


def _traits_seen(ceiling: Draft, tool: ToolDraft) -> frozenset[str]:
    needs = tool.needs
    if tool.starts is not None:
        needs = held(ceiling.agents[tool.starts])
    # SECURITY: what a ceiling cannot judge has every trait, or a policy could slip past it by a new name.
    if not needs or any(need not in ceiling.capabilities for need in needs):
        return frozenset(TRAITS)
    return frozenset[str]().union(*(ceiling.capabilities[need] for need in needs))


def _only_narrows(draft: Draft, block: ToolDraft) -> None:
    kept: list[syntax.ToolClause] = []
    for clause in block.clauses:
        if isinstance(clause, syntax.Allow):
            draft.report(
                "E116",
                "a ceiling grants nothing",
                Span(clause.span.start, clause.span.start + len("allow")),
                "`allow` stands in a policy",
                "write what must not be: `deny when …` or `require …`",
            )
        elif isinstance(clause, NARROWING):
            kept.append(clause)
        else:
            word = type(clause).__name__.lower()
            draft.report(
                "E003",
                f"did not expect `{word}` in a ceiling",
                Span(clause.span.start, clause.span.start + len(word)),
                "a ceiling only narrows",
                "the policies under it say what a tool needs, takes and runs",
            )
    if block.node.bound is not None:
        draft.report(
            "E003",
            "did not expect `is` in a ceiling",
            block.node.bound.span,
            "the policy binds the tool",
            "remove it",
        )
    block.clauses = tuple(kept)


def layers(draft: Draft) -> Iterator[Draft]:
    """Yield a policy's draft and those of the ceilings over it."""
    yield draft
    yield from draft.ceilings
