"""Which plugin runs isolates: one alone, made when it is needed, and none that takes over another's place."""

import pytest

from ringfence.dsl.plan import ISOLATE_EXECUTOR
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import EngineError, SettingsError
from ringfence.engine.seams.registry import Registry
from ringfence.engine.seams.settings import Settings
from ringfence.plugin import IsolateExecutor, hookimpl
from tests.isolates import Executors, FakeExecutor

SETTINGS = Settings(store="memory:")


class Others(Executors):
    """Another plugin of the kind: plugins that are handed over are called by their class."""


class Broken:
    """A plugin whose hook fails."""

    @hookimpl
    def ringfence_isolate_executor(self) -> IsolateExecutor | None:
        """Fail."""
        raise OSError("no V8 here")


async def test_the_executor_is_made_once_when_it_is_needed_and_closed_with_the_rest() -> None:
    fake = FakeExecutor()
    extensions = Extensions.assemble(SETTINGS, builtins={}, plugins=[Executors(fake)])
    assert extensions.installed(ISOLATE_EXECUTOR)
    await extensions.close()
    assert fake.closed == 0
    assert extensions.isolates() is extensions.isolates()
    assert extensions.isolates().executor is fake
    await extensions.close()
    await extensions.close()
    assert fake.closed == 1


def test_without_a_plugin_there_is_none_and_the_error_says_how_to_get_one() -> None:
    extensions = Extensions.assemble(SETTINGS, builtins={})
    assert not extensions.installed(ISOLATE_EXECUTOR)
    with pytest.raises(EngineError, match="nothing that runs isolates") as caught:
        extensions.isolates()
    assert "ringfence[isolate]" in (caught.value.help or "")


def test_what_the_deployment_chose_stands_before_our_own() -> None:
    ours, theirs = FakeExecutor(), FakeExecutor()
    registry = Registry(builtins={"isolate": Executors(ours)}, extra=[Others(theirs)])
    registry.check()
    assert Extensions(SETTINGS, registry).isolates().executor is theirs
    alone = Registry(builtins={"isolate": Executors(ours)})
    assert Extensions(SETTINGS, alone).isolates().executor is ours


def test_two_that_the_deployment_chose_are_an_error() -> None:
    with pytest.raises(SettingsError, match="both run isolates"):
        Registry(extra=[Executors(FakeExecutor()), Others(FakeExecutor())]).check()


@pytest.mark.parametrize("plugin", [Broken(), Executors(None)])
def test_a_plugin_that_fails_or_has_none_here_runs_nothing(plugin: object) -> None:
    extensions = Extensions.assemble(SETTINGS, builtins={}, plugins=[plugin])
    with pytest.raises(EngineError, match="cannot run isolates"):
        extensions.isolates()
