"""Which V8 is there is read off what pip recorded; the old package of the same import name is refused."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from ringfence.plugins.isolate import installed as looking
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.installed import installed
from tests.plugins.isolate.workers import job, none


class _Distribution:
    def __init__(self, version: str) -> None:
        self.version = version

    def locate_file(self, path: str) -> Path:
        return Path("/site") / path


def _has(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def found(name: str) -> _Distribution:
        version = versions.get(name.replace("-", "_"))
        if version is None:
            raise PackageNotFoundError(name)
        return _Distribution(version)

    monkeypatch.setattr(looking, "distribution", found)


@pytest.mark.parametrize("version", ["0.14.1", "0.14.10", "0.15.0", "1.0", "0.14.1.post1"])
def test_the_maintained_package_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    _has(monkeypatch, mini_racer=version)
    assert (installed().problem, installed().folder) == (None, Path("/site"))


@pytest.mark.parametrize("version", ["0.14.0", "0.9", "0.6.0", "nonsense"])
def test_a_version_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    _has(monkeypatch, mini_racer=version)
    assert installed().folder is None
    assert f"mini-racer {version} is too old, 0.14.1 is needed" in (installed().problem or "")


@pytest.mark.parametrize("beside", [{}, {"mini_racer": "0.14.1"}])
def test_the_old_package_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, beside: dict[str, str]) -> None:
    """Also beside the right one: which of them is imported then, nobody can say."""
    _has(monkeypatch, py_mini_racer="0.6.0", **beside)
    problem = installed().problem or ""
    assert problem.startswith("py-mini-racer 0.6.0 is installed")
    assert "pip uninstall py-mini-racer" in problem
    assert "pip install 'ringfence[isolate]'" in problem


async def test_without_any_a_run_and_the_fitness_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch)
    executor = IsolatePool()
    outcome = await executor.run(job("() => 1"), none)
    fitness = await executor.fitness()
    await executor.close()
    assert outcome.failure == "executor"
    assert outcome.message == fitness.problem
    assert "no V8 is installed: `pip install 'ringfence[isolate]'`" in (fitness.problem or "")
    assert fitness.v8 is None


def test_what_is_installed_here_is_found() -> None:
    try:
        distribution("mini-racer")
    except PackageNotFoundError:
        pytest.skip("the extra `isolate` is not installed")
    found = installed()
    assert found.problem is None
    assert found.folder is not None
    assert (found.folder / "py_mini_racer").is_dir()
