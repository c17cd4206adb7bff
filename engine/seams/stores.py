"""Which plugin opens a store URL, and which stores a guard's settings put together."""

from collections.abc import Sequence
from pathlib import Path

from ringfence.engine.seams.bounded import said
from ringfence.engine.seams.composed import ComposedStore
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.mistakes import Mistake, nearest, settings_error
from ringfence.engine.seams.ports import Store
from ringfence.engine.seams.registry import Hook, Registry
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.store_urls import absolute_url, hide_passwords


def store_of(settings: Settings, registry: Registry, url: str | None = None) -> Store:
    """Return the store of these settings, `url` in the place of their `store`; not yet opened.

    Raises:
        SettingsError: No plugin, or more than one, takes a URL.
        EngineError: The plugin failed.
    """
    log_url = absolute_url(url if url is not None else settings.store, Path.cwd())
    ledger_url = None if settings.ledger is None else absolute_url(settings.ledger, Path.cwd())
    log = one_store(settings, registry, "store", log_url)
    if ledger_url is None or ledger_url == log_url:
        return log
    return ComposedStore(log, one_store(settings, registry, "ledger", ledger_url))


def one_store(settings: Settings, registry: Registry, key: str, url: str) -> Store:
    """Return the store that one URL names, which stands under `key`; raise as `store_of`."""
    takers: list[tuple[str, Store]] = []
    hooks: Sequence[Hook] = registry.hooks("ringfence_open_store")
    for hook in hooks:
        try:
            store = hook.call(url=url)
        except Exception as error:  # a store is a gate: without it nothing is decided
            # SECURITY: without the plugin's own error behind it: that may quote the URL and its password.
            raise EngineError(
                f"the plugin `{hook.plugin}` cannot open the store: {hide_passwords(said(error), url)}",
                help="see its documentation for the form of its URLs",
            ) from None
        if store is not None:
            takers.append((hook.plugin, store))
    if len(takers) == 1:
        return takers[0][1]
    scheme = url.partition(":")[0]  # only the scheme: the rest may hold a password
    if takers:
        names = " and ".join(f"`{plugin}`" for plugin, _ in takers)
        what, help = f"{names} both take `{scheme}:`", "allow one of them"
    elif ":" not in url:
        what, help = f"`{url}` is a path, and no URL", f"a file is `sqlite:///{url}`"
    else:
        known = _schemes(registry)
        what = f"no plugin takes the store URL `{scheme}:...`"
        help = nearest(scheme, known) or "known: " + ", ".join(f"`{name}:`" for name in known)
    raise settings_error([Mistake(settings.where, key, what, help)])


def _schemes(registry: Registry) -> list[str]:
    known: list[str] = []
    for hook in registry.hooks("ringfence_store_schemes"):
        try:
            known += [str(scheme) for scheme in hook.call()]
        except Exception:  # only the help of an error that is raised anyway
            known.append(f"those of {hook.plugin}")
    return known
