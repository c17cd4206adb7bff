"""JavaScript in V8 isolates, in locked-down worker processes: the parent's side, and the worker's program."""

from ringfence.plugin import IsolateExecutor, hookimpl


@hookimpl
def ringfence_isolate_executor() -> IsolateExecutor:
    """Return a pool without workers; whether V8 is installed is looked up when it is asked."""
    from ringfence.plugins.isolate.executor import IsolatePool  # nobody without an isolate pays for it

    return IsolatePool()
