"""What stands at the calls: nothing, a door that is shut to every write, or the engine under a policy."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.agentdojo.recordings import Recording
from ringfence.dsl.load import load
from ringfence.dsl.plan import Plan
from ringfence.dsl.plan import Verdict as Decided
from ringfence.engine.decision.calls import Decision, Facts, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    CallFailed,
    CallFinished,
    CallStarted,
    PromptGiven,
    RunEvent,
    RunStarted,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import apply, start

Verdict = Literal["allow", "ask", "deny"]

POLICIES = Path(__file__).with_name("policies")
READS = ("get_", "search_", "list_", "read_")
"""How the names of the suites' reading tools begin."""


class Standing(Protocol):
    """A guard at one run."""

    approve: bool
    """Whoever is asked says yes: the call runs."""

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        """Decide a call; say why."""
        ...

    def ended(self, result: Any, *, failed: bool) -> None:
        """Take the result of the call that was allowed last."""
        ...


class AllowAll:
    """Nothing stands there."""

    approve = False

    def __init__(self, recording: Recording) -> None:
        pass

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        return "allow", ""

    def ended(self, result: Any, *, failed: bool) -> None:
        pass


class DenyAllWrites(AllowAll):
    """Reading is all that is allowed."""

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        return ("allow", "") if tool.startswith(READS) else ("deny", "writes")


START_NS = 1_795_000_000_000_000_000
SYSTEM = "The user's name is Emma Johnson, an employee of the company Blue Sparrow Tech."
"""What the benchmark's own system message says about the user."""


class Engine:
    """The decision engine of Ringfence under one policy; the recorded run is its history."""

    def __init__(self, plan: Plan, recording: Recording, *, approve: bool = False) -> None:
        self.plan = plan
        self.approve = approve
        """Whoever is asked says yes."""
        self.seq = 0
        self.call: str | None = None
        """The call that was allowed last."""
        agent = plan.agents["assistant"]
        started = RunStarted(
            session="recorded", session_head=None, agent="assistant", principal={"user": "emma"},
            capabilities=tuple(sorted(agent.holds)), policy=plan.policy, policy_digest=plan.digest,
            policy_text="", mode="enforce", framework="agentdojo", external_id=None, resume_of=None,
            parent=None,
        )  # fmt: skip
        self.state = start(plan, self._stamped(started))
        self._record(PromptGiven("system", SYSTEM))
        self._record(PromptGiven("user", recording.prompt))

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        call = ToolCall(tool, arguments)
        key = f"c{self.seq}.0"
        self._record(requested(key, call))
        decision = self._decided(key, call, Facts())
        why = ", ".join(reason.name for reason in decision.reasons if reason.effect != "allow")
        if decision.verdict <= Decided.DENY:
            return "deny", why
        if decision.verdict is Decided.ASK:
            if not self.approve:
                return "ask", why
            facts = Facts(approved_by={approver: ("clerk",) for approver in decision.asks})
            if not self._decided(key, call, facts).allowed:
                return "deny", why
        self._record(CallStarted(key))
        self.call = key
        return ("ask" if decision.verdict is Decided.ASK else "allow"), why

    def ended(self, result: Any, *, failed: bool) -> None:
        if self.call is None:
            raise RuntimeError("no call was allowed")
        if failed:
            self._record(CallFailed(self.call, "raised", "as recorded", 0))
        else:
            self._record(CallFinished(self.call, result, None, 0))
        self.call = None

    def _decided(self, key: str, call: ToolCall, facts: Facts) -> Decision:
        decision = decide(self.plan, self.state, call, facts, now_ns=self.state.latest_ns, key=key)
        if decision.charges and any(charge.period_ns is not None for charge in decision.charges):
            raise RuntimeError("the policies of this bench have no budget wider than a run")
        self._record(decided(key, call, decision, facts, levels=self.plan.levels))
        return decision

    def _record(self, event: RunEvent) -> None:
        apply(self.state, self._stamped(event))

    def _stamped(self, event: RunEvent) -> Stamped:
        self.seq += 1
        return Stamped(self.seq, START_NS + self.seq * 1_000_000_000, event)


@lru_cache
def policy_of(suite: str) -> Plan:
    """Return the plan of a suite's policy; raise ValueError if it has an error."""
    loaded = load(POLICIES / f"{suite}.fence")
    if loaded.plan is None:
        raise ValueError("\n".join(map(str, loaded.diagnostics)))
    return loaded.plan


def under_policy(recording: Recording) -> Engine:
    """The policy of the suite stands there; a person who is asked does not answer."""
    return Engine(policy_of(recording.suite), recording)


def under_policy_approved(recording: Recording) -> Engine:
    """The same, and each person who is asked approves."""
    return Engine(policy_of(recording.suite), recording, approve=True)
