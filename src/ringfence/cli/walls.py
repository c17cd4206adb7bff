"""What `doctor` says of isolates: V8's version, each wall with a worker's own evidence, each lock-down.

A worker is started for it and proves its walls, as for a call.  Total, like all that `doctor` looks at.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import get_args

from ringfence.cli.desk import registry_of, running
from ringfence.cli.findings import Finding, State
from ringfence.dsl.plan import Plan
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.executors import check_executor, executor_of
from ringfence.engine.seams.isolates import Fitness, Layer, Lockdown
from ringfence.engine.seams.registry import Registry
from ringfence.engine.seams.settings import Settings

WITHIN_S = 60.0
"""How long what runs isolates may take to prove its walls."""

LOCKDOWNS: tuple[Lockdown, ...] = get_args(Lockdown)

_LINUX = "run the host on Linux"
_MENDS = {
    "process": "start the host with descriptors 0, 1 and 2 open, and workers as Ringfence starts them",
    "no new privileges": _LINUX,
    "namespaces": "let this user make user namespaces: the settings `user.max_user_namespaces`, "
    "`kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns` of sysctl; "
    "in a container, a seccomp profile that lets `unshare` through",
    "no capabilities": _LINUX,
    "dies with parent": _LINUX,
    "not dumpable": _LINUX,
    "limits": "raise the hard limits that this host was started with (`ulimit -H -a`), and mount /proc",
    "Landlock": "Linux 5.13 or later, with `landlock` among the modules of `lsm=`; "
    "in a container, a seccomp profile that lets the calls of Landlock through",
    "seccomp": "Linux with CONFIG_SECCOMP_FILTER, on x86-64 or aarch64",
    "V8 flags": "reinstall mini-racer: pip install --force-reinstall mini-racer",
}
"""What gives a machine a wall that it lacks."""


@dataclass(frozen=True, slots=True)
class Isolates:
    """What there is for isolates, and what the policy wants of it."""

    fitness: Fitness | None = None
    """None: nothing runs isolates here, or it could not be asked."""
    error: EngineError | None = None
    """Why not."""
    wanted: Mapping[Lockdown, tuple[str, ...]] = field(default_factory=dict)
    """Lock-down -> the isolates of the policy that demand it."""

    def lacks(self, lockdown: Lockdown) -> tuple[str, ...] | None:
        """Return the walls that a lock-down wants and that are missing; None: nothing runs at all."""
        if self.fitness is None or self.fitness.problem is not None:
            return None
        return self.fitness.lacks(lockdown)

    def record(self) -> Mapping[str, object]:
        """Return it for programs: what a lock-down lacks is null where nothing runs at all."""
        fitness = self.fitness
        problem = str(self.error) if self.error is not None else fitness.problem if fitness else None
        return {
            "v8": fitness.v8 if fitness else None,
            "problem": problem,
            "walls": [asdict(layer) for layer in fitness.layers] if fitness else [],
            "lacks": {lockdown: self.lacks(lockdown) for lockdown in LOCKDOWNS},
            "wanted": dict(self.wanted),
        }


def isolates_here(settings: Settings, plan: Plan | None) -> Isolates:
    """Have a worker prove its walls."""
    wanted = {} if plan is None else _wanted(plan)
    try:
        with running() as loop:
            asked = asyncio.wait_for(_fitness(registry_of(settings), settings), WITHIN_S)
            return Isolates(loop.submit(asked).result(), wanted=wanted)
    except EngineError as error:
        return Isolates(error=error, wanted=wanted)
    except TimeoutError:
        problem = f"what runs isolates has not proved its walls within {WITHIN_S:g} s"
    except Exception as error:  # it is a plugin: whatever it raises is what the doctor has found
        problem = f"what runs isolates failed: {str(error) or type(error).__name__}"
    return Isolates(error=EngineError(problem, help="see the documentation of its plugin"), wanted=wanted)


def _wanted(plan: Plan) -> dict[Lockdown, tuple[str, ...]]:
    isolates = plan.isolates.values()
    found = {
        lockdown: tuple(one.name for one in isolates if one.lockdown == lockdown) for lockdown in LOCKDOWNS
    }
    return {lockdown: names for lockdown, names in found.items() if names}


async def _fitness(registry: Registry, settings: Settings) -> Fitness:
    await check_executor(registry, settings)
    executor = executor_of(registry, settings)
    try:
        return await executor.fitness()
    finally:
        await executor.close()


def findings(seen: Isolates, *, old: bool) -> Iterator[Finding]:
    """Say what was seen: nothing is broken that no isolate of the policy needs.

    Args:
        old: The old package of V8 is installed, which is refused whatever the policy says.
    """
    needed: State = "broken" if seen.wanted or old else "note"
    fitness = seen.fitness
    if fitness is None:
        assert seen.error is not None
        yield Finding("isolates", needed, str(seen.error), seen.error.help or "")
        return
    if fitness.problem is not None:
        yield Finding("isolates", needed, fitness.problem, "see docs/isolates.md")
        return
    standing = sum(layer.holds for layer in fitness.layers)
    version = f"V8 {fitness.v8}" if fitness.v8 else "V8 of no known version"
    yield Finding(
        "isolates", "ok", f"{version}; {standing} of {len(fitness.layers)} walls stand around a worker"
    )
    for layer in fitness.layers:
        yield _wall(layer, seen)
    for lockdown in LOCKDOWNS:
        yield _lockdown(lockdown, seen)


def _wall(layer: Layer, seen: Isolates) -> Finding:
    found = f"{layer.name}: {layer.evidence}"
    if layer.holds:
        return Finding("wall", "ok", found)
    needed = any(layer.name in (seen.lacks(lockdown) or ()) for lockdown in seen.wanted)
    help = _MENDS.get(layer.name, "see the documentation of what runs isolates")
    return Finding("wall", "broken" if needed else "note", f"missing: {found}", help)


def _lockdown(lockdown: Lockdown, seen: Isolates) -> Finding:
    lacking, users = seen.lacks(lockdown) or (), seen.wanted.get(lockdown, ())
    by = f", which {', '.join(f'`{name}`' for name in users)} must have" if users else ""
    if not lacking:
        return Finding("lockdown", "ok", f"`lockdown {lockdown}`{by}: every wall that it needs stands")
    return Finding(
        "lockdown",
        "broken" if users else "note",
        f"`lockdown {lockdown}`{by}: this machine lacks {', '.join(lacking)}",
        "a tool in such an isolate is refused here",
    )
