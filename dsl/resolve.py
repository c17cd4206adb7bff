"""Stages `resolve` and `cover`: whether every name that is used exists, and what targets cover."""

from collections.abc import Iterable

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft, Slot, ToolDraft
from ringfence.dsl.names import TRAITS, slot_of


def resolve(draft: Draft) -> None:
    """Resolve the names that declarations use: capabilities, approvers, agents."""
    if draft.layer is None:
        for tool in draft.tools.values():
            _resolve_tool(draft, tool)
        _starts(draft)
        _bound_once(draft)
        for agent in draft.agents.values():
            _resolve_agent(draft, agent)
    for approver in draft.approvers.values():
        for clause in approver.clauses:
            if isinstance(clause, syntax.AnswerWithin) and clause.otherwise_ask:
                approver_known(draft, clause.otherwise_ask)


def _bound_once(draft: Draft) -> None:
    bound: dict[str, str] = {}
    for name, tool in draft.tools.items():
        framework_name = tool.node.bound.value if tool.node.bound else name
        if framework_name in bound:
            span = tool.node.bound.span if tool.node.bound else tool.node.name.span
            draft.report(
                "E115",
                f"two tools are bound to `{framework_name}`",
                span,
                f"`{bound[framework_name]}` has this name already",
                "bind each tool to one name",
            )
        bound[framework_name] = name


def _resolve_agent(draft: Draft, agent: syntax.Agent) -> None:
    for clause in agent.clauses:
        if isinstance(clause, syntax.Holds):
            _capabilities(draft, clause.capabilities)
        elif isinstance(clause, syntax.MayStart):
            for name in clause.agents:
                if name.text not in draft.agents:
                    draft.unknown("E133", "agent", name, draft.agents)
    tool = draft.tools.get(agent.name.text)
    if tool is not None and tool.starts is None:
        draft.report(
            "E133",
            f"agent `{agent.name.text}` has the name of a tool",
            agent.name.span,
            "starting an agent is a call of the tool named after it",
            "rename one of them",
        )


def started(agent: syntax.Agent) -> Iterable[str]:
    """Yield the agents that one may start."""
    for clause in agent.clauses:
        if isinstance(clause, syntax.MayStart):
            yield from (name.text for name in clause.agents)


def held(agent: syntax.Agent) -> tuple[str, ...]:
    """Return the capabilities that an agent holds, in order."""
    return tuple(
        name.text for part in agent.clauses if isinstance(part, syntax.Holds) for name in part.capabilities
    )


def _starts(draft: Draft) -> None:
    """Starting an agent is a call of the tool named after it."""
    for starter in draft.agents.values():
        for name in started(starter):
            agent = draft.agents.get(name)
            if agent is None or name in draft.tools:
                continue
            traits = frozenset[str]().union(*(draft.capabilities.get(need, ()) for need in held(agent)))
            node = syntax.Tool(agent.name, None, None, (), agent.name.span)
            draft.tools[name] = ToolDraft(node, traits=traits, starts=name)


def approver_known(draft: Draft, name: syntax.Name) -> bool:
    """Return whether an approver is declared; report it if not."""
    if name.text in draft.approvers:
        return True
    draft.unknown("E105", "approver", name, draft.approvers)
    return False


def _capabilities(draft: Draft, names: tuple[syntax.Name, ...]) -> list[str]:
    for name in names:
        if name.text not in draft.capabilities:
            draft.unknown("E106", "capability", name, draft.capabilities)
    return [name.text for name in names if name.text in draft.capabilities]


def _resolve_tool(draft: Draft, tool: ToolDraft) -> None:
    needs: list[str] = []
    slots: dict[str, Slot] | None = None
    for clause in tool.clauses:
        if isinstance(clause, syntax.Needs):
            known = _capabilities(draft, clause.capabilities)
            tool.broken |= len(known) < len(clause.capabilities)
            needs += known
        elif isinstance(clause, syntax.Takes):
            slots = {} if slots is None else slots
            for param in clause.params:
                if param.name.text in slots:
                    draft.duplicate("parameter", param.name.text, param.name.span)
                else:
                    slots[param.name.text] = slot_of(draft, param)
    tool.needs = tuple(dict.fromkeys(needs))
    tool.slots = slots
    tool.traits = frozenset().union(*(draft.capabilities[need] for need in tool.needs))
    tool.broken |= draft.unread(tool.node.span)


class Coverage:
    """Which tools a target covers, in one layer."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._by_capability: dict[str, list[str]] = {}
        self._by_trait: dict[str, list[str]] = {}
        for name, tool in draft.tools.items():
            for need in tool.needs:
                self._by_capability.setdefault(need, []).append(name)
            for trait in tool.traits:
                self._by_trait.setdefault(trait, []).append(name)

    def of(self, target: syntax.Target) -> tuple[tuple[str, ...], bool]:
        """Return the covered tools, and whether every word of the target is known."""
        draft = self._draft
        if target.kind == "any":
            return tuple(draft.tools), True
        covered: dict[str, None] = {}
        sound = True
        for word in target.names:
            match target.kind:
                case "names" if meant := draft.meant(word.text):
                    covered |= dict.fromkeys(meant)
                case "names" if draft.layer is None:
                    draft.unknown("E101", "tool", word, draft.tools)
                    sound = False
                case "needs" if word.text in draft.capabilities:
                    covered |= dict.fromkeys(self._by_capability.get(word.text, ()))
                case "needs":
                    draft.unknown("E106", "capability", word, draft.capabilities)
                    sound = False
                case "trait" if word.text in TRAITS:
                    covered |= dict.fromkeys(self._by_trait.get(word.text, ()))
                case "trait":
                    draft.unknown("E106", "trait", word, TRAITS)
                    sound = False
        return tuple(covered), sound


def cover(draft: Draft) -> None:
    """Find the tools that every target covers."""
    coverage = Coverage(draft)
    for rule in draft.rules.values():
        if rule.node.approver is not None:
            rule.broken |= not approver_known(draft, rule.node.approver)
        rule.covers, sound = coverage.of(rule.node.target)
        rule.broken |= not sound
    for budget in draft.amounts.values():
        budget.covers, _ = coverage.of(budget.node.target)
    for guarantee in draft.guarantees.values():
        guarantee.covers, _ = coverage.of(guarantee.node.target)
        approver = guarantee.node.unless_approved_by
        if approver is not None and approver.text != "anyone":
            approver_known(draft, approver)
