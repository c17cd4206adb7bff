"""An intruder who has a worker wholly, seen from a guard: one session's worker never sees another session."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import CallFailed, IsolateEnded, IsolateStarted
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.settings import Settings
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.program import LAYERS
from ringfence.plugins.isolate.settings import IsolateSettings
from tests import walls
from tests.guards import ALICE, call, events_of
from tests.isolates import Executors
from tests.plugins.isolate.workers import children, pool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

MALLORY = Principal(user="mallory", workspace="w1")
POLICY = """
language 1
policy desk
levels public < secret
capability use is read
agent main { holds use }
isolate box { time 60 seconds memory 64 MB may call look }
tool look { needs use takes n: integer allow always result is public rate 1000 per run }
tool spy { needs use takes n: integer runs "spy.js" in box allow always result is public rate 1000 per run }
tool work {
  needs use takes secret: text runs "work.js" in box allow always result is public rate 1000 per run
}
"""


def guard_of(files: dict[str, str], policy: str = POLICY, **about: Any) -> Guard:
    loaded = load_text(policy, "desk.fence", read=files.__getitem__)
    assert loaded.plan is not None, loaded.diagnostics
    plugins = about.pop("plugins", ())
    return assemble(loaded.plan, Settings.of({"store": "memory:", **about}), plugins=plugins)


def never(_: Any) -> Any:
    raise AssertionError("the host's own function ran")


def spied(guard: Guard, session: str, principal: Principal) -> str:
    """What the intruder has gathered in the worker that this session is given."""
    run = guard.begin_run(principal=principal, session=session)
    found = guard.execute(run, call("spy", n=1), never)
    guard.end_run(run)
    return str(found)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("spare", [0, 1])
def test_whoever_has_taken_a_worker_over_sees_nothing_of_other_sessions(workers: int, spare: int) -> None:
    """The worker is the intruder's: it keeps all that it is ever given, and hands it to whoever asks."""
    executor = pool(workers=workers, spare=spare)
    guard = guard_of({"spy.js": "hoard", "work.js": "hoard"}, plugins=[Executors(executor)])
    spied(guard, "evil", MALLORY)
    run = guard.begin_run(principal=ALICE, session="s1")
    for nth in range(3):
        own = guard.execute(run, call("work", secret=f"of alice {nth}"), never)
        assert "alice" in str(own), "the control: it does keep what it is given"
        for session in ("evil", f"evil {nth}", "s1 "):
            assert "alice" not in spied(guard, session, MALLORY)
    guard.end_run(run)
    # The same name of a session, said by another user: what was alice's stays alice's.
    assert "alice" not in spied(guard, "s1", MALLORY)
    if workers == 5:  # else it made way for all the others
        assert "alice" in spied(guard, "s1", ALICE), "the control: her own session has her worker still"
    guard.close()
    assert children() == []


# ---- with V8, and every wall ---------------------------------------------------------------------


SCRIPTS = {
    "spy.js": "async a => { await tools.look({ n: a.n }); return [typeof left, globalThis.left = 1] }",
    "work.js": "async a => { await tools.look({ n: 1 }); globalThis.left = 1; return a.secret.length }",
}


def test_under_full_lock_down_each_session_has_workers_of_its_own() -> None:
    walls.needed()
    guard = guard_of(SCRIPTS, isolates={"workers": 2, "spare": 1})
    executor = guard.opening.extensions
    seen: dict[str, set[int]] = {}
    here: list[tuple[int, ...]] = []

    def look(_: Any) -> int:
        known = executor.known_isolates
        assert known is not None and isinstance(known.executor, IsolatePool)
        here.append(known.executor.at_work)
        return 0

    for nth in range(8):
        session = f"s{nth % 3}"
        run = guard.begin_run(principal=ALICE, session=session)
        made = call("spy", n=nth) if nth % 2 else call("work", secret="x" * nth)
        found = guard.execute(run, made, never, inner={"look": look})
        assert found in (nth, ["undefined", 1])
        (worker,) = here.pop()
        seen.setdefault(session, set()).add(worker)
        (began,), (ended,) = (
            [one for one in events_of(guard, run) if isinstance(one, kind)]
            for kind in (IsolateStarted, IsolateEnded)
        )
        assert isinstance(began, IsolateStarted) and began.limits["lockdown"] == "full"
        assert isinstance(ended, IsolateEnded) and {*ended.layers} >= LAYERS
        assert guard.runs.get(run.id).replay().identical
        guard.end_run(run)
    workers = [worker for whose in seen.values() for worker in whose]
    assert len(workers) == len({*workers}), seen
    guard.close()
    assert children() == []


def test_a_real_worker_that_lacks_a_wall_is_refused_before_the_call_starts() -> None:
    walls.needed()
    executor = IsolatePool(IsolateSettings(workers=1), wanted=LAYERS | {"moat"})
    guard = guard_of(SCRIPTS, plugins=[Executors(executor)])
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(EngineError, match="this machine lacks what `lockdown full` needs: moat") as caught:
        guard.execute(run, call("work", secret="x"), never, inner={"look": never})
    assert "not in the worker's report" in caught.value.diagnostics()
    kinds = [one.kind for one in events_of(guard, run)]
    assert "CallStarted" not in kinds and "IsolateStarted" not in kinds
    (failed,) = (one for one in events_of(guard, run) if isinstance(one, CallFailed))
    assert (failed.outcome, failed.error) == (
        "refused",
        "this machine lacks what `lockdown full` needs: moat",
    )
    assert guard.runs.get(run.id).replay().identical
    guard.close()
    assert children() == []


def until(condition: Callable[[], bool]) -> None:
    """Wait for what goes on in the background."""

    async def met() -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)

    asyncio.run(met())


def test_a_guard_that_opens_starts_what_the_settings_keep_ready() -> None:
    walls.needed()
    guard = guard_of(SCRIPTS, isolates={"workers": 1, "spare": 2})
    guard.open()
    until(lambda: len(children()) == 2)
    run = guard.begin_run(principal=ALICE)
    assert guard.execute(run, call("work", secret="xy"), never, inner={"look": lambda _: 0}) == 2
    guard.close()
    assert children() == []


@pytest.mark.parametrize("manners", ["good", "mute", "dead", "noise"])
def test_a_guard_that_closes_while_workers_start_leaves_none(manners: str) -> None:
    executor = pool(manners, spare=1, start_s=300)
    guard = guard_of({"spy.js": "hoard", "work.js": "hoard"}, plugins=[Executors(executor)])
    for _ in range(3):
        guard.open()
    guard.close()
    assert children() == []


def test_a_worker_that_never_proves_its_walls_refuses_the_call_and_leaves_the_host_alone() -> None:
    executor = pool("mute", start_s=0.2)
    guard = guard_of({"spy.js": "hoard", "work.js": "hoard"}, plugins=[Executors(executor)])
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(EngineError, match=r"a new worker was not ready within 0\.2 s"):
        guard.execute(run, call("spy", n=1), never)
    assert "CallStarted" not in [one.kind for one in events_of(guard, run)]
    assert guard.execute(run, call("look", n=1), lambda _: 5) == 5
    guard.close()
    assert children() == []
