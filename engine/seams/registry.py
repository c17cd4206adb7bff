"""Which plugins there are, which may load, and which hooks they bring.

pluggy registers and validates; after that each hook is a tuple of functions, and pluggy is never
called again (it stops at the first exception, and an empty hook costs more than a decision).
The manager belongs to one guard: two guards of one process may allow different plugins.
"""

import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType
from typing import Any

import pluggy

from ringfence.dsl.plan import ISOLATE_EXECUTOR
from ringfence.engine.seams.functions import PolicyFunction, offered
from ringfence.engine.seams.hookspecs import ENTRY_POINTS, PROJECT, Hooks
from ringfence.engine.seams.mistakes import Mistake, nearest, settings_error

BUILT_IN = "ringfence"
"""The distribution of the plugins that Ringfence ships."""

HOOKS = tuple(name for name in vars(Hooks) if name.startswith("ringfence_"))


@dataclass(frozen=True, slots=True)
class PluginRow:
    """What `ringfence plugins` shows of one plugin."""

    name: str
    distribution: str | None
    """None: an object that the host handed to the guard."""
    version: str | None
    allowed: bool
    active: bool
    """True if its hooks are in use."""
    hooks: tuple[str, ...] = ()
    """The hooks it brings; empty if it was not imported."""
    functions: tuple[str, ...] = ()
    """The policy functions and redactors it offers: `is_customer(address: email) gives boolean`."""
    why_not: str | None = None
    """Why it is not active; None if it is."""

    @property
    def installed(self) -> bool:
        """False for a name on the allow-list that no distribution has."""
        return self.distribution is not None or self.active


@dataclass(frozen=True, slots=True)
class Hook:
    """One plugin's function for one hook."""

    plugin: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    """The hook's parameters that the function takes."""

    def call(self, **given: Any) -> Any:
        """Call the function with those of `given` that it takes."""
        return self.function(**{name: given[name] for name in self.parameters})


