"""JavaScript in V8 isolates, in locked-down worker processes: the parent's side, and the worker's program."""

from pydantic import BaseModel

from ringfence.plugin import IsolateExecutor, hookimpl


@hookimpl
def ringfence_isolate_settings() -> type[BaseModel]:
    """Return what `[isolates]` may say."""
    from ringfence.plugins.isolate.settings import IsolateSettings  # nobody without an isolate pays for it

    return IsolateSettings


@hookimpl
def ringfence_isolate_executor(settings: BaseModel) -> IsolateExecutor:
    """Return a pool without workers; whether V8 is installed is looked up when it is asked."""
    from ringfence.plugins.isolate.executor import IsolatePool
    from ringfence.plugins.isolate.settings import IsolateSettings

    assert isinstance(settings, IsolateSettings)
    return IsolatePool(settings)
