"""Which plugins load, and what is said of those that do not."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.hookspecs import AuditSink, hookimpl
from ringfence.engine.seams.registry import HOOKS, Registry, plugins_report

Install = Callable[..., None]

PLUGIN = """
from ringfence.plugin import hookimpl

@hookimpl
def ringfence_store_schemes():
    return ["{name}"]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one plugin: metadata and a module on the path, as pip leaves them."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution: str, name: str, source: str | None = None, module: str | None = None) -> None:
        module = module or f"installed_{name}"
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[ringfence.plugins]\n{name} = {module}\n")
        (tmp_path / f"{module}.py").write_text(source or PLUGIN.format(name=name))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return put


def module_with(**functions: Any) -> ModuleType:
    module = ModuleType("a_plugin")
    for name, function in functions.items():
        function.__module__ = "a_plugin"
        setattr(module, name, function)
    return module


def wrong(*plugins: object) -> str:
    with pytest.raises(SettingsError) as error:
        Registry(extra=plugins).check()
    return error.value.diagnostics()


def test_an_installed_plugin_is_seen_but_not_imported_until_it_is_allowed(install: Install) -> None:
    install("acme-plugins", "acme")
    (row,) = [row for row in plugins_report() if row.name == "acme"]
    assert (row.distribution, row.version, row.installed) == ("acme-plugins", "1.2", True)
    assert (row.allowed, row.active, row.hooks) == (False, False, ())
    assert row.why_not == "not allowed: add `acme` to `plugins` in settings"
    assert "installed_acme" not in sys.modules


@pytest.mark.parametrize("entry", ["acme", "acme-plugins:acme"])
def test_an_allowed_plugin_is_active(install: Install, entry: str) -> None:
    install("acme-plugins", "acme")
    registry = Registry(allowed=[entry])
    registry.check()
    (row,) = [row for row in registry.rows if row.name == "acme"]
    assert (row.allowed, row.active, row.hooks, row.why_not) == (
        True,
        True,
        ("ringfence_store_schemes",),
        None,
    )
    assert [(hook.plugin, hook.call()) for hook in registry.hooks("ringfence_store_schemes")] == [
        ("acme", ["acme"])
    ]


def test_an_allowed_plugin_that_is_not_installed_is_an_error_that_names_the_nearest(install: Install) -> None:
    install("acme-plugins", "acme")
    registry = Registry(allowed=["amce"], where="ringfence.toml")
    with pytest.raises(SettingsError) as error:
        registry.check()
    assert "ringfence.toml: `plugins`: the plugin `amce` is not installed" in str(error.value)
    assert error.value.help == "did you mean `acme`?"
    (row,) = [row for row in registry.rows if row.name == "amce"]
    assert (row.installed, row.allowed, row.active) == (False, True, False)


def test_a_second_distribution_does_not_slip_in_under_an_allowed_name(install: Install) -> None:
    install("acme-plugins", "acme", module="installed_honest")
    install("evil-plugins", "acme", module="installed_evil")
    with pytest.raises(SettingsError, match="several distributions have a plugin `acme`"):
        Registry(allowed=["acme"]).check()
    assert not {"installed_honest", "installed_evil"} & set(sys.modules)
    registry = Registry(allowed=["acme-plugins:acme"])
    registry.check()
    assert "installed_evil" not in sys.modules
    assert [row.distribution for row in registry.rows if row.active] == ["acme-plugins"]


@pytest.mark.parametrize(
    "source",
    ["import no_such_module_anywhere", "raise RuntimeError('out of order')", "raise SystemExit(3)", "1 +"],
)
def test_a_plugin_that_cannot_be_imported_is_a_clear_error(install: Install, source: str) -> None:
    install("acme-plugins", "acme", source)
    registry = Registry(allowed=["acme"])
    with pytest.raises(SettingsError, match="the plugin `acme` of acme-plugins cannot be imported: "):
        registry.check()
    (row,) = [row for row in registry.rows if row.name == "acme"]
    assert not row.active and row.why_not is not None and "cannot be imported" in row.why_not


