"""The section `[mcp]` of the settings: which servers stand behind the gateway."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ringfence.adapters.mcp.servers import ServerMistakeError, ServerSpec

_FROM_OURS = "env:"


class ConfiguredServer(BaseModel):
    """One `[mcp.servers.NAME]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str | None = None
    """What is started; the rest of its command line stands in `args`."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    """Variables of its process; `env:NAME` is the value of one of ours."""
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Sent to the url; `env:NAME` is the value of one of our variables."""


class Configured(BaseModel):
    """The whole section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: dict[str, ConfiguredServer] = Field(default_factory=dict)


def configured_servers(section: Mapping[str, Any], env: Mapping[str, str]) -> list[ServerSpec]:
    """Return the servers that the settings name.

    Args:
        env: Variables that every process gets beside its own.

    Raises:
        ServerMistakeError: With what is wrong and where; values are not repeated.
    """
    try:
        read = Configured.model_validate(dict(section))
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in ("mcp", *first["loc"]))
        raise ServerMistakeError(f"`{where}` of the settings: {first['msg']}") from None
    return [_spec(name, one, env) for name, one in read.servers.items()]


def _spec(name: str, one: ConfiguredServer, env: Mapping[str, str]) -> ServerSpec:
    if one.command is None:
        if one.args or one.env:
            raise ServerMistakeError(f"server `{name}`: `args` and `env` go with a `command`")
        return ServerSpec(name, url=one.url, headers=_filled(name, one.headers))
    if one.headers:
        raise ServerMistakeError(f"server `{name}`: `headers` go with a `url`")
    return ServerSpec(
        name, command=(one.command, *one.args), env={**env, **_filled(name, one.env)}, url=one.url
    )


def _filled(name: str, values: Mapping[str, str]) -> dict[str, str]:
    return {key: _value(name, value) for key, value in values.items()}


def _value(name: str, value: str) -> str:
    if not value.startswith(_FROM_OURS):
        return value
    variable = value.removeprefix(_FROM_OURS)
    if variable not in os.environ:
        raise ServerMistakeError(f"server `{name}`: the variable `{variable}` is not set")
    return os.environ[variable]
