"""Rehearse a policy test: its steps become events of a run, and each call is decided as the guard would.

The same fold, the same `assess` and `conclude`, on a clock that stands still.  Nothing is executed: a call
that is allowed counts as run, with the result that the test says.  Plugins never run: a function answers
what `given` says and is undecided without it; a redactor leaves the value as it is, unless `given` says
otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ringfence.dsl import syntax
from ringfence.dsl.checks.tests import plain
from ringfence.dsl.compile.calendars import wall_ns
from ringfence.dsl.plan import Json, Plan, Question, Reason, Verdict
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.engine.decision.calls import Decision, Facts, ToolCall, key_base
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetRefunded,
    CallFinished,
    CallStarted,
    PromptGiven,
    RunEnded,
    RunEvent,
    RunHalted,
    RunStarted,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.results import RefusedResultError, bound_result
from ringfence.engine.decision.state import State, apply, start
from ringfence.engine.journal.hiding import Hiding, hiding_of
from ringfence.engine.journal.remembered import Remembered
from ringfence.engine.journal.secrets import Secrets
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.windows import Windows

START_NS = 1_767_225_600_000_000_000
"""Where the clock of every test stands at first: 2026-01-01 00:00 UTC."""

_ROUNDS = 8
"""A decision that still asks after so many rounds of answers goes without them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The step that did not come out as the test says, and why."""

    span: Span
    expected: str
    got: str
    reasons: tuple[Reason, ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of one test."""

    test: syntax.PolicyTest
    failure: Failure | None
    """The first step that failed; those behind it were not taken."""
    calls: int
    """How many calls were decided."""

    @property
    def passed(self) -> bool:
        """True if every step came out as the test says."""
        return self.failure is None


def rehearse(plan: Plan, test: syntax.PolicyTest, *, coverage: Coverage | None = None) -> Rehearsed:
    """Take the steps of a test in order, up to the first that fails.

    Args:
        plan: The policy that the test was checked with; `coverage.plan` where there is a coverage.
        coverage: Is told what the test reached.
    """
    rehearsal = _Rehearsal(plan, coverage)
    for step in test.steps:
        failure = rehearsal.take(step)
        if failure is not None:
            return Rehearsed(test, failure, rehearsal.calls)
    return Rehearsed(test, None, rehearsal.calls)