class Registry:
    """The plugins of one guard.

    Built-ins come through the same door as everyone else's.  Nothing that is wrong is raised here:
    it is in `rows` (for `ringfence plugins`) and in `mistakes` (for `check`).
    """

    def __init__(
        self,
        *,
        allowed: Sequence[str] = (),
        builtins: Mapping[str, object] | None = None,
        extra: Sequence[object] = (),
        where: str = "settings",
    ) -> None:
        """Register everything that may be.

        Args:
            allowed: The allow-list: names of entry points, or `DISTRIBUTION:NAME`.
            builtins: Ringfence's own plugins by name.
            extra: Plugin objects that the host's own code hands over; that code is trusted.
            where: What messages call the place of the allow-list.
        """
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._where = where
        self._rows: list[PluginRow] = []
        self._functions: dict[tuple[str, str], PolicyFunction] = {}
        self._redactors: dict[str, PolicyFunction] = {}
        self.mistakes: list[Mistake] = []
        version = _version(BUILT_IN)
        for name, plugin in (builtins or {}).items():
            self._register(plugin, PluginRow(name, BUILT_IN, version, allowed=True, active=False))
        for plugin in extra:
            self._register(plugin, PluginRow(_name_of(plugin), None, None, allowed=True, active=False))
        self._load_entry_points(allowed)
        self._check_isolates()

    @property
    def rows(self) -> list[PluginRow]:
        """One row for each plugin: built-ins, handed over, installed, allowed but not installed."""
        return list(self._rows)

    def check(self) -> None:
        """Raise SettingsError with everything that is wrong with what should have loaded."""
        if self.mistakes:
            raise settings_error(self.mistakes)

    def hooks(self, name: str) -> tuple[Hook, ...]:
        """Return a snapshot of one hook's functions, in the order in which plugins were registered."""
        order = [plugin for plugin, _ in self._manager.list_name_plugin()]
        found = [
            Hook(impl.plugin_name, impl.function, tuple(impl.argnames))
            for impl in getattr(self._manager.hook, name).get_hookimpls()
        ]
        return tuple(sorted(found, key=lambda hook: order.index(hook.plugin)))

    def function(self, plugin: str, name: str) -> PolicyFunction | None:
        """Return a policy function of a plugin; None: it offers none of that name, or is not active."""
        return self._functions.get((plugin, name))

    def redactor(self, name: str) -> PolicyFunction | None:
        """Return the redactor of that name; None: no active plugin offers it."""
        return self._redactors.get(name)

    def isolates(self) -> Hook | None:
        """Return who runs isolates: a plugin that the deployment chose before our own; None: nobody.

        Two that it chose are in `mistakes`.
        """
        ours = {row.name for row in self._rows if row.distribution == BUILT_IN}
        takers = sorted(self.hooks("ringfence_isolate_executor"), key=lambda hook: hook.plugin in ours)
        return takers[0] if takers else None

    def installed(self, name: str) -> bool:
        """Say whether there is an active plugin, a redactor of one, or who runs isolates, of this name."""
        if name == ISOLATE_EXECUTOR:
            return self.isolates() is not None
        return self.has(name) or self.redactor(name) is not None

    def has(self, plugin: str) -> bool:
        """Say whether a plugin of that name is active."""
        return self._manager.has_plugin(plugin)

    def _load_entry_points(self, allowed: Sequence[str]) -> None:
        # Names only: `entry_points` reads metadata files and imports nothing.
        points = list(importlib.metadata.entry_points(group=ENTRY_POINTS))
        spelt = {f"{_distribution(point)}:{point.name}": point for point in points}
        for entry in allowed:
            if not any(entry in (full, point.name) for full, point in spelt.items()):
                help = nearest(entry, [*spelt, *(point.name for point in points)])
                self._refuse(
                    PluginRow(entry, None, None, allowed=True, active=False),
                    f"the plugin `{entry}` is not installed",
                    help
                    or f"install the distribution that has it, or take it off `plugins` in {self._where}",
                    at="plugins",
                )
        for full, point in sorted(spelt.items()):
            row = PluginRow(point.name, _distribution(point), _version_of(point), allowed=False, active=False)
            if point.name not in allowed and full not in allowed:
                self._rows.append(
                    replace(row, why_not=f"not allowed: add `{point.name}` to `plugins` in {self._where}")
                )
                continue
            row = replace(row, allowed=True)
            # SECURITY: a name alone must not let a second distribution slip in under it.
            twins = [other for other, rival in spelt.items() if rival.name == point.name and other != full]
            if twins and full not in allowed:
                choice = " or ".join(f"`{spelling}`" for spelling in sorted([full, *twins]))
                self._refuse(
                    row,
                    f"several distributions have a plugin `{point.name}`",
                    f"write {choice}",
                    at="plugins",
                )
                continue
            self._import(point, row)

    def _check_isolates(self) -> None:
        ours = {row.name for row in self._rows if row.distribution == BUILT_IN}
        takers = [hook.plugin for hook in self.hooks("ringfence_isolate_executor") if hook.plugin not in ours]
        if len(takers) > 1:  # SECURITY: no plugin takes over where another runs untrusted code
            names = " and ".join(f"`{name}`" for name in takers)
            self.mistakes.append(
                Mistake(self._where, "plugins", f"{names} both run isolates", "allow one of them")
            )

    def _import(self, point: importlib.metadata.EntryPoint, row: PluginRow) -> None:
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:
            # Fails closed: what was to be loaded is missing, and `check` raises.
            self._refuse(
                row,
                f"the plugin `{row.name}` of {row.distribution} cannot be imported: {_said(error)}",
                "mend the plugin, or take it off the allow-list",
            )
            return
        self._register(plugin, row)

    def _register(self, plugin: object, row: PluginRow) -> None:
        try:
            wrong = self._flaw(plugin) or self._taken(row)
            found = [] if wrong else [replace(one, plugin=row.name) for one in offered(plugin)]
            wrong = wrong or self._clash(found)
            if wrong is None:
                self._manager.register(plugin, name=row.name)
                self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            # Fails closed: pluggy refused it, so it is refused here, and `check` raises.
            wrong = str(error).strip().splitlines()[-1]
            if self._manager.get_plugin(row.name) is plugin:
                self._manager.unregister(plugin)
        if wrong is not None:
            self._refuse(row, f"the plugin `{row.name}` is wrong: {wrong}", "")
            return
        for one in found:
            if one.kind == "redactor":
                self._redactors[one.name] = one
            else:
                self._functions[row.name, one.name] = one
        hooks = tuple(name for name in HOOKS if any(hook.plugin == row.name for hook in self.hooks(name)))
        functions = tuple(sorted(one.signature for one in found))
        self._rows.append(replace(row, active=True, hooks=hooks, functions=functions))

    def _clash(self, found: Sequence[PolicyFunction]) -> str | None:
        """Return which of the plugin's functions would stand in for another one."""
        seen: set[tuple[str, str]] = set()
        for one in found:
            if (one.kind, one.name) in seen:
                return f"it offers two of the name `{one.name}`"
            if one.kind == "redactor" and one.name in self._redactors:
                # SECURITY: policies name redactors alone, so the second must not stand in for the first.
                return f"the redactor `{one.name}` is brought by `{self._redactors[one.name].plugin}` too"
            seen.add((one.kind, one.name))
        return None

    def _taken(self, row: PluginRow) -> str | None:
        if not self._manager.has_plugin(row.name):
            return None
        return f"another plugin is already called `{row.name}`"

    def _flaw(self, plugin: object) -> str | None:
        """Return what pluggy would take in silence: unknown hooks, forgotten marks, wrappers."""
        if isinstance(plugin, type):
            return "it is a class: name a module or an object"
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if options is None:
                if name.startswith("ringfence_") and _is_own_function(plugin, name):
                    return f"`{name}` lacks `@hookimpl`"
                continue
            hook = options.get("specname") or name
            if hook not in HOOKS and not options.get("optionalhook"):
                return f"there is no hook `{hook}`; " + (
                    nearest(hook, HOOKS) or "there are " + ", ".join(f"`{known}`" for known in HOOKS)
                )
            if options.get("wrapper") or options.get("hookwrapper"):
                return f"`{name}` is a wrapper: hooks of Ringfence cannot be wrapped"
        return None

    def _refuse(self, row: PluginRow, what: str, help: str, *, at: str = "") -> None:
        self._rows.append(replace(row, why_not=what))
        self.mistakes.append(Mistake(self._where, at, what, help))


def plugins_report(
    *,
    allowed: Sequence[str] = (),
    builtins: Mapping[str, object] | None = None,
    extra: Sequence[object] = (),
    where: str = "settings",
) -> list[PluginRow]:
    """Return what `ringfence plugins` shows; plugins that are wrong are rows, not errors."""
    return Registry(allowed=allowed, builtins=builtins, extra=extra, where=where).rows


def _is_own_function(plugin: object, name: str) -> bool:
    value = inspect.getattr_static(plugin, name)
    imported = isinstance(plugin, ModuleType) and getattr(value, "__module__", None) != plugin.__name__
    return isinstance(value, FunctionType) and not imported


def _name_of(plugin: object) -> str:
    """Return what a plugin that the host hands over is called: a module by the last part of its name."""
    name = getattr(plugin, "__name__", None)
    return name.rpartition(".")[2] if isinstance(name, str) else type(plugin).__name__


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "(unknown)"


def _version_of(point: importlib.metadata.EntryPoint) -> str | None:
    return point.dist.version if point.dist else None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout: there is no version to show
        return None


def _said(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
