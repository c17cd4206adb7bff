"""Why an event cannot be recorded, and how to mend it.  Whoever meets these errors runs nothing."""

from ringfence.engine.seams.errors import EngineError


def log_error(cause: BaseException, run: str | None = None) -> EngineError:
    """Return the error of a log that could not be appended to; `cause` is kept."""
    error = EngineError(
        f"the audit log cannot be written, so nothing may run: {cause or type(cause).__name__}",
        run=run,
        help=getattr(cause, "help", None)
        or "mend the store (`ringfence doctor`), then start the process again",
    )
    error.__cause__ = cause
    return error


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
