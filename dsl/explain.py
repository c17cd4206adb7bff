"""A plan in words: its core form, clause by clause, then what each agent may do.

Everything is printed from the plan, nothing from the text: what is read here is what decides.
"""

from collections.abc import Iterator

from ringfence.dsl.plan import (
    ApproverPlan,
    AuditRule,
    Clause,
    GuaranteePlan,
    IsolatePlan,
    LabelClause,
    Plan,
    Redaction,
    ToolPlan,
)
from ringfence.dsl.sentences import budget_words, sentences
from ringfence.dsl.source import Place
from ringfence.dsl.spelling import spell
from ringfence.dsl.types import duration_text, size_text


def explain(plan: Plan) -> str:
    """Return the core form of a plan and, in sentences, what each agent may do."""
    version = f' version "{plan.version}"' if plan.version else ""
    lines = [f"policy {plan.policy}{version}, language {plan.edition}, {plan.file}", plan.digest]
    if plan.layers:
        lines.append(f"under {', '.join(plan.layers)}")
    if plan.levels:
        lines += ["", f"levels {' < '.join(plan.levels)}"]
    for function in plan.functions.values():
        takes = ", ".join(f"{one.name}: {one.type}" for one in function.parameters)
        gives = f"gives {function.gives.type} from {_quoted(function.plugin)}"
        lines += ["", f"function {function.name}({takes}) {gives}  [{function.place}]"]
    for approver in plan.approvers.values():
        lines += ["", *_approver(approver)]
    for isolate in plan.isolates.values():
        lines += ["", *_isolate(isolate)]
    for tool in plan.tools.values():
        lines += ["", *_tool(plan, tool)]
    lines += ["", *_told(plan)]
    for guarantee in plan.guarantees:
        lines += ["", *_guarantee(plan, guarantee)]
    for said in sentences(plan).values():
        lines += ["", said[0], *(f"  {sentence}" for sentence in said[1:])]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _approver(approver: ApproverPlan) -> Iterator[str]:
    yield f"approver {approver.name}  [{approver.place}]"
    if approver.group is not None:
        yield f"  group {_quoted(approver.group)}"
    yield f"  quorum {approver.quorum}"
    if approver.never_requester:
        yield "  never the requester"
    if approver.within_ns is not None:
        otherwise = f"ask {approver.otherwise_ask}" if approver.otherwise_ask else "deny"
        yield f"  answer within {duration_text(approver.within_ns)} otherwise {otherwise}"


def _isolate(isolate: IsolatePlan) -> Iterator[str]:
    yield f"isolate {isolate.name}  [{isolate.place}]"
    yield f"  lockdown {isolate.lockdown}"
    for word, size in (("memory", isolate.memory_bytes), ("output at most", isolate.output_bytes)):
        yield f"  {word} {size_text(size)}"
    for word, length in (("cpu", isolate.cpu_ns), ("time", isolate.time_ns)):
        yield f"  {word} {duration_text(length)}"
    if isolate.may_call:
        yield f"  may call {', '.join(sorted(isolate.may_call))}"
    steps = "" if isolate.tick_ms is None else f" {duration_text(isolate.tick_ms * 1_000_000)}"
    yield f"  clock {isolate.clock}{steps}"


def _told(plan: Plan) -> Iterator[str]:
    responses = plan.responses
    yield "what the model is told"
    said = {"unknown": responses.unknown, "deny": responses.deny, "failure": responses.failure}
    for occasion, text in said.items():
        yield f"  {occasion:<8} {_quoted(text) if text is not None else 'because'}"
    if responses.floor_ns or responses.step_ns:
        floor, step = duration_text(responses.floor_ns), duration_text(responses.step_ns)
        yield f"  latency  at least {floor} in steps of {step}"


