"""Why an event cannot be recorded, and how to mend it.  Whoever meets these errors runs nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ringfence.engine.seams.errors import EngineError, StoreAwayError, TakenOverError


@dataclass(frozen=True, slots=True)
class Away:
    """A store that does not take events for now."""

    cause: Exception
    since_ns: int
    """When that was noticed first, on the engine's clock."""


def log_error(cause: BaseException, run: str | None = None) -> EngineError:
    """Return the error of a log that could not be appended to; `cause` is kept."""
    mend = getattr(cause, "help", None) or "mend the store (`ringfence doctor`)"
    error = EngineError(
        f"the audit log cannot be written, so nothing may run: {cause or type(cause).__name__}",
        run=run,
        help=f"{mend}; this guard writes no more: then start the process again, or load a new guard",
    )
    error.__cause__ = cause
    return error


def away_error(away: Away, run: str | None = None) -> StoreAwayError:
    """Return the error of a log whose store is away for now; its cause is kept."""
    since = datetime.fromtimestamp(away.since_ns // 1_000_000_000, UTC)
    mend = (
        getattr(away.cause, "help", None)
        or "bring the store back (`ringfence doctor` says whether it answers)"
    )
    error = StoreAwayError(
        f"the audit log's store is away since {since:%Y-%m-%d %H:%M:%S} UTC, so nothing may start: "
        f"{away.cause or type(away.cause).__name__}",
        run=run,
        help=f"{mend}: work goes on by itself then",
    )
    error.__cause__ = away.cause
    return error


def lost_error(run: str | None) -> TakenOverError:
    """Return the error of a run that another process has taken over."""
    return TakenOverError(
        f"the run `{run}` was taken over by another process, or ended there: it takes no more events here",
        run=run,
        help="begin a new run; what happened to this one stands in the log: `ringfence show`",
    )


def sink_error(cause: BaseException, run: str | None = None) -> EngineError:
    """Return the error of a required sink that could not take events; `cause` is kept."""
    error = EngineError(
        f"a required audit sink cannot take events, so nothing may start: {cause or type(cause).__name__}",
        run=run,
        help=getattr(cause, "help", None)
        or "mend the sink, or say `required = false` for it in the settings",
    )
    error.__cause__ = cause
    return error
