"""Every test of the contract fails for an adapter that gets wrong what it is about."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from ringfence.testing import AdapterContract
from ringfence.testing.adapters.contract import contents_of
from tests.adapters.contract.mini import Mini, Player
from tests.adapters.contract.sabotaged import BROKEN

CASES = [(player, f"test_{test}") for player, tests in BROKEN for test in tests]


class Shaky(Mini):
    """A stage that is not waited for long: what is wrong in it may hang."""

    within_s = 2.0


@pytest.mark.not_replayed("what a wrong adapter records need not be decided again")
@pytest.mark.parametrize(("player", "test"), CASES, ids=[f"{one.__name__}-{test[5:]}" for one, test in CASES])
def test_a_wrong_adapter_fails(player: type[Player], test: str, tmp_path: Path) -> None:
    stage = type("Sabotaged", (Shaky,), {"player": player})()
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        asyncio.run(getattr(stage, test)(tmp_path))
    assert isinstance(caught.value, ExceptionGroup) or str(caught.value).strip(), "it must say what is wrong"


def test_every_test_of_the_contract_has_an_adapter_that_fails_it() -> None:
    assert {test for _, test in CASES} == contents_of(AdapterContract).keys()


def test_what_a_framework_does_not_have_is_not_tested() -> None:
    class Lacking(Mini):
        streams = False

    class Having(Lacking):
        streams = True

    def streamed(contract: type[Any]) -> set[str]:
        return {name for name in contents_of(contract) if "streamed" in name}

    assert streamed(Lacking) == set()
    assert streamed(Having) == streamed(AdapterContract) != set()
    assert Having.test_a_streamed_agent_asks_people is Mini.test_a_streamed_agent_asks_people
    assert all(inspect.iscoroutinefunction(test) for test in contents_of(AdapterContract).values())