def test_a_misspelt_hook_is_an_error_that_names_the_nearest() -> None:
    @hookimpl
    def ringfence_audit_sink() -> Sequence[type[AuditSink]]:
        return []

    message = wrong(module_with(ringfence_audit_sink=ringfence_audit_sink))
    assert "there is no hook `ringfence_audit_sink`; did you mean `ringfence_audit_sinks`?" in message


def test_a_hook_of_any_other_name_is_an_error_that_lists_the_hooks() -> None:
    @hookimpl
    def zzz() -> None: ...

    message = wrong(module_with(zzz=zzz))
    assert all(f"`{hook}`" in message for hook in HOOKS)


def test_a_forgotten_mark_is_an_error() -> None:
    def ringfence_audit_sinks() -> Sequence[type[AuditSink]]:
        return []

    assert "`ringfence_audit_sinks` lacks `@hookimpl`" in wrong(
        module_with(ringfence_audit_sinks=ringfence_audit_sinks)
    )


def test_a_parameter_that_the_hook_does_not_have_is_an_error() -> None:
    @hookimpl
    def ringfence_open_store(uri: str) -> None: ...

    assert "is wrong" in wrong(module_with(ringfence_open_store=ringfence_open_store))


def test_hooks_cannot_be_wrapped() -> None:
    @hookimpl(wrapper=True)
    def ringfence_open_store(url: str) -> Any:
        return (yield)

    assert "is a wrapper" in wrong(module_with(ringfence_open_store=ringfence_open_store))


def test_a_class_is_no_plugin_but_its_object_is() -> None:
    class Plugin:
        @hookimpl
        def ringfence_store_schemes(self) -> Sequence[str]:
            return ["acme"]

    assert "it is a class" in wrong(Plugin)
    registry = Registry(extra=[Plugin()])
    registry.check()
    assert [hook.call() for hook in registry.hooks("ringfence_store_schemes")] == [["acme"]]


def test_two_plugins_of_one_name_are_an_error() -> None:
    assert "another plugin is already called `SimpleNamespace`" in wrong(
        SimpleNamespace(), SimpleNamespace(x=1)
    )


def test_a_wrong_plugin_leaves_nothing_behind() -> None:
    @hookimpl
    def ringfence_store_schemes() -> Sequence[str]:
        return ["acme"]

    @hookimpl
    def ringfence_audit_sink() -> None: ...

    registry = Registry(
        extra=[
            module_with(
                ringfence_store_schemes=ringfence_store_schemes, ringfence_audit_sink=ringfence_audit_sink
            )
        ]
    )
    assert registry.mistakes and registry.hooks("ringfence_store_schemes") == ()


def test_built_ins_come_first_and_through_the_same_checks() -> None:
    @hookimpl
    def ringfence_store_schemes() -> Sequence[str]:
        return []

    plugin = module_with(ringfence_store_schemes=ringfence_store_schemes)
    registry = Registry(builtins={"sqlite": plugin}, extra=[SimpleNamespace()])
    assert [(row.name, row.distribution, row.active) for row in registry.rows][:2] == [
        ("sqlite", "ringfence", True),
        ("SimpleNamespace", None, True),
    ]
    with pytest.raises(SettingsError):
        Registry(builtins={"bad": object}).check()


def test_two_registries_do_not_know_each_other() -> None:
    class Plugin:
        @hookimpl
        def ringfence_store_schemes(self) -> Sequence[str]:
            return ["acme"]

    with_it, without = Registry(extra=[Plugin()]), Registry()
    assert len(with_it.hooks("ringfence_store_schemes")) == 1
    assert without.hooks("ringfence_store_schemes") == ()


def test_an_implementation_may_take_fewer_parameters_than_the_hook_has() -> None:
    class Plugin:
        @hookimpl
        def ringfence_open_store(self) -> None: ...

    registry = Registry(extra=[Plugin()])
    registry.check()
    assert [hook.call(url="x:") for hook in registry.hooks("ringfence_open_store")] == [None]
