"""From the allow to the recorded outcome: start a body, and say how it ended."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ringfence.dsl.plan import Isolated, Json, Verdict
from ringfence.engine.decision.events import CallFailed, CallFinished, CallStarted
from ringfence.engine.decision.results import RefusedResultError, bound_result
from ringfence.engine.decision.written import finished_body, started_body
from ringfence.engine.enforcement import ledger, replies
from ringfence.engine.enforcement.bodies import Flight, Landed
from ringfence.engine.enforcement.deciding import Ended
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.isolates import Job, begin, proved_executor
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.requests import keeps_digests_only, keyed, own
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import EngineError, RingfenceError
from ringfence.engine.seams.isolates import IsolateExecutor
from ringfence.engine.seams.ports import Ticket

_TEXT_AT_MOST = 500

TOO_LATE: Final = "the run was over before the body could start"

Passthrough = tuple[type[BaseException], ...]
"""Exceptions with which a framework leaves a body without failing it: a pause, a jump."""


class TooLateError(Exception):
    """The run was over, or nothing may start here any more, when the body was about to: it did not.

    Its cause says why.
    """


@dataclass(slots=True)
class Started:
    """A dispatched call, whose body may now run."""

    run: Run
    held: Held
    flight: Flight | None
    within_s: float | None
    by_run: bool
    """True if it is the run's time that bounds the body, not the tool's."""
    mono_ns: int
    job: Job | None = None
    """What runs in an isolate in the body's place; None: the tool's body is the host's."""
    around: Job | None = None
    """The isolate whose code made the call."""

    def arguments(self) -> Mapping[str, Json]:
        """Return the canonical arguments to the body, which starts with them: exactly these were decided.

        One that was given and counts as missing, because it was null or a person has taken it out, is null.

        The body may change its own copy.

        Raises:
            TooLateError: It must not start.
        """
        # SECURITY: this process may have stood still since the dispatch: others count it as gone by now.
        try:
            self.run.check_start()
        except RingfenceError as error:
            raise TooLateError from error
        if self.around is not None and self.around.is_over:
            raise TooLateError
        decided, given = own(self.held.decision.arguments), self.held.call.arguments
        if len(decided) < len(given):
            # SECURITY: a default of the body's in its place would be a value that nobody has decided.
            decided.update({name: None for name in given if name not in decided})
        return decided


def fit_executor(run: Run, held: Held, isolated: Isolated) -> Steps[IsolateExecutor]:
    """Return what runs the call's isolate.

    Raises:
        EngineError: Nothing here runs it as the policy demands.  The call is refused, which is recorded, with
            the walls that are missing; the model is told nothing of it.
    """
    opening = run.opening
    try:
        # SECURITY: what the policy puts into an isolate never runs as the host's own function.
        return (yield from proved_executor(opening, run.plan.isolates[isolated.isolate].lockdown))
    except EngineError as error:
        why = run.hide(str(error))[:_TEXT_AT_MOST]
        fail(run, held, None, "refused", why, opening.clock.monotonic_ns())
        raise EngineError(
            f"`{held.call.tool}` runs in an isolate: {why}", run=run.id, call=held.key, help=error.help
        ) from error


def dispatch(run: Run, held: Held, flight: Flight | None, *, around: Job | None = None) -> Steps[Started]:
    """Consume the allow; after this the body runs, or its end is recorded.

    Args:
        around: The isolate whose code makes the call: nothing begins for it once that is over.

    Raises:
        RunHaltedError: The run ended meanwhile.
        DeniedError: The approval was used already, or what the call had reserved counts no more.
        ToolFailedError: The isolate around it is over.
        EngineError: The decision or the dispatch could not be made durable.
    """
    opening = run.opening
    obligations = held.decision.obligations
    isolated = run.plan.by_bound_name[held.call.tool].isolated
    executor = None if isolated is None else (yield from fit_executor(run, held, isolated))
    # Before an approval is used up: the start would be refused, and nothing but the approval would be gone.
    run.journal.check(run.id)
    if obligations.audit == "full":
        # SECURITY: under `audit full` no body runs whose decision could be lost with the process.
        yield from opening.durable(run=run.id)
    for ticket in held.tickets:
        try:
            used = yield from _use_up(opening, ticket)
        except Exception as error:  # fails closed: an approval that may be used again is not used
            raise store_error("could not use up an approval", error, run=run.id) from error
        if not used:  # SECURITY: single use; whoever came first has it
            raise replies.rejected(run, held, "the approval was used before, or taken back")
    with run.lock:
        now_ns = run.now_ns()
        left_ns = run.check_live(now_ns)
        if around is not None and around.is_over:
            raise replies.failed(run, held, "the isolate is over that it was called from")
        if not run.state.calls[held.key].takes_place:
            # SECURITY: whoever ends the run has given its allow back: what it was charged is others' now.
            raise run.over()
        event = CallStarted(held.key)
        run.append(event, at_ns=now_ns, body=started_body(event))
        held.over = True
        if flight is not None:
            run.flights.add(flight)
    return (
        yield from depart(
            run, held, flight, now_ns, left_ns, around=around, isolated=isolated, executor=executor
        )
    )