class _Rehearsal:
    """One test's session: its runs, one after another, its clock, its budgets and its given answers."""

    def __init__(self, plan: Plan, coverage: Coverage | None) -> None:
        self.plan = plan
        self.coverage = coverage
        self.calls = 0
        self.now_ns = START_NS
        self.wall_lead_ns: int | None = None
        """How far the time of day is ahead of the clock; None: nobody said the time of day."""
        self.windows = Windows()
        self.given: dict[str, Json] = {}
        self.agent = next(iter(plan.agents), "main")
        self.principal: dict[str, Json] = {}
        self.runs = 0
        self.seq = 0
        self._hiding: Hiding | None = None
        """What of the run a guard's log would not have, since the policy redacts it."""
        self._hidden = Remembered()
        self._state: State | None = None
        self._before: State | None = None
        """The run before, once it has ended."""

    def take(self, step: syntax.PolicyTestStep) -> Failure | None:
        """Take one step; return why it failed."""
        match step:
            case syntax.As():
                self._as(step)
            case syntax.At():
                moment_ns = wall_ns(step.moment.value)
                self.wall_lead_ns = None if moment_ns is None else moment_ns - self.now_ns
            case syntax.Prompt():
                self._happen(PromptGiven("user", step.text.value))
            case syntax.Wait():
                self._begun()
                self.now_ns += step.duration.ns
            case syntax.NewRun():
                self._end()
            case syntax.Given():
                self._give(step)
            case syntax.Ran():
                return self._ran(step)
            case syntax.Called():
                return self._called(step)
        return None

    # ---- runs ----------------------------------------------------------------------------------------

    def _as(self, step: syntax.As) -> None:
        self.principal = {}
        for who in step.who:
            name = who.attribute.text
            said = who.value.value if isinstance(who.value, syntax.Text) else who.value.text
            if name == "agent":
                self.agent = said
            elif name in self.plan.principal:
                self.principal[name] = plain(who.value, self.plan.principal[name].canonical)
            else:
                self.principal[name] = said
        self._begun()

    def _begun(self) -> State:
        """Return the run that is on; it begins with the first step in it."""
        if self._state is None:
            agent = self.plan.agents.get(self.agent)
            self.runs += 1
            self.seq = 1
            event = RunStarted(
                session="test",
                session_head=None,
                agent=self.agent,
                principal=dict(self.principal),
                capabilities=tuple(sorted(agent.holds)) if agent else (),
                policy=self.plan.policy,
                policy_digest=self.plan.digest,
                policy_text="",
                mode="enforce",
                framework="test",
                external_id=None,
                resume_of=None,
                parent=None,
            )
            self._hiding = hiding_of(Secrets(), self.plan, self._hidden)
            recall = None if self._before is None else self._before.recall
            self._state = start(self.plan, Stamped(1, self.now_ns, event), recall)
        return self._state

    def _end(self) -> None:
        if self._state is not None:
            self._happen(RunEnded("done", None))
            self._before, self._state = self._state, None

    def _happen(self, event: RunEvent) -> None:
        state = self._begun()
        self.seq += 1
        if self._hiding is not None:  # a guard remembers what its log has, and no more
            event = self._hiding.event(event)
        apply(state, Stamped(self.seq, self.now_ns, event))

    # ---- what plugins answer -------------------------------------------------------------------------

    def _give(self, step: syntax.Given) -> None:
        name = step.function.name.text
        values = [argument.value.value for argument in step.function.arguments]
        answer = step.answer.value
        known = [each for each in self.plan.functions if each == name or each.endswith(f"/{name}")]
        for key in known:
            function = self.plan.functions[key]
            taken = zip(function.parameters, values, strict=True)
            arguments = tuple(parameter.canonical(value) for parameter, value in taken)
            self.given[Question(key, arguments).key] = ["gave", function.gives.canonical(answer)]
        if not known:
            for function_name in (name, f"redact {name}"):
                self.given[Question(function_name, tuple(values)).key] = ["gave", answer]

    def _answer(self, question: Question) -> Json:
        given = self.given.get(question.key)
        if given is not None:
            return given
        if question.function.startswith("redact "):
            return ["gave", question.arguments[0]]
        return ["failed", "the test gives no answer"]

    # ---- calls ---------------------------------------------------------------------------------------

    def _request(self, call: syntax.Invocation) -> tuple[str, ToolCall]:
        tool = self.plan.tools.get(call.name.text)
        arguments = {a.name.text: a.value.value for a in call.arguments if a.name is not None}
        made = ToolCall(tool.bound if tool else call.name.text, arguments)
        base = key_base(made)
        key = f"{base}.{self._begun().next_ordinal(base, None)}"
        event = requested(key, made)
        if self._hiding is not None and self._hiding.event(event) is not event:
            event = replace(event, withheld="redacted")
        self._happen(event)
        self.calls += 1
        return key, made

    def _decide(self, key: str, call: ToolCall, approved_by: Mapping[str, tuple[str, ...]]) -> Decision:
        """Decide the call, with answers and reservations, and record what came out."""
        plan, state = self.plan, self._begun()
        wall = None if self.wall_lead_ns is None else self.now_ns + self.wall_lead_ns
        answers: dict[str, Json] = {}
        for _ in range(_ROUNDS):
            facts = Facts(approved_by=approved_by, answers=answers)
            if self.coverage is not None:
                self.coverage.begin()
            assessment = assess(plan, state, call, facts, now_ns=self.now_ns, key=key, wall_ns=wall)
            unanswered = {k: q for k, q in assessment.wanted.items() if k not in answers}
            if not unanswered:
                break
            answers = answers | {k: self._answer(question) for k, question in unanswered.items()}
        attempted = reserved = None
        if assessment.attempts:
            name = f"{self.runs}/{key}/attempt"
            attempted = self.windows.reserve(name, assessment.attempts, now_ns=self.now_ns)
            if not attempted:
                self.windows.dispatched(name, now_ns=self.now_ns)
        if assessment.wider:
            reserved = self.windows.reserve(f"{self.runs}/{key}", assessment.wider, now_ns=self.now_ns)
        facts = Facts(reserved=reserved, attempted=attempted, approved_by=approved_by, answers=answers)
        decision = conclude(assessment, facts)
        if self.coverage is not None:
            self.coverage.end(decision)
        event = decided(key, call, decision, facts, levels=plan.levels)
        if self._hiding is not None and state.calls[key].withheld == "redacted":
            tool = plan.by_bound_name[call.tool]
            event, _ = self._hiding.settled(tool, call, event, decision.arguments)
        self._happen(event)
        if decision.verdict <= Verdict.DENY:
            self._give_back(key, "denied")
        if decision.halt is not None and state.status == "running":
            self._happen(RunHalted(decision.halt.name, None, decision.halt.detail))
        return decision

    def _give_back(self, key: str, because: str) -> None:
        if self._begun().calls[key].holds:
            self._happen(BudgetRefunded(key, because))
        self.windows.refund(f"{self.runs}/{key}")

    def _run(self, key: str, result: Json) -> None:
        self.windows.dispatched(f"{self.runs}/{key}", now_ns=self.now_ns)
        self._happen(CallStarted(key))
        self._happen(CallFinished(key, result, None, 0))

    def _ran(self, step: syntax.Ran) -> Failure | None:
        key, call = self._request(step.call)
        signers = tuple(name.text for name in step.signed_by)
        decision = self._decide(key, call, {})
        if decision.verdict is Verdict.ASK and signers:
            decision = self._sign(key, call, decision, signers)
        if decision.verdict is Verdict.ALLOW:
            return self._ran_to_its_end(step, key, decision)
        if decision.verdict is Verdict.ASK:
            self._withdraw(key)
        expected = "to have run" + (f", signed by {_names(signers)}" if signers else "")
        return Failure(step.span, expected, _said(decision), decision.reasons)

    def _ran_to_its_end(self, step: syntax.Ran, key: str, decision: Decision) -> Failure | None:
        shown: Json = None
        if step.returning is not None:
            try:
                shown = bound_result(step.returning.value, decision.obligations).value
            except RefusedResultError as error:  # fails the test: such a result is not shown to a model
                expected = "this result to be shown to the model"
                return Failure(step.returning.span, expected, f"refused: {error}", decision.reasons)
        self._run(key, shown)
        return None

    def _sign(self, key: str, call: ToolCall, asked: Decision, signers: tuple[str, ...]) -> Decision:
        """Let each approver that was asked sign, or the one it passes the question on to; decide again."""
        approved: dict[str, tuple[str, ...]] = {}
        for name in asked.asks:
            signer = self._ask(key, name, signers)
            if signer is None:
                continue
            people = tuple(f"{signer} {number + 1}" for number in range(self.plan.approvers[signer].quorum))
            for person in people:
                self._happen(ApprovalAnswered(key, f"{key}/{signer}", "approve", person, None, None))
            approved[signer] = people
        return self._decide(key, call, approved) if approved else asked

    def _ask(self, key: str, name: str, signers: tuple[str, ...]) -> str | None:
        """Open the tickets on the way from an approver to one that signs; None: nobody on it does."""
        seen: set[str] = set()
        following: str | None = name
        while following is not None and following not in seen and following in self.plan.approvers:
            self._happen(ApprovalAsked(key, f"{key}/{following}", following, None))
            if following in signers:
                return following
            self._happen(ApprovalAnswered(key, f"{key}/{following}", "expire", None, None, None))
            seen.add(following)
            following = self.plan.approvers[following].otherwise_ask
        return None

    def _withdraw(self, key: str) -> None:
        for ticket in self._begun().calls[key].tickets:
            if ticket.answer is None:
                self._happen(ApprovalAnswered(key, ticket.id, "withdraw", None, None, None))
        self._give_back(key, "withdrawn")

    def _called(self, step: syntax.Called) -> Failure | None:
        key, call = self._request(step.call)
        decision = self._decide(key, call, {})
        if decision.verdict is Verdict.ALLOW:
            self._run(key, None)
        elif decision.verdict is Verdict.ASK:
            for name in decision.asks:
                self._happen(ApprovalAsked(key, f"{key}/{name}", name, None))
            self._withdraw(key)
        by = None if step.by is None else ".".join(part.text for part in step.by.parts)
        if _as_expected(step, decision, by):
            return None
        expected = {"allowed": "allowed", "denied": "denied", "not found": "not found"}.get(step.expected)
        if expected is None:
            expected = f"asks `{step.approver.text}`" if step.approver else "asks"
        if by is not None:
            expected += f", by `{by}`"
        return Failure(step.span, expected, _said(decision), decision.reasons, self._hint(by))

    def _hint(self, by: str | None) -> str:
        """Return help for a reason that no clause of the policy can give."""
        if by is None:
            return ""
        names = {name for name in reason_names(self.plan)}
        if by in names:
            return ""
        return f"no clause of this policy gives `{by}`; " + (did_you_mean(by, names) or "is it another name?")


