"""Deployment, which is not policy: `ringfence.toml`, with `RINGFENCE_*` variables over it.

Every mistake is an error that names file and key; a key that nobody reads is one, because a misspelt
`required` would otherwise quietly switch an audit off.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from ringfence.engine.seams.acceptable import name_fault, pattern_fault, url_fault
from ringfence.engine.seams.mistakes import Mistake, nearest, settings_error
from ringfence.engine.seams.reported import mistakes_of
from ringfence.engine.seams.said import DEFAULT_STORE, Said, put_together, read

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=1)]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_more)]

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Limits(BaseModel):
    """What bounds Ringfence itself, as opposed to agents."""

    model_config = _STRICT

    queue_events: Count = 10_000
    """Events that may wait for the log; beyond it callers wait."""
    arguments_bytes: Count = 1_048_576
    """A call whose canonical arguments are larger is denied."""
    observer_events: Count = 10_000
    """Events that may wait for one observer; beyond it they are dropped and counted."""
    sink_s: Seconds = 10.0
    """Seconds a sink has for one batch, unless its section says `timeout_s`."""
    backend_s: Seconds = 30.0
    """Seconds an approval backend has to deliver a question."""


class SecretSettings(BaseModel):
    """What never reaches the disk: the section `[secrets]`."""

    model_config = _STRICT

    patterns: Names = Field(default=(), repr=False)
    """RE2 patterns; what they match anywhere in a text is hidden."""
    names: Names = ()
    """Names of arguments and fields; their values are hidden."""

    @field_validator("patterns")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (fault := pattern_fault(value)) is not None:
            raise ValueError(fault)
        return value

    @field_validator("names")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (fault := name_fault(value)) is not None:
            raise ValueError(fault)
        return value


class SinkSettings(BaseModel):
    """One `[sinks.NAME]` section."""

    model_config = _STRICT

    required: bool = True
    """True: a call whose events it cannot take does not happen.  False: it only observes."""
    timeout_s: Seconds | None = None
    values: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """The sink's own settings, unchecked: they may hold secrets and are never printed."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key in ("required", "timeout_s")}
        return {**own, "values": {key: value for key, value in data.items() if key not in own}}


class Settings(BaseModel):
    """Everything that a deployment says.  `load` reads it; building one by hand is for tests."""

    model_config = _STRICT

    policy: Path | None = None
    """The policy file; None: the caller names it."""
    ceilings: Annotated[tuple[Path, ...], BeforeValidator(_one_or_more)] = ()
    """The ceilings that the deployment pins over every policy: files that only narrow."""
    store: str = Field(default=DEFAULT_STORE, repr=False)
    """The store URL.  It may hold a password and is shown by `without_password` alone."""
    ledger: str | None = Field(default=None, repr=False)
    """The URL of the store that keeps budgets and orders to stop instead; None: `store` does."""
    mode: Literal["enforce"] = "enforce"
    plugins: Names = ()
    """The plugins that may load: names of entry points, or `DISTRIBUTION:NAME`."""
    groups: dict[str, Names] = Field(default_factory=dict)
    """Approver group -> the people who may answer."""
    approvals: dict[str, Names] = Field(default_factory=dict)
    """Approver group, or `default` -> the backends that are asked."""
    sinks: dict[str, SinkSettings] = Field(default_factory=dict)
    backends: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False, exclude=True)
    """The settings of approval backends, unchecked: they may hold secrets and are never printed."""
    isolates: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """The settings of what runs isolates, unchecked: they may hold secrets and are never printed."""
    mcp: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """The settings of the MCP gateway, unchecked: they may hold secrets and are never printed."""
    secrets: SecretSettings = SecretSettings()
    limits: Limits = Limits()

    _file: Path | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that was read; None if there was none."""
        return self._file

    @property
    def folder(self) -> Path:
        """Where relative paths start: the file's folder, else the current one."""
        return self._folder or Path.cwd()

    @property
    def where(self) -> str:
        """What messages call these settings."""
        return str(self._file) if self._file else "settings"

    def people(self, group: str) -> tuple[str, ...]:
        """Return who may answer for `group`; nobody if the settings do not name it."""
        return self.groups.get(group, ())

    @field_validator("mode", mode="before")
    @classmethod
    def _only_enforce(cls, value: Any) -> Any:
        if value == "shadow":
            raise ValueError(
                "`shadow` is not part of this version: it would let every call through; write `enforce`"
            )
        if value != "enforce":
            raise ValueError("must be `enforce`")
        return value

    @field_validator("store", "ledger")
    @classmethod
    def _a_url(cls, value: str | None) -> str | None:
        if value is not None and (fault := url_fault(value)) is not None:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _groups_are_known(self) -> Self:
        if "default" in self.groups:
            raise ValueError("a group must not be called `default`: `[approvals]` uses that word")
        for group in self.approvals:
            if group != "default" and group not in self.groups:
                near = nearest(group, [*self.groups, "default"]) or "add it to `[groups]`"
                raise ValueError(f"`[approvals]` names the unknown group `{group}` ({near})")
        return self

    @classmethod
    def load(cls, path: str | Path | None = None, *, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Args:
            path: The file; None: `RINGFENCE_SETTINGS`, else `ringfence.toml` in the current folder if
                there is one, else the defaults.
            env: The environment; None: the process's.

        Raises:
            SettingsError: All mistakes, each with file or variable, key, what, and how to mend.
        """
        return cls._built(read(path, os.environ if env is None else env))

    @classmethod
    def of(cls, data: Mapping[str, Any], *, folder: str | Path | None = None) -> Self:
        """Build settings from the content of a file; raise SettingsError like `load`."""
        return cls._built(put_together(dict(data), None, {}, folder=Path(folder or ".").absolute()))

    @classmethod
    def _built(cls, said: Said) -> Self:
        mistakes = list(said.mistakes)
        where = str(said.file) if said.file else "settings"
        try:
            settings = cls.model_validate(said.data)
        except ValidationError as error:
            for mistake in mistakes_of(error, cls, where=where, quotes_secrets=False):
                origin = said.origins.get(tuple(mistake.key.split(".")))
                mistakes.append(
                    Mistake(origin, "", mistake.what, mistake.help) if origin is not None else mistake
                )
            raise settings_error(mistakes) from None
        if mistakes:
            raise settings_error(mistakes)
        settings._file, settings._folder = said.file, said.folder
        return settings
