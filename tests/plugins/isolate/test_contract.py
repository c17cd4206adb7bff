"""Our own pool, with real V8, keeps the contract of executors; and the contract catches who does not."""

import os
from collections.abc import Collection
from dataclasses import replace

import pytest

from ringfence.plugin import Fitness, InnerAnswering, IsolateExecutor, IsolateJob, IsolateOutcome
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.testing import IsolateExecutorContract

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


class TestIsolatePool(IsolateExecutorContract):
    """Two workers, no spare: little room, so that owners must make way for one another."""

    kind: type[IsolatePool] = IsolatePool

    def make(self) -> IsolateExecutor:
        return self.kind(IsolateSettings(workers=2, spare=0))

    def at_work(self, executor: IsolateExecutor) -> Collection[object]:
        assert isinstance(executor, IsolatePool)
        return executor.at_work


class _Sharing(IsolatePool):
    """Gives everybody the same workers."""

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        return await super().run(replace(job, owner="everybody"), answer)


class _Silent(IsolatePool):
    """Promises nothing."""

    async def fitness(self) -> Fitness:
        return replace(await super().fitness(), layers=())


class _Boasting(IsolatePool):
    """Promises a wall that no worker has."""

    async def fitness(self) -> Fitness:
        fitness = await super().fitness()
        return replace(fitness, layers=(*fitness.layers, replace(fitness.layers[0], name="moat")))


class _Raising(IsolatePool):
    """Raises what should be an outcome."""

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        outcome = await super().run(job, answer)
        if outcome.failure is not None:
            raise ValueError(outcome.message)
        return outcome


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (_Sharing, "test_no_worker_runs_jobs_of_two_owners"),
        (_Silent, "test_it_says_what_this_machine_can_enforce"),
        (_Boasting, "test_full_lock_down_is_every_wall_or_a_refusal"),
        (_Raising, "test_closed_it_runs_nothing_and_fails_with_an_outcome"),
    ],
)
async def test_the_contract_catches(kind: type[IsolatePool], test: str) -> None:
    contract = TestIsolatePool()
    contract.kind = kind
    with pytest.raises((AssertionError, ValueError)):
        await getattr(contract, test)()
