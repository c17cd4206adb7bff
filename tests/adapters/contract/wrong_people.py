"""Wrong about people."""

import asyncio
from typing import Any, ClassVar

from ringfence.adapter import (
    Run,
    ToolCall,
)
from ringfence.testing import Asked, Outcome, Told
from tests.adapters.contract.mini import WAITS, Player, Saved, Tool
from tests.adapters.contract.sabotage import breaks


@breaks(
    "a_call_that_asks_waits_for_people_and_then_runs_once",
    "a_rejected_call_never_runs_and_the_agent_goes_on",
    "going_on_without_an_answer_runs_nothing",
    "an_approval_of_one_call_opens_no_other",
)
class Impatient(Player):
    """Runs a call that waits."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        decision = await self.guard.aauthorize(run, call)
        if decision.verdict.name == "ASK":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks(
    "a_call_that_asks_waits_for_people_and_then_runs_once", "a_rejected_call_never_runs_and_the_agent_goes_on"
)
class Refusing(Player):
    """Takes a question for a refusal."""

    def pending(self, asked: Asked) -> Told:
        return Told(asked.tool, "come again later", failed=True)


class Resuming(Player):
    """Knows that it goes on."""

    resuming: ClassVar[bool] = False
    claimed: bool = False

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        self.claimed = approved
        self.resuming = True  # type: ignore[misc]
        return await super().resumed(saved, approved)


@breaks(
    "going_on_without_an_answer_runs_nothing",
    "a_rejected_call_never_runs_and_the_agent_goes_on",
    "a_question_that_nobody_answers_in_time_is_a_refusal",
)
class Resumer(Resuming):
    """Takes a resume for an approval."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.resuming and tool.name == "send":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("the_frameworks_own_approval_is_no_authority")
class Native(Resuming):
    """Takes the framework's own approval for one."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.claimed and tool.name == "send":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("the_frameworks_own_approval_is_no_authority")
class Vouching(Resuming):
    """Has a ticket approved by somebody whom it does not know."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.claimed:
            ready = self.guard.opening.ready
            pending = self.guard.opening.submit(ready.tickets.pending())
            for ticket in await asyncio.wrap_future(pending):
                await self.guard.aapprove(ticket.id, by="dana")
        return await super().execute(run, call, tool)


@breaks("an_approval_is_used_once_however_often_the_state_is_replayed")
class Replaying(Player):
    """Looks whether the ticket was approved, and runs the body itself."""

    approved: ClassVar[set[str]] = set()

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        if saved.run in self.approved:
            for asked in self.scene.turns[saved.turn]:
                await self.tools[asked.tool].run(dict(asked.arguments))
        self.approved.add(saved.run)
        return await super().resumed(saved, approved)


@breaks("a_run_that_is_killed_while_it_waits_does_not_go_on")
class Believing(Player):
    """Asks the ticket, and not the run, whether it may go on."""

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        for asked in self.scene.turns[saved.turn]:
            await self.tools[asked.tool].run(dict(asked.arguments))
        return await super().resumed(saved, approved)


@breaks("an_approval_of_one_call_opens_no_other", "calls_of_one_turn_are_answered_one_by_one")
class Generous(Resuming):
    """Takes an approval for one of the tool, once somebody has answered."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if self.resuming and tool.name == "send" and call.arguments["to"] == "carol":
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("calls_of_one_turn_are_answered_one_by_one")
class Hasty(Player):
    """Leaves out of the answers what waits, and goes on."""

    async def turn(self, run: Run, number: int) -> list[Told]:
        return [one for one in await super().turn(run, number) if one is not WAITS]
