"""Calls that ask people: nothing runs before, once after, and nobody but our ticket says yes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.engine.seams.ports import Ticket
from ringfence.testing.adapters.props import Props
from ringfence.testing.adapters.scenes import Asked, Outcome
from ringfence.testing.adapters.stage import Stage, needs

SEND = "tool send { needs work  takes to: text  allow always  ask lead }"
BOB = [Asked("send", {"to": "bob"})]


def approving(props: Props) -> Callable[[Ticket], None]:
    """Return what approves every question."""
    return lambda ticket: _noted(props.guard.approve(ticket.id, by="dana"))


def rejecting(props: Props) -> Callable[[Ticket], None]:
    """Return what rejects every question."""
    return lambda ticket: _noted(props.guard.deny(ticket.id, by="dana", because="not on my watch"))


def _noted(_: Ticket) -> None:
    """Say that the new state of the ticket does not matter here."""


class People(Stage):
    """Our ticket is the authority; a framework's own approval only puts the agent away."""

    async def test_a_call_that_asks_waits_for_people_and_then_runs_once(self, folder: Path) -> None:
        """Asked, approved, run."""
        async with self.props(folder, SEND) as props:
            scene = self.scene(props, BOB, [Asked("look", {"what": "x"}, "c2")], tools=self._tools(props))
            seen: list[str] = []

            def approve(ticket: Ticket) -> None:
                self.nothing_ran(props, "send", "nobody has approved it yet")
                seen.append(ticket.id)
                props.guard.approve(ticket.id, by="dana")

            outcome = await self.settled(props, scene, approve)
            assert len(seen) == 1, f"one call asks one approver once; there were {len(seen)} tickets"
            assert props.ran == [("send", {"to": "bob"}), ("look", {"what": "x"})], (
                f"an approved call runs once, and the agent goes on after it; these ran: {props.ran}"
            )
            self.succeeded(outcome, "send", "sent to bob")
            self.went_on(outcome)

    async def test_a_rejected_call_never_runs_and_the_agent_goes_on(self, folder: Path) -> None:
        """It is told like any refusal: neither who said no, nor why."""
        async with self.props(folder, SEND) as props:
            scene = self.scene(props, BOB, [Asked("look", {"what": "x"}, "c2")], tools=self._tools(props))
            outcome = await self.settled(props, scene, rejecting(props))
            self.nothing_ran(props, "send", "it was rejected")
            told = self.refused(outcome, "send")
            for secret in ("dana", "lead", "watch", "T-"):
                assert secret not in told.text, f"a rejection says no more than a denial: {told.text!r}"
            self.succeeded(outcome, "look", "saw x")
            self.went_on(outcome)

    @needs("suspends")
    async def test_going_on_without_an_answer_runs_nothing(self, folder: Path) -> None:
        """The saved state of the framework is no answer."""
        async with self.props(folder, SEND) as props:
            outcome = await self._suspended(props)
            assert outcome.resume is not None
            again = await self.within(outcome.resume(), "going on without an answer did not end")
            self.nothing_ran(props, "send", "its ticket is open")
            assert again.suspended and len(await props.questions()) == 1, (
                f"it still waits for the same people, with one ticket: {again}"
            )

    @needs("suspends", "claims")
    async def test_the_frameworks_own_approval_is_no_authority(self, folder: Path) -> None:
        """Whoever holds the saved state can say yes there; the ticket is still open."""
        async with self.props(folder, SEND) as props:
            outcome = await self._suspended(props)
            assert outcome.claim is not None, (
                "the stage must bring `claim`, or its class say `claims = False`"
            )
            await self.within(outcome.claim(), "claiming an approval did not end")
            self.nothing_ran(props, "send", "the framework's own yes was taken for an approval")
            assert "approve" not in await _answers(props), "nobody who may has approved"

    @needs("suspends")
    async def test_an_approval_is_used_once_however_often_the_state_is_replayed(self, folder: Path) -> None:
        """The saved state can be loaded again; the ticket is consumed."""
        async with self.props(folder, SEND) as props:
            outcome = await self._suspended(props)
            assert outcome.resume is not None
            (ticket,) = await props.questions()
            await props.guard.aapprove(ticket.id, by="dana")
            first = await self.within(outcome.resume(), "the approved scene did not end")
            self.succeeded(first, "send", "sent to bob")
            for _ in range(2):
                await self.within(outcome.resume(), "the replayed scene did not end")
            assert props.bodies("send") == [{"to": "bob"}], (
                "one approval, one execution: a replayed state ran it again; give `ToolCall.task` the"
                f" framework's durable id of the call.  It ran {len(props.bodies('send'))} times"
            )

    async def test_a_question_that_nobody_answers_in_time_is_a_refusal(self, folder: Path) -> None:
        """Whoever waits for it, or goes on after it has expired, is told so; a later yes opens nothing."""
        async with self.props(folder, SEND) as props:
            waiting = await self._waiting(props)
            props.clock.advance(16 * 60)
            late = await self.within(waiting(), "going on after the question had expired did not end")
            self.nothing_ran(props, "send", "its question expired unanswered")
            self.refused(late, "send")
            self.went_on(late)

    async def test_a_run_that_is_killed_while_it_waits_does_not_go_on(self, folder: Path) -> None:
        """Not even with an approval, where one can be given before the run goes on."""
        async with self.props(folder, SEND) as props:
            waiting = await self._waiting(props)
            (ticket,) = await props.questions()
            if self.suspends:
                await props.guard.aapprove(ticket.id, by="dana")
            await props.guard.akill(await props.run(), by="olga")
            await self.within(waiting(), "going on with a run that was killed did not end")
            self.nothing_ran(props, "send", "its run had been killed while it waited")

    async def test_an_approval_of_one_call_opens_no_other(self, folder: Path) -> None:
        """Other arguments are another question."""
        async with self.props(folder, SEND) as props:
            scene = self.scene(props, BOB, [Asked("send", {"to": "carol"}, "c2")], tools=self._tools(props))
            asked: list[str] = []

            def approve_bob(ticket: Ticket) -> None:
                to = str(ticket.arguments["to"])
                asked.append(to)
                if to == "bob":
                    props.guard.approve(ticket.id, by="dana")
                else:
                    props.guard.deny(ticket.id, by="dana")

            await self.settled(props, scene, approve_bob)
            assert sorted(asked) == ["bob", "carol"], f"each call asks for itself; asked about: {asked}"
            assert props.bodies("send") == [{"to": "bob"}], f"only `bob` was approved: {props.bodies('send')}"

    @needs("parallel")
    async def test_calls_of_one_turn_are_answered_one_by_one(self, folder: Path) -> None:
        """One is approved, one rejected, one asks nobody; each is told its own answer."""
        async with self.props(folder, SEND) as props:
            turn = [
                Asked("send", {"to": "bob"}, "c1"),
                Asked("look", {"what": "x"}, "c2"),
                Asked("send", {"to": "carol"}, "c3"),
            ]
            scene = self.scene(props, turn, tools=self._tools(props))

            def answer(ticket: Ticket) -> None:
                if ticket.arguments["to"] == "bob":
                    props.guard.approve(ticket.id, by="dana")
                else:
                    props.guard.deny(ticket.id, by="dana")

            outcome = await self.settled(props, scene, answer)
            assert props.bodies("send") == [{"to": "bob"}], f"only `bob` was approved: {props.bodies('send')}"
            assert props.bodies("look") == [{"what": "x"}], "a call beside them runs once, whoever waits"
            assert [one.failed for one in outcome.told] == [False, False, True], (
                f"each call of the turn gets its own answer, in order: {outcome}"
            )

    def _tools(self, props: Props) -> list[Callable[..., object]]:
        return [props.send(), props.look()]

    async def _waiting(self, props: Props) -> Callable[[], Awaitable[Outcome]]:
        """Play until people are asked; return what goes on, or waits on in place."""
        if self.suspends:
            resume = (await self._suspended(props)).resume
            assert resume is not None
            return resume
        _, playing = await self.asked(props, self.scene(props, BOB, tools=self._tools(props)))
        assert playing is not None, "a call that asks people must wait for them"
        return lambda: playing

    async def _suspended(self, props: Props) -> Outcome:
        """Play until the agent is put away."""
        outcome = await self.played(props, BOB, tools=self._tools(props))
        assert outcome.suspended, f"a call that asks people must put the agent away: {outcome}"
        self.nothing_ran(props, "send", "nobody has approved it")
        return outcome


async def _answers(props: Props) -> set[str]:
    return {one.verdict for one in await props.events(e.ApprovalAnswered)}