def _use_up(opening: Opening, ticket: Ticket) -> Steps[bool]:
    """Use an approval up; return False if somebody has before, or it is no longer what it was."""
    tickets = opening.ready.tickets
    while not (yield opening.submit(tickets.swap(ticket, replace(ticket, status="used")))):
        stored: Ticket | None = yield opening.submit(tickets.get(ticket.id))
        # An answer without effect is kept with the ticket: else anybody could undo an approval with one.
        more = () if stored is None else stored.answers[len(ticket.answers) :]
        ignored = bool(more) and all(said == "ignored" for _, said, _ in more)
        # SECURITY: nothing else of it may have changed since it was read, and the call decided by it.
        if not ignored or stored != replace(ticket, answers=(*ticket.answers, *more)):
            return False
        assert stored is not None  # it has answers
        ticket = stored
    return True


def depart(
    run: Run,
    held: Held,
    flight: Flight | None,
    now_ns: int,
    left_ns: int | None,
    *,
    around: Job | None = None,
    isolated: Isolated | None = None,
    executor: IsolateExecutor | None = None,
) -> Steps[Started]:
    """Have the ledger keep what a started call has reserved, and say what bounds its body.

    Args:
        now_ns: When it started.
        left_ns: The time that the run had left then; None: no bound.

    Raises:
        As `dispatch`; the end of the call is recorded.
    """
    opening = run.opening
    mono_ns = opening.clock.monotonic_ns()
    if held.reservation is not None or held.success is not None:
        stands = True
        inline = run.inline
        try:
            for name in (held.reservation, held.success):
                if stands and name is not None:
                    if inline is not None:
                        stands = inline.dispatched_now(name, now_ns=now_ns)
                    else:
                        stands = yield from ledger.dispatched(opening, name, now_ns=now_ns)
        except BaseException as error:  # fails closed: started, never run, and what it charged is kept
            fail(run, held, flight, "cancelled", "the dispatch could not be recorded", mono_ns)
            if not isinstance(error, Exception):
                raise
            raise store_error("could not record the dispatch", error, run=run.id) from error
        if not stands:  # SECURITY: a body that runs now would stand in no window
            fail(run, held, flight, "refused", replies.LAPSED, mono_ns)
            raise replies.lapsed(run, held)
        if inline is None:  # else nothing was waited for since the run was found live
            try:
                left_ns = run.check_live()  # SECURITY: a halt may have come while the ledger was asked
            except BaseException:
                fail(run, held, flight, "cancelled", TOO_LATE, mono_ns)
                raise
    stop_ns = held.decision.obligations.stop_ns
    by_run = left_ns is not None and (stop_ns is None or left_ns <= stop_ns)
    bound_ns = left_ns if by_run else stop_ns
    until_ns = None if around is None else around.ends_ns
    if until_ns is not None and (bound_ns is None or until_ns - opening.clock.monotonic_ns() < bound_ns):
        by_run, bound_ns = False, until_ns - opening.clock.monotonic_ns()
    started = Started(run, held, flight, None, by_run, mono_ns, around=around)
    if isolated is not None and executor is not None:
        try:
            started.job = begin(run, held, isolated, executor, bound_ns)
        except BaseException:  # fails closed: what it ran with would not be in the record
            fail(run, held, flight, "cancelled", "the isolate could not be recorded", mono_ns)
            raise
        if bound_ns is None or started.job.bound_ns < bound_ns:
            started.by_run, bound_ns = False, started.job.bound_ns
    started.within_s = None if bound_ns is None else max(bound_ns, 0) / 1e9
    return started


