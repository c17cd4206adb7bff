"""What `doctor` looks at.  Every look is total: what cannot be looked at is a finding, not an error."""

import asyncio
import os
import platform
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import ringfence
from ringfence.cli import walls
from ringfence.cli.desk import opened, plugin_rows, registry_of, running, settings_of, store_of
from ringfence.cli.exits import CommandError
from ringfence.cli.findings import Finding
from ringfence.cli.walls import Isolates, isolates_here
from ringfence.dsl.plan import Plan
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.executors import isolate_settings
from ringfence.engine.seams.mistakes import Mistake
from ringfence.engine.seams.parts import PARTS, lacking
from ringfence.engine.seams.ports import Examined, Store
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.store_urls import file_of, hide_passwords, without_password

EXTRAS = {
    "langchain": ("langchain", "langchain-core", "langgraph"),
    "mcp": ("mcp", "jsonschema", "referencing"),
    "pydantic-ai": ("pydantic-ai-slim",),
    "openai-agents": ("openai-agents", "jsonschema", "referencing"),
    "isolate": ("mini-racer",),
    "sql": ("sqlglot",),
    "redis": ("redis",),
    "postgres": ("asyncpg",),
    "webhook": ("aiohttp",),
    "sign": ("cryptography",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
}
"""Extra -> the distributions that it brings."""

WITHIN_S = 15.0
"""How long a store may take to say what it is."""

CLOCKS_APART_S = 5.0
"""A store's clock that differs by more is worth a word."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it."""

    findings: list[Finding]
    isolates: Isolates | None = None
    """None: the settings are wrong, so nobody was asked."""


def examine(asked: Namespace) -> Examination:
    """Look at everything, needed things first."""
    findings = [_python(), _package()]
    try:
        settings = settings_of(asked)
    except RingfenceError as error:
        found = Finding("settings", "broken", str(error), error.help or "mend ringfence.toml")
        return Examination([*findings, found, *_extras()])
    found, settings = _settings(settings)
    findings.append(found)
    policy, plan = _policy(settings)
    findings.append(policy)
    findings.extend(_stores(settings))
    findings.extend(_plugins(settings))
    findings.extend(_extras())
    isolates = isolates_here(settings, plan)
    findings.extend(walls.findings(isolates, old=_version("py-mini-racer") is not None))
    return Examination(findings, isolates)


def _python() -> Finding:
    implementation, version = platform.python_implementation(), platform.python_version()
    return Finding("python", "ok", f"{implementation} {version}, {platform.platform()}")


def _package() -> Finding:
    folder = Path(ringfence.__file__).parent
    found = f"ringfence {ringfence.__version__} in {folder}"
    trap = [
        name for name in ("adapters", "dsl", "engine", "grammar", "plugins") if not (folder / name).is_dir()
    ]
    if trap:
        return Finding(
            "package", "broken", f"{found}: a checkout without symbolic links ({', '.join(trap)})",
            "git config core.symlinks true && git checkout -- src",
        )  # fmt: skip
    return Finding("package", "ok", found)


def _settings(settings: Settings) -> tuple[Finding, Settings]:
    """Return what is found, and the settings by which the rest is looked at."""
    wrong: list[Mistake] = []
    if settings.isolates:
        isolate_settings(settings, registry_of(settings), wrong)
    if wrong:
        broken = Finding("settings", "broken", "; ".join(map(str, wrong)), f"mend {settings.where}")
        return broken, settings.model_copy(update={"isolates": {}})
    if settings.file is not None:
        return Finding("settings", "ok", str(settings.file)), settings
    said = sorted(name for name in os.environ if name.startswith("RINGFENCE_") and name != "RINGFENCE_DEBUG")
    by = f"from {', '.join(said)}" if said else "defaults"
    return Finding("settings", "ok", f"no ringfence.toml here: {by}"), settings


def _policy(settings: Settings) -> tuple[Finding, Plan | None]:
    from ringfence.cli.policy import read_policy

    if settings.policy is None:
        return Finding("policy", "note", "the settings name none: the host says it in Guard.load"), None
    try:
        loaded = read_policy(str(settings.policy), settings)
    except (CommandError, RingfenceError) as error:
        return Finding("policy", "broken", str(error), error.help or ""), None
    errors = sum(found.is_error for found in loaded.diagnostics)
    if loaded.plan is None:
        wrong = f"{settings.policy} has {errors} mistakes"
        return Finding("policy", "broken", wrong, f"ringfence check {settings.policy}"), None
    warned = f", {len(loaded.diagnostics)} warnings" if loaded.diagnostics else ""
    found = f"{settings.policy}: {loaded.plan.policy}, {loaded.plan.digest}{warned}"
    return Finding("policy", "ok", found), loaded.plan


def _stores(settings: Settings) -> Iterator[Finding]:
    apart = settings.ledger is not None and settings.ledger != settings.store
    yield from _store(
        settings, "store", settings.store, ("events", "tickets", "leases") if apart else tuple(PARTS)
    )
    if apart and settings.ledger is not None:
        yield from _store(settings, "ledger", settings.ledger, ("ledger", "kill_switch"))


def _store(settings: Settings, key: str, url: str, wanted: tuple[str, ...]) -> Iterator[Finding]:
    file, shown = file_of(url), without_password(url)
    if url == "memory:":
        yield Finding(
            key, "note", "memory: everything in it is lost on exit", "sqlite:///ringfence.db keeps it"
        )
        return
    if file is not None and not file.exists():
        yield _could_be_made(key, shown, file)
        return
    try:
        with running() as loop, opened(store_of(settings, key, url), loop) as store:
            found = loop.submit(asyncio.wait_for(_looked_at(store, key, shown, wanted), WITHIN_S)).result()
        yield from found
    except Exception as error:  # a store is a plugin: whatever it raises is what the doctor has found
        said = hide_passwords(str(error) or type(error).__name__, url)
        yield Finding(
            key, "broken", f"{shown}: {said}", getattr(error, "help", "") or "name another with --store"
        )
        return
    if file is not None:
        yield _journal_mode(key, file)


async def _looked_at(store: Store, key: str, shown: str, wanted: tuple[str, ...]) -> list[Finding]:
    """Return what an opened store says of itself."""
    if (lacks := lacking(store, wanted)) is not None:
        return [Finding(key, "broken", str(lacks), lacks.help or "")]
    if "events" in wanted and store.events is not None:
        head = await store.events.head()
        findings = [Finding(key, "ok", f"{shown} opens: {head.position if head else 0} events")]
    else:
        findings = [Finding(key, "ok", f"{shown} opens")]
    now_ns = await store.now_ns()
    ahead_s = 0 if now_ns is None else (now_ns - time.time_ns()) / 1e9
    if abs(ahead_s) > CLOCKS_APART_S:
        findings.append(
            Finding(
                key,
                "note",
                f"its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this host's",
                "set both by NTP: guards take the later one, and deadlines go by it",
            )
        )
    notes = await store.examined() if isinstance(store, Examined) else ()
    findings += [Finding(key, "note" if one.help else "ok", one.found, one.help) for one in notes]
    return findings


def _could_be_made(key: str, url: str, file: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        return Finding(
            key,
            "broken",
            f"{url}: {file.parent} cannot be written: {error.strerror}",
            "make that folder writable",
        )
    return Finding(key, "ok", f"{url} is not there yet; the first run makes it")


def _journal_mode(key: str, file: Path) -> Finding:
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        return Finding(
            key, "broken", f"{file} cannot be written by this user", "make file and folder writable"
        )
    with file.open("rb") as log:
        header = log.read(20)
    if header[:16] != b"SQLite format 3\0":
        return Finding(key, "broken", f"{file} is not an SQLite database", "name another with --store")
    if header[18:20] == b"\2\2":  # the file format's versions for writing and reading: 2 is write-ahead
        return Finding(key, "ok", "SQLite with a write-ahead log")
    return Finding(key, "note", "SQLite without a write-ahead log: readers block writers")


def _plugins(settings: Settings) -> Iterator[Finding]:
    rows = plugin_rows(settings)
    active = [row.name for row in rows if row.active]
    yield Finding("plugins", "ok", f"active: {', '.join(active) or 'none'}")
    for row in rows:
        if row.allowed and not row.active:
            yield Finding("plugins", "broken", f"{row.name}: {row.why_not}", "see `ringfence plugins`")


def _extras() -> Iterator[Finding]:
    for extra, distributions in EXTRAS.items():
        versions = {name: _version(name) for name in distributions}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing:
            yield Finding(
                extra, "note", f"{found + '; ' if found else ''}not installed: {', '.join(missing)}",
                f"pip install '.[{extra}]' in the checkout, if you need it",
            )  # fmt: skip
        else:
            yield Finding(extra, "ok", found)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
