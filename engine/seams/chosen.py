"""From settings and plugins to the sinks and backends of one guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ringfence.engine.seams.bounded import said
from ringfence.engine.seams.executors import isolate_settings
from ringfence.engine.seams.hookspecs import ApprovalBackend, AuditSink
from ringfence.engine.seams.mistakes import Mistake, nearest, settings_error
from ringfence.engine.seams.registry import Registry
from ringfence.engine.seams.reported import keys_of
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.validated import validated

E = TypeVar("E", AuditSink, ApprovalBackend)

EXTRAS = {"export_otel": "otel", "webhook": "webhook", "witness": "sign"}
"""What of Ringfence's own stands behind an extra."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The extensions that the settings choose, made, not yet opened."""

    required: tuple[tuple[AuditSink, float], ...]
    """Sinks that must take every event, each with the seconds it has for a batch."""
    observers: tuple[tuple[AuditSink, float], ...]
    backends: Mapping[str, ApprovalBackend]
    routes: Mapping[str, tuple[str, ...]]
    """Approver group, or `default` (always there) -> names of backends."""


def chosen(settings: Settings, registry: Registry, *, default_backend: str) -> Chosen:
    """Make what the settings choose; raise SettingsError with everything that is wrong with it."""
    mistakes: list[Mistake] = []
    sinks = _sinks(settings, registry, mistakes)
    routes = dict(settings.approvals)
    kinds = _classes(registry, "ringfence_approval_backends", ApprovalBackend, mistakes)  # type: ignore[type-abstract]
    if "default" not in routes:
        routes["default"] = (default_backend,) if default_backend in kinds else ()
    backends = _backends(settings, kinds, routes, mistakes)
    if settings.isolates:  # else nothing is asked of who runs isolates before it is needed
        isolate_settings(settings, registry, mistakes)
    if mistakes:
        raise settings_error(mistakes)
    return Chosen(
        required=tuple((sink, seconds) for sink, required, seconds in sinks if required),
        observers=tuple((sink, seconds) for sink, required, seconds in sinks if not required),
        backends=backends,
        routes=routes,
    )


def _sinks(
    settings: Settings, registry: Registry, mistakes: list[Mistake]
) -> list[tuple[AuditSink, bool, float]]:
    kinds = _classes(registry, "ringfence_audit_sinks", AuditSink, mistakes)  # type: ignore[type-abstract]
    for name, kind in kinds.items():
        taken = keys_of(kind.Settings) & {"required", "timeout_s"}
        if taken:
            words = ", ".join(f"`{key}`" for key in sorted(taken))
            mistakes.append(
                Mistake(f"sink `{name}`", "", f"its Settings use {words}", "the words are Ringfence's")
            )
    made = []
    for name, section in settings.sinks.items():
        if name not in kinds:
            mistakes.append(_unknown("sink", name, kinds, settings.where, f"sinks.{name}"))
            continue
        sink = _make(kinds[name], section.values, settings, f"sinks.{name}", mistakes)
        if sink is not None:
            made.append((sink, section.required, section.timeout_s or settings.limits.sink_s))
    return made


def _backends(
    settings: Settings,
    kinds: Mapping[str, type[ApprovalBackend]],
    routes: Mapping[str, tuple[str, ...]],
    mistakes: list[Mistake],
) -> dict[str, ApprovalBackend]:
    made: dict[str, ApprovalBackend] = {}
    for group, names in routes.items():
        for name in names:
            if name not in kinds:
                mistakes.append(
                    _unknown("approval backend", name, kinds, settings.where, f"approvals.{group}")
                )
            elif name not in made:
                given = settings.backends.get(name, {})
                backend = _make(kinds[name], given, settings, f"backends.{name}", mistakes)
                if backend is not None:
                    made[name] = backend
    mistakes += [
        _unknown("approval backend", name, kinds, settings.where, f"backends.{name}")
        for name in settings.backends
        if name not in kinds
    ]
    return made


def _classes(registry: Registry, hook: str, kind: type[E], mistakes: list[Mistake]) -> dict[str, type[E]]:
    """Return what the plugins offer, by name.

    `kind` may be abstract here (it is compared, never made), which mypy cannot be told.
    """
    found: dict[str, type[E]] = {}
    for part in registry.hooks(hook):
        where = f"plugin `{part.plugin}`"
        try:
            offered = list(part.call())
        except Exception as error:  # fails closed: what the settings may need is missing, so nothing starts
            mistakes.append(Mistake(where, "", f"`{hook}` failed: {said(error)}"))
            continue
        for offer in offered:
            if not (isinstance(offer, type) and issubclass(offer, kind)):
                mistakes.append(Mistake(where, "", f"`{hook}` must return classes made from {kind.__name__}"))
                continue
            name = getattr(offer, "name", None)
            if not isinstance(name, str) or not name:
                mistakes.append(Mistake(where, "", f"{offer.__name__} has no `name`"))
            elif name in found:
                # SECURITY: the second of one name must not stand in for the first.
                mistakes.append(
                    Mistake(where, "", f"`{name}` is brought by another plugin too", "allow one of them")
                )
            else:
                found[name] = offer
    return found


def _make(
    kind: type[E], given: Mapping[str, Any], settings: Settings, at: str, mistakes: list[Mistake]
) -> E | None:
    values = validated(kind.Settings, given, settings, at, mistakes)
    if values is None:
        return None
    try:
        return kind(values)
    except Exception as error:  # fails closed: nothing starts without it
        # SECURITY: only the kind of the error: its words may quote a secret of the settings.
        mistakes.append(
            Mistake(settings.where, at, f"{kind.__name__} cannot be made: {type(error).__name__}")
        )
        return None


def _unknown(what: str, name: str, known: Mapping[str, object], where: str, at: str) -> Mistake:
    if name in EXTRAS:
        install = f'pip install "ringfence[{EXTRAS[name]}]"'
        return Mistake(where, at, f"there is no {what} `{name}`", f"it comes with an extra: {install}")
    near = nearest(name, known)
    offered = "known: " + ", ".join(f"`{other}`" for other in known) if known else "no plugin brings one"
    return Mistake(
        where, at, f"there is no {what} `{name}`", near or f"{offered}; is its plugin on `plugins`?"
    )