def _tool(plan: Plan, tool: ToolPlan) -> Iterator[str]:
    bound = f" is {_quoted(tool.bound)}" if tool.bound != tool.name else ""
    yield f"tool {tool.name}{bound}  [{tool.place}]"
    if tool.starts is not None:
        yield f"  starts agent {tool.starts}"
    if tool.needs:
        traits = ", ".join(sorted(tool.traits)) or "no traits"
        yield f"  needs {', '.join(sorted(tool.needs))}  ({traits})"
    if tool.parameters is None:
        yield "  takes what its schema says; unbound, anything"
    else:
        taken = (f"{p.name}: {p.type}{' optional' if p.optional else ''}" for p in tool.parameters.values())
        yield f"  takes {', '.join(taken) or 'nothing'}"
    clauses: list[Clause | Redaction | AuditRule] = [*tool.denies, *tool.asks, *tool.allows]
    clauses += [*tool.redactions, *tool.audits]
    for clause in sorted(clauses, key=_written_at):
        yield from _clause(plan, clause)
    for label in tool.labels:
        yield f"  result is {_label(plan, label)}"
    for budget in tool.budgets:
        yield f"  budget {budget_words(plan, budget)}  {budget.reason}  [{budget.place}]{_of(budget.layer)}"
    yield from _duties(tool)


def _duties(tool: ToolPlan) -> Iterator[str]:
    duties = tool.obligations
    if duties.max_rows is not None:
        yield f"  result at most {duties.max_rows} rows"
    if duties.max_bytes is not None:
        yield f"  result at most {size_text(duties.max_bytes)}"
    if duties.step_bytes is not None:
        yield f"  result in steps of {size_text(duties.step_bytes)}"
    if tool.isolated is not None:
        what = tool.isolated.param or _quoted(tool.isolated.file or "")
        yield f"  runs {what} in {tool.isolated.isolate}"
    if duties.stop_ns is not None:
        yield f"  stop after {duration_text(duties.stop_ns)}"
    yield f"  audit {duties.audit}"


def _written_at(clause: Clause | Redaction | AuditRule) -> tuple[str, int, int]:
    place = clause.place or Place("", 0, 0)
    return place.file, place.line, place.column


def _clause(plan: Plan, clause: Clause | Redaction | AuditRule) -> Iterator[str]:
    match clause:
        case Redaction():
            effect = f"redact {clause.param} with {clause.redactor}"
        case AuditRule():
            effect = f"audit {clause.level}"
        case Clause(effect="ask"):
            effect = f"ask {clause.approver}"
        case _:
            effect = clause.effect
    when = "always" if clause.condition is None else f"when {spell(clause.core, plan.levels)}"
    shadow = "shadow " if clause.shadow else ""
    yield f"  {shadow}{effect} {when}  {clause.name}  [{clause.place}]{_of(clause.layer)}"
    if isinstance(clause, Clause) and clause.because is not None:
        yield f"    because {_quoted(clause.because)}"


def _of(layer: str | None) -> str:
    return "" if layer is None else f"  of ceiling {layer}"


def _label(plan: Plan, label: LabelClause) -> str:
    level = plan.levels[label.rank]
    if label.otherwise:
        return f"{level} otherwise{_of(label.layer)}"
    if label.condition is None:
        return f"{level}{_of(label.layer)}"
    return f"{level} when {spell(label.core, plan.levels)}{_of(label.layer)}"


def _guarantee(plan: Plan, guarantee: GuaranteePlan) -> Iterator[str]:
    yield f"guarantee {guarantee.name}, kept and not proved  [{guarantee.place}]{_of(guarantee.layer)}"
    conditions = list(dict.fromkeys(spell(core, plan.levels) for core in guarantee.cores))
    when = "" if conditions in ([], ["always"]) else f" when {' or when '.join(conditions)}"
    unless = f" unless approved by {guarantee.approved_by}" if guarantee.approved_by else ""
    yield f"  never {', '.join(guarantee.tools) or 'any tool that is declared'}{when}{unless}"