def land(started: Started, landed: Landed, lens: ResultLens, passthrough: Passthrough) -> Any:
    """Record how the body ended and return what is handed on, or raise.

    Raises:
        DeniedError: The result could not be brought within its limits.
        RunHaltedError: The run was halted while the body was in flight.
        ToolFailedError: The body was past the tool's own bound.
        BaseException: What the body raised, as it is.
    """
    if landed.how == "returned":
        return _finish(started, landed.value, lens)
    run, held = started.run, started.held
    error = landed.error
    if landed.how == "raised":
        assert error is not None
        if isinstance(error, TooLateError):
            _fail(started, "cancelled", TOO_LATE)
            raise error.__cause__ or error
        outcome = "raised" if isinstance(error, Exception) else "cancelled"
        if isinstance(error, passthrough):
            outcome = "interrupted"
        # SECURITY: what a body raises is made of its values, which `audit minimal` keeps out of the record.
        keyed_only = keeps_digests_only(run, held.call.tool)
        _fail(started, outcome, _kind(error) if keyed_only else _said(error, run.hide))
        raise error
    if landed.how == "timeout" and started.by_run:
        run.time_is_up()
    stopped = "timeout" if landed.how == "timeout" and not started.by_run else "cancelled"
    why = {"timeout": "its time was up", "halted": "the run was halted", "cancelled": "the caller gave up"}
    _fail(started, stopped if landed.gone else "abandoned", why[landed.how])
    if landed.how == "cancelled":
        assert error is not None
        raise error
    if landed.how == "halted" or started.by_run:
        raise run.over()
    raise replies.failed(run, held, "its time was up")


def _finish(started: Started, result: Any, lens: ResultLens) -> Any:
    run, held = started.run, started.held
    try:
        value = result if lens is PLAIN else lens.get(result)
        value, truncated = bound_result(value, held.decision.obligations)
        if truncated is not None:
            result = lens.set(result, value)
        keep = (
            keyed(run, value) if keeps_digests_only(run, held.call.tool) else jsonable(value, hide=run.hide)
        )
    except BaseException as error:  # fails closed: a result that cannot be bounded is not handed over
        why = str(error) if isinstance(error, RefusedResultError) else f"unreadable ({type(error).__name__})"
        _fail(started, "refused result", why)
        if not isinstance(error, Exception):
            raise
        raise replies.refused_result(run, held, why) from error
    with run.lock:
        if started.flight is not None:
            run.flights.discard(started.flight)
        if run.ended:  # its end says already that this call was abandoned
            raise run.over()
        if started.flight is None and run.stopped is not None:
            # It ran where it was called, and the halt could not stop it: its late result is thrown away.
            _fail(started, "abandoned", "the run was halted")
            raise run.over()
        finished = CallFinished(held.key, keep, truncated, _since(run, started.mono_ns))
        run.append(finished, body=finished_body(finished))
    return result


def _fail(started: Started, outcome: str, error: str) -> None:
    fail(started.run, started.held, started.flight, outcome, error, started.mono_ns)


def fail(run: Run, held: Held, flight: Flight | None, outcome: str, error: str, mono_ns: int) -> None:
    """Record that the body did not return."""
    failed = CallFailed(held.key, outcome, error, _since(run, mono_ns))
    with run.lock:
        if flight is not None:
            run.flights.discard(flight)
        if not run.ended:
            run.append(failed)
    if held.success is not None and failed.has_not_succeeded:
        ledger.refund_later(run.opening, held.success)


def interrupt(run: Run, held: Held, error: EngineError) -> None:
    """Record why a call that was not refused does not start; it may be made again after a resume."""
    with run.lock, contextlib.suppress(EngineError):  # a log that takes no more has its own error
        known = run.state.calls.get(held.key)
        refused = known is None or known.verdict is None or known.verdict < Verdict.ASK
        if known is None or refused or known.started_ns is not None or run.ended:
            return
        if known.outcome is None or known.outcome.epoch < run.state.epoch:
            run.append(CallFailed(held.key, "interrupted", run.hide(str(error))[:_TEXT_AT_MOST], 0))


def again(ended: Ended, run: Run, lens: ResultLens) -> Any:
    """Return what a call gave before the run was resumed; nothing runs.

    Raises:
        ToolFailedError: It had failed, or its result was not kept.
    """
    outcome = ended.outcome
    if not outcome.finished:
        raise replies.failed(run, ended.held, f"as before the run was resumed ({outcome.failure})")
    if keeps_digests_only(run, ended.held.call.tool):
        raise replies.failed(run, ended.held, "it ran before the run was resumed and its result was not kept")
    if outcome.withheld:
        raise replies.failed(run, ended.held, "it ran before the run was resumed and its result is secret")
    return outcome.result if lens.make is None else lens.make(outcome.result)


def _since(run: Run, mono_ns: int) -> int:
    return max(run.opening.clock.monotonic_ns() - mono_ns, 0)


def _kind(error: BaseException) -> str:
    name = str.__str__(type.__dict__["__name__"].__get__(type(error)))
    return name[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()


def _said(error: BaseException, hide: Callable[[str], str]) -> str:
    name = _kind(error)
    try:
        text = str.__str__(str(error))
    except BaseException:  # an exception that cannot even be shown: its type says enough
        text = "(cannot be shown)"
    said = name if not text else f"{name}: {hide(text)[:_TEXT_AT_MOST]}"
    return said[:_TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode()
