"""Nothing of it needs root: a whole host, its pool and a guarded call, as a user without any capability."""

import json
import os

import pytest

from ringfence.plugins.isolate.program import LAYERS
from tests import walls
from tests.plugins.isolate.accounts import Account, account, everybody
from tests.plugins.isolate.scripts import MEMORY, QUICK

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")

WHO = """
import json, os
with open("/proc/self/status") as lines:
    status = dict(line.split(":", 1) for line in lines)
said = {"user": os.geteuid(), "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16)}
"""

POOL = (
    WHO
    + """
import asyncio
from tests.plugins.isolate.real import SETTINGS, works
from tests.plugins.isolate.scripts import LIVENESS, MEMORY, QUICK, body
from tests.plugins.isolate.workers import SECOND, children, closing, echoes
from ringfence.plugins.isolate.executor import IsolatePool

async def main():
    async with closing(IsolatePool(SETTINGS)) as executor:
        fitness = await executor.fitness()
        said["problem"], said["lacks"] = fitness.problem, fitness.lacks("full")
        said["walls"] = [layer.name for layer in fitness.layers if layer.holds]
        said["ends"] = {}
        for name, source, limits in [
            ("loop", LIVENESS["loop"], {"time_ns": SECOND // 2}),
            ("microtasks", LIVENESS["microtasks"], {"time_ns": SECOND // 2}),
            ("cpu", LIVENESS["loop"], {"cpu_ns": SECOND // 5}),
            *((name, source, {"cpu_ns": 3 * SECOND}) for name, source in MEMORY.items()),
            *((name, script.source, {}) for name, script in QUICK.items() if script.cheap),
        ]:
            outcome = await executor.run(body(source, **limits), echoes)
            said["ends"][name] = outcome.failure
            await works(executor)
    said["left"] = children()

asyncio.run(main())
print(json.dumps(said))
"""
)

GUARDED = (
    WHO
    + """
from ringfence import DeniedError, ToolFailedError
from ringfence._assembly import assemble
from ringfence.dsl.load import load_text
from ringfence.engine.seams.settings import Settings
from tests.guards import ALICE, call, events_of

POLICY = '''language 1
policy desk
capability look is read
capability compute is code
agent main { holds look, compute }
isolate analyst { time 20 seconds cpu 10 seconds may call query }
tool query { needs look takes table: text allow when table in ["orders"] rate 100 per run }
tool run_js {
  needs compute
  takes code: text at most 32 KB
  runs code in analyst
  allow when size(code) > 0 bytes
  rate 20 per run
}
'''
loaded = load_text(POLICY, "desk.fence")
assert loaded.plan is not None, loaded.diagnostics
guard = assemble(loaded.plan, Settings.of({"store": "memory:"}))
run = guard.begin_run(principal=ALICE)
bodies = {"query": lambda given: [1250, 3000, 499]}

def code(text):
    try:
        return guard.execute(run, call("run_js", code=text), dict, inner=bodies)
    except (DeniedError, ToolFailedError) as error:
        return type(error).__name__

total = "return (await tools.query({ table: 'orders' })).reduce((sum, one) => sum + one, 0)"
said["results"] = [code(total), code("return process.env"), code("await tools.drop({})"), code(total)]
events = events_of(guard, run)
said["walls"] = [sorted(one.layers) for one in events if one.kind == "IsolateEnded"]
said["started"] = [one.limits["lockdown"] for one in events if one.kind == "IsolateStarted"]
guard.close()
print(json.dumps(said))
"""
)


@pytest.fixture(scope="module", params=everybody()[1:] or everybody())
def user(request: pytest.FixtureRequest) -> Account:
    walls.needed()
    return account(request.param)


def test_the_whole_pool_runs_and_contains_what_is_hostile(user: Account) -> None:
    said = json.loads(user.run(POOL))
    assert said["capabilities"] == 0 and said["user"] == user_id(user)
    assert (said["problem"], said["lacks"], set(said["walls"])) == (None, [], set(LAYERS))
    ends = said["ends"]
    assert (ends.pop("loop"), ends.pop("microtasks"), ends.pop("cpu")) == ("time", "time", "cpu")
    for attack in MEMORY:
        assert ends.pop(attack) in ("memory", "exception", "cpu"), attack
    for attack, end in ends.items():
        assert end in QUICK[attack].ends, attack
    assert said["left"] == []


def test_a_guarded_call_of_a_models_code_runs_behind_every_wall(user: Account) -> None:
    said = json.loads(user.run(GUARDED))
    assert said["capabilities"] == 0 and said["user"] == user_id(user)
    assert said["results"] == [4749, "ToolFailedError", "ToolFailedError", 4749]
    assert said["walls"] == [sorted(LAYERS)] * 4
    assert said["started"] == ["full"] * 4


def user_id(user: Account) -> int:
    return os.geteuid() if user.user is None else user.user


def test_only_root_has_capabilities_to_give_up() -> None:
    said = json.loads(Account().run(WHO + "print(json.dumps(said))"))
    assert (said["capabilities"] != 0) == (said["user"] == 0)
