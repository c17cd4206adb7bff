"""Which plugin runs isolates: one alone, made when it is needed, and none that takes over another's place."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from ringfence.dsl.plan import ISOLATE_EXECUTOR
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import EngineError, SettingsError
from ringfence.engine.seams.registry import Registry
from ringfence.engine.seams.settings import Settings
from ringfence.plugin import IsolateExecutor, hookimpl
from ringfence.plugins import isolate
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
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


# ---- its settings --------------------------------------------------------------------------------


class Keys(BaseModel):
    """The keys of another executor."""

    model_config = ConfigDict(extra="forbid")

    region: str = "here"
    token: SecretStr = SecretStr("")


class Remote:
    """A plugin whose executor has settings; it remembers what it was made with."""

    def __init__(self) -> None:
        self.given: list[BaseModel] = []

    @hookimpl
    def ringfence_isolate_settings(self) -> type[BaseModel]:
        """See `Hooks`."""
        return Keys

    @hookimpl
    def ringfence_isolate_executor(self, settings: BaseModel) -> IsolateExecutor:
        """See `Hooks`."""
        self.given.append(settings)
        return FakeExecutor()


def refused(isolates: dict[str, Any], *plugins: object, builtins: dict[str, object] | None = None) -> str:
    settings = Settings.of({"store": "memory:", "isolates": isolates})
    with pytest.raises(SettingsError) as error:
        Extensions.assemble(settings, builtins=builtins or {}, plugins=plugins)
    return error.value.diagnostics()


def test_what_isolates_says_is_handed_to_the_executor_as_its_own_model() -> None:
    remote = Remote()
    settings = Settings.of({"store": "memory:", "isolates": {"region": "eu"}})
    Extensions.assemble(settings, builtins={}, plugins=[remote]).isolates()
    Extensions.assemble(SETTINGS, builtins={}, plugins=[remote]).isolates()
    assert remote.given == [Keys(region="eu"), Keys()]


def test_a_key_that_nobody_reads_is_an_error_that_says_how_to_mend_it() -> None:
    told = refused({"regoin": "eu"}, Remote())
    assert "settings: `isolates.regoin`: unknown key" in told and "did you mean `region`?" in told
    told = refused({"workers": 2}, Executors(FakeExecutor()))
    assert "`isolates.workers`: unknown key" in told and "it has no settings" in told
    told = refused({"workers": 2})
    assert "`isolates`: nothing that runs isolates is installed" in told and "ringfence[isolate]" in told


def test_the_settings_are_those_of_the_executor_that_is_taken() -> None:
    """Our own plugin's model stands for nothing where another's executor runs."""
    ours: dict[str, object] = {"isolate": Remote()}
    assert "`isolates.region`: unknown key" in refused(
        {"region": "eu"}, Executors(FakeExecutor()), builtins=ours
    )


def test_no_message_repeats_a_secret_of_isolates() -> None:
    told = refused({"token": ["hunter2"]}, Remote())
    assert "isolates.token" in told and "hunter2" not in told
    settings = Settings.of({"store": "memory:", "isolates": {"token": "hunter2"}})
    assert "hunter2" not in repr(settings) and "hunter2" not in settings.model_dump_json()


def test_settings_that_are_no_model_or_fail_make_no_executor() -> None:
    class NoModel(Remote):
        @hookimpl
        def ringfence_isolate_settings(self) -> type[BaseModel]:
            return dict  # type: ignore[return-value]

    class Fails(Remote):
        @hookimpl
        def ringfence_isolate_settings(self) -> type[BaseModel]:
            raise OSError("not now")

    assert "must return a pydantic model" in refused({"region": "eu"}, NoModel())
    assert "`ringfence_isolate_settings` failed: OSError: not now" in refused({"region": "eu"}, Fails())
    for plugin in (NoModel(), Fails()):
        with pytest.raises(SettingsError):
            Extensions.assemble(SETTINGS, builtins={}, plugins=[plugin]).isolates()
        assert plugin.given == []


@pytest.mark.parametrize(
    ("isolates", "says"),
    [
        ({"workers": 0}, "`isolates.workers`: must be at least 1"),
        ({"workers": True}, "`isolates.workers`: must be a number"),
        ({"workers": 65}, "`isolates.workers`: must be at most 64"),
        ({"spares": 1}, "did you mean `spare`?"),
        ({"start": 1}, "did you mean `start_s`?"),
        ({"wait_s": "soon"}, "`isolates.wait_s`: must be a number"),
        ({"wait_s": float("inf")}, "`isolates.wait_s`: must be"),
        ({"jobs_per_worker": 1.5}, "`isolates.jobs_per_worker`: must be a whole number"),
    ],
)
def test_our_own_executor_says_what_is_wrong_with_its_keys(isolates: dict[str, Any], says: str) -> None:
    assert says in refused(isolates, builtins={"isolate": isolate})


def test_our_own_executor_keeps_to_what_the_settings_say() -> None:
    settings = Settings.of({"store": "memory:", "isolates": {"workers": "2", "start_s": 3, "spare": 0}})
    extensions = Extensions.assemble(settings, builtins={"isolate": isolate})
    pool = extensions.isolates().executor
    assert isinstance(pool, IsolatePool)
    assert pool.settings == IsolateSettings(workers=2, start_s=3.0, spare=0)
    assert (IsolateSettings(workers=2).at_most, 4 <= IsolateSettings().at_most <= 16) == (2, True)
