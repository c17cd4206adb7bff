"""From a call to a body that may start: the steps of it, for the runs of one guard."""

from ringfence.dsl.plan import Verdict
from ringfence.engine.decision.calls import Decision, ToolCall
from ringfence.engine.decision.inside import isolate_around, isolate_at
from ringfence.engine.enforcement import adoption, dispatch, replies
from ringfence.engine.enforcement.bodies import AsyncFlight, Flight, SyncFlight
from ringfence.engine.enforcement.current import current_call, refuse_plugins
from ringfence.engine.enforcement.deciding import Ended, judge_again, release, request
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.isolates import Job
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.passing import Fly, Passing
from ringfence.engine.enforcement.requests import given, given_inside
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.tickets import Asking
from ringfence.engine.seams.errors import EngineError, PendingError

_ASK = Verdict.ASK


class Admission:
    """Decides calls, has people asked, and consumes what was allowed."""

    def __init__(self, opening: Opening, asking: Asking) -> None:
        self._opening = opening
        self._asking = asking

    def own(self, run: Run) -> None:
        """Raise EngineError unless the run is one of this guard, and the caller may ask at all."""
        refuse_plugins()
        if run.opening is not self._opening:  # SECURITY: it would be decided by the other guard's policy
            raise EngineError(
                f"the run `{run.id}` belongs to another guard",
                run=run.id,
                help="begin a run with the guard of this tool: `with guard.run(...)`",
            )

    def would_ask(self, run: Run, call: ToolCall) -> Steps[bool]:
        """Look whether people would be asked."""
        self.own(run)
        return (yield from adoption.would_ask(run, given(run, call)))

    def authorize(self, run: Run, call: ToolCall) -> Steps[Decision]:
        """Decide a call and keep what was decided for when it is made."""
        self.own(run)
        found = given(run, call)
        row = run.held.get(found.slot)
        if row:
            return row[0].decision
        _refuse_ended(run)
        yield from run.turnstile.turn()
        try:
            row = run.held.get(found.slot)  # another caller may have asked the same meanwhile
            decided = row[0] if row else (yield from request(run, found))
        finally:
            run.turnstile.leave()
        # A denial of a call that cannot be told from the next one like it is not kept for that one.
        told_apart = bool(call.call_id or call.task)
        if not row and isinstance(decided, Held) and (decided.decision.verdict >= Verdict.ASK or told_apart):
            run.keep(found.slot, decided)
        return decided.decision if isinstance(decided, Held) else decided.held.decision

    def ask(self, run: Run, call: ToolCall) -> Steps[Decision]:
        """Decide a call that the framework is about to make, and have people asked now."""
        self.own(run)
        found = given(run, call)
        held = run.take(found.slot)
        while held is None:
            _refuse_ended(run)
            yield from run.turnstile.turn()
            try:
                decided = yield from request(run, found, ahead=True)
            finally:
                run.turnstile.leave()
            # The same call ran already: what is made again is another one, which asks anew.
            held = decided if isinstance(decided, Held) else None
        if held.decision.verdict < Verdict.ASK:
            raise replies.refusal(run, held)
        if held.decision.verdict is Verdict.ASK:
            yield from _refuse_unfit(run, held)
        try:
            if held.decision.verdict is Verdict.ASK:
                held = yield from self._asking.approval(run, held, wait=False, ahead=True)
        except PendingError:
            run.keep(found.slot, held)
            raise
        run.keep(found.slot, held)
        return held.decision

    def admit(
        self,
        run: Run,
        call: ToolCall,
        *,
        wait: bool,
        fly: Fly,
        lacking: str | None = None,
        around: Job | None = None,
    ) -> Steps[dispatch.Started | Ended]:
        """Decide a call that is made, have people asked, and consume the allow; or say that it has ended.

        Args:
            wait: Wait here for people; False: raise PendingError instead.
            fly: Makes what the body flies in.
            lacking: Why it is denied whatever the policy says, if so.
            around: The isolate whose code makes the call.
        """
        self.own(run)
        found = given(run, call) if around is None else given_inside(run, call)
        found.lacking = lacking
        # SECURITY: nothing was decided of a call of code in an isolate before the code makes it.
        held = run.take(found.slot) if around is None and run.held else None
        passed: Passing | None = None
        if held is not None and _is_for_others(run, held):
            run.keep(found.slot, held)
            held = None
        if held is None:
            if run.ended or run.state.suspended:
                run.check_live()
            turnstile = run.turnstile
            if (place := turnstile.enter()) is not None:
                yield from turnstile.reached(place)
            try:
                decided = yield from request(run, found, fly=fly if around is None else None)
            finally:
                turnstile.leave()
            if isinstance(decided, Ended):
                return decided
            if isinstance(decided, Passing):
                passed, held = decided, decided.held
            else:
                held = decided
        else:
            held = yield from _still(run, held)
        verdict = held.decision.verdict
        if verdict < _ASK:
            raise replies.refusal(run, held)
        if verdict is _ASK:
            yield from _refuse_unfit(run, held)
        try:
            if passed is not None:
                return (yield from dispatch.depart(run, held, passed.flight, passed.now_ns, passed.left_ns))
            if verdict is _ASK:
                held = yield from self._asking.approval(run, held, wait=wait)
            flight = fly(run, held, around is not None)
            return (yield from dispatch.dispatch(run, held, flight, around=around))
        except PendingError:
            run.keep(found.slot, held)
            raise
        except BaseException as error:  # whatever it is: nothing ran, so nothing stays taken
            release(run, held, "not dispatched")
            if isinstance(error, EngineError):
                dispatch.interrupt(run, held, error)
            raise


def _is_for_others(run: Run, held: Held) -> bool:
    """Say whether a call that was decided before is another one than that which is made now.

    SECURITY: what was decided outside of an isolate is no call of what the code in it calls.
    """
    caller = current_call()
    if caller is None or caller[0] is not run or isolate_at(run.plan, run.state, caller[1]) is None:
        return False
    return isolate_around(run.plan, run.state, run.state.calls[held.key]) is None


def _refuse_unfit(run: Run, held: Held) -> Steps[None]:
    """Raise EngineError if this machine would not run a call that nobody has been asked about yet."""
    isolated = run.plan.by_bound_name[held.call.tool].isolated
    if isolated is None or run.state.calls[held.key].tickets:
        return
    try:
        yield from dispatch.fit_executor(run, held, isolated)
    except BaseException:  # whatever it is: nothing ran, so nothing stays taken
        release(run, held, "not dispatched")
        raise


def _still(run: Run, held: Held) -> Steps[Held]:
    """Return a call that was decided before, decided again if that would come out differently now."""
    if adoption.stands(run, held):
        return held
    try:
        yield from run.turnstile.turn()
        try:
            return (yield from judge_again(run, held))
        finally:
            run.turnstile.leave()
    except BaseException:  # whatever it is: nothing ran, so nothing stays taken
        release(run, held, "not dispatched")
        raise


def in_task(_: Run, __: Held, ___: bool) -> Flight:
    """Return what a coroutine flies in."""
    return AsyncFlight()


def in_thread(run: Run, held: Held, bounded: bool) -> Flight | None:
    """Return what a plain function flies in; None: nothing bounds it, so it runs where it is called."""
    unbound = held.decision.obligations.stop_ns is None and run.remaining_ns(0) is None
    if bounded or not unbound:
        return SyncFlight()
    return None if run.plan.by_bound_name[held.call.tool].isolated is None else SyncFlight()


def _refuse_ended(run: Run) -> None:
    if run.ended or run.suspended:
        run.check_live()
