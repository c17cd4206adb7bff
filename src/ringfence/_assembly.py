"""The composition root: the one place that knows all parts, and puts a guard together."""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ringfence._builtins import builtins
from ringfence._records import Records
from ringfence.dsl.load import Loaded, load, load_files
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.events import RunStarted
from ringfence.engine.decision.records import texts_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.journal.hiding import in_policy
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import PolicyError, SettingsError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Clock
from ringfence.engine.seams.settings import Settings

_log = logging.getLogger("ringfence")


class SystemClock:
    """The wall clock, read once, and from then on the monotonic one: it never steps back."""

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return self._anchor_ns + time.monotonic_ns()

    monotonic_ns = staticmethod(time.monotonic_ns)
    """The monotonic clock in nanoseconds: itself, since six of its readings are a good part of a call."""

    def anchor(self, now_ns: int) -> None:
        """Go on from this time, if it is later."""
        self._anchor_ns = max(self._anchor_ns, now_ns - time.monotonic_ns())

    def sleep_until(self, mono_ns: int) -> None:
        """Return when the monotonic clock has reached `mono_ns`."""
        while (left_ns := mono_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)

    async def asleep_until(self, mono_ns: int) -> None:
        """Like `sleep_until`, in the caller's event loop."""
        while (left_ns := mono_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110 - nothing but time is waited for
            await asyncio.sleep(left_ns / 1e9)


def load_guard(
    policy: str | Path | None = None,
    *,
    settings: str | Path | Settings | None = None,
    store: str | None = None,
    plugins: Sequence[object] = (),
    clock: Clock | None = None,
) -> Guard:
    """Read policy and settings and make the guard; nothing is opened.  See `Guard.load`."""
    chosen = settings if isinstance(settings, Settings) else Settings.load(settings)
    path = policy if policy is not None else chosen.policy
    if path is None:
        raise PolicyError(
            "no policy is named", help="name a `.fence` file, or write `policy = …` in `ringfence.toml`"
        )
    plan = load_plan(path, ceilings=chosen.ceilings)
    return assemble(plan, chosen, store=store, plugins=plugins, clock=clock)


def load_plan(path: str | Path, *, ceilings: Sequence[Path] = ()) -> Plan:
    """Load a policy file under the pinned ceilings; raise PolicyError with every mistake drawn."""
    try:
        loaded = load(path, ceilings=ceilings)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        file = getattr(error, "filename", None) or path
        raise PolicyError(f"{file}: cannot be read: {why}", help="name a `.fence` file") from error
    return _plan(loaded, str(path))


def assemble(
    plan: Plan,
    settings: Settings,
    *,
    store: str | None = None,
    plugins: Sequence[object] = (),
    clock: Clock | None = None,
) -> Guard:
    """Make the guard of a plan."""
    extensions = Extensions.assemble(
        settings, builtins=builtins(), plugins=plugins, on_observer_failure=_observer_failed
    )
    opening = Opening(
        loop=EngineLoop(),
        clock=clock if clock is not None else SystemClock(),
        settings=settings,
        extensions=extensions,
        store=lambda: extensions.open_store(store),
    )
    if (place := in_policy(opening.secrets, plan)) is not None:
        raise SettingsError(
            f"{place}: the policy holds what `[secrets]` calls secret, and the log keeps the policy",
            help="take it out of the policy, or write a narrower pattern",
        )
    opening.questions.bind(plan)
    extensions.prewarm(plan)
    return Guard(plan, settings, opening, replan=_replan, runs=Records)


def _plan(loaded: Loaded, name: str) -> Plan:
    if loaded.plan is None:
        from ringfence.dsl.diagnostic import draw  # only where there is something to draw

        drawn = draw(loaded.diagnostics)
        raise PolicyError(f"{name} has mistakes and loads nothing\n{drawn}", help="mend them all")
    return loaded.plan


def _replan(begun: RunStarted) -> Plan:
    return _plan(load_files(texts_of(begun)), "the recorded policy")


def _observer_failed(sink: str, lost: int, why: str) -> None:
    _log.warning("the audit sink `%s` does not follow (%d events lost): %s", sink, lost, why)