_VERDICTS = {
    "allowed": Verdict.ALLOW,
    "denied": Verdict.DENY,
    "not found": Verdict.UNKNOWN,
    "asks": Verdict.ASK,
}


def _as_expected(step: syntax.Called, decision: Decision, by: str | None) -> bool:
    if decision.verdict is not _VERDICTS[step.expected]:
        return False
    if step.approver is not None and step.approver.text not in decision.asks:
        return False
    return by is None or any(reason.name in (by, f"{by}!error") for reason in decision.reasons)


def _said(decision: Decision) -> str:
    """Return a verdict in the words of tests."""
    match decision.verdict:
        case Verdict.ALLOW:
            return "allowed"
        case Verdict.ASK:
            return f"asks {_names(decision.asks)}"
        case Verdict.DENY:
            return "denied"
    return "not found"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def reason_names(plan: Plan) -> set[str]:
    """Return every name of a reason that a decision under this plan may give, `!error` and `!key` aside."""
    names: set[str] = set()
    for tool in plan.tools.values():
        names |= {f"{tool.name}.allow", f"{tool.name}.arguments"}
        names |= {clause.name for clause in (*tool.denies, *tool.asks, *tool.allows)}
        names |= {budget.reason for budget in tool.budgets}
        names |= {redaction.name for redaction in tool.redactions}
    for agent in plan.agents.values():
        for limit in (agent.stop, agent.calls, agent.denials, agent.requests):
            if limit is not None:
                names.add(limit.reason)
    return names
