"""Which plugin runs isolates."""

from ringfence.engine.seams.bounded import said
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.isolates import CheckedExecutor, IsolateExecutor
from ringfence.engine.seams.registry import Registry

MISSING = "nothing that runs isolates is installed"
"""Why an isolated tool does not run."""

HELP = "install the extra `isolate`: pip install 'ringfence[isolate]'"


def executor_of(registry: Registry) -> IsolateExecutor:
    """Return what runs isolates, made anew; raise EngineError if there is none, or its plugin failed."""
    hook = registry.isolates()
    if hook is None:
        raise EngineError(MISSING, help=HELP)
    try:
        executor = hook.call()
    except Exception as error:  # a gate: without it no isolated tool runs
        raise EngineError(
            f"the plugin `{hook.plugin}` cannot run isolates: {said(error)}", help="see its documentation"
        ) from error
    if executor is None:
        raise EngineError(f"the plugin `{hook.plugin}` cannot run isolates on this machine", help=HELP)
    return executor  # type: ignore[no-any-return]


async def check_executor(registry: Registry) -> None:
    """Raise EngineError if it is known before any worker is started that no isolated tool can run here."""
    executor = executor_of(registry)
    try:
        if isinstance(executor, CheckedExecutor):
            executor.check()
    except EngineError:
        raise
    except Exception as error:  # a gate: without it no isolated tool runs
        raise EngineError(
            f"what runs isolates failed: {said(error)}", help="see its documentation"
        ) from error
    finally:
        await executor.close()
