"""Stand between an MCP client and its servers: every call of a tool is decided by the policy.

One server: `ringfence mcp --policy POLICY -- COMMAND ...`, with the client on stdin and stdout.  Several:
`--server NAME=COMMAND` or `--server NAME=URL`, or `[mcp.servers.NAME]` in the settings; a policy binds their
tools as "NAME/TOOL", a client sees them as NAME__TOOL.  With --listen, clients connect over HTTP.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from ringfence.cli.exits import CANNOT_RUN, FINE, POLICY_INVALID, CommandError
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from ringfence.adapters.mcp import Options, ServerSpec
    from ringfence.dsl.plan import Json, Plan
    from ringfence.engine.decision.calls import Principal
    from ringfence.engine.enforcement.guard import Guard
    from ringfence.engine.seams.settings import Settings


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("--policy", metavar="FILE", help="the policy, else the settings' one")
    command.add_argument(
        "--server",
        metavar="NAME=COMMAND",
        action="append",
        default=[],
        help="a server behind the gateway, or NAME=URL; may be said several times",
    )
    command.add_argument(
        "--env",
        metavar="NAME",
        action="append",
        default=[],
        help="a variable of ours that the servers' processes get; may be said several times",
    )
    command.add_argument(
        "--pinned", action="store_true", help="only tools that a person has pinned; see `ringfence pins`"
    )
    command.add_argument(
        "--listen", metavar="HOST:PORT", help="serve HTTP there, instead of stdin and stdout"
    )
    command.add_argument(
        "--token-file", metavar="FILE", help="who may connect over HTTP, and on whose behalf: see docs/mcp.md"
    )
    command.add_argument("--user", metavar="NAME", help="on whose behalf the client acts")
    command.add_argument("--workspace", metavar="NAME", help="in which workspace")
    command.add_argument(
        "--principal",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="more of what the policy's `principal has`; may be said several times",
    )
    command.add_argument("--agent", metavar="NAME", help="which agent of the policy the client is")
    command.add_argument(
        "--session", metavar="NAME", help="the session that its runs belong to; one of its own if not said"
    )
    command.add_argument("server_command", metavar="COMMAND", nargs="*", help="the only server, after `--`")


def run(asked: Namespace, say: Say) -> int:
    """Serve until the client hangs up or the process is told to end."""
    try:
        from ringfence.adapters.mcp.servers import ServerMistakeError
    except ImportError as error:
        raise CommandError(str(error), help='pip install "ringfence[mcp]"') from error
    import asyncio

    from ringfence.adapters.mcp.back import ServerAwayError
    from ringfence.cli.desk import settings_of
    from ringfence.engine.seams.errors import PolicyError, RingfenceError

    settings = settings_of(asked)
    try:
        servers = _servers(asked, settings)
        guard = _guard(asked, settings)
        options = _options(asked, guard, _note(say))
        asyncio.run(_serve(guard, servers, options, asked, say))
    except ServerMistakeError as error:
        raise CommandError(str(error), help="see `ringfence mcp --help`") from error
    except ServerAwayError as error:
        raise CommandError(str(error), help="start the command by itself and see what it says") from error
    except PolicyError as error:
        raise CommandError(str(error), help=error.help or "", code=POLICY_INVALID) from error
    except RingfenceError as error:
        raise CommandError(str(error), help=error.help or "", code=CANNOT_RUN) from error
    return FINE


async def _serve(
    guard: "Guard", servers: "list[ServerSpec]", options: "Options", asked: Namespace, say: Say
) -> None:
    from ringfence.adapters.mcp.gateway import Gateway
    from ringfence.adapters.mcp.stdio import own_stdio, serve_stdio

    try:
        if asked.listen is not None:
            await _listen(guard, servers, options, asked, say)
            return
        with own_stdio() as (stdin, stdout):
            async with Gateway(guard, servers, options) as gateway:
                await serve_stdio(gateway, stdin=stdin, stdout=stdout)
    finally:
        await guard.aclose()


async def _listen(
    guard: "Guard", servers: "list[ServerSpec]", options: "Options", asked: Namespace, say: Say
) -> None:
    from dataclasses import replace
    from pathlib import Path

    from ringfence.adapters.mcp.gateway import Gateway
    from ringfence.adapters.mcp.http import PATH, application, listen, parse_address, serve_http
    from ringfence.adapters.mcp.tokens import Tokens

    host, port = parse_address(asked.listen)
    tokens = None if asked.token_file is None else Tokens.read(Path(asked.token_file), guard.plan)
    if tokens is not None:
        options = replace(options, whose=tokens.whose)
    application(Gateway(guard, servers, options), host=host, tokens=tokens)  # before anything is started
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}{PATH}"

        def ready() -> None:
            say.data({"url": url}) if say.json else say.line(f"listening on {url}")
            say.flush()

        async with Gateway(guard, servers, options) as gateway:
            await serve_http(gateway, listening, host=host, tokens=tokens, ready=ready)


def _servers(asked: Namespace, settings: "Settings") -> "list[ServerSpec]":
    import os

    from ringfence.adapters.mcp.configured import configured_servers
    from ringfence.adapters.mcp.servers import ServerSpec, parse_server

    missing = [name for name in asked.env if name not in os.environ]
    if missing:
        raise CommandError(f"the variable `{missing[0]}` is not set", help="set it, or leave --env out")
    env = {name: os.environ[name] for name in asked.env}
    if asked.server_command:
        if asked.server:
            raise CommandError(
                "a command after `--` is the only server", help="name each of several with --server"
            )
        return [ServerSpec(command=tuple(asked.server_command), env=env)]
    servers = [parse_server(said, env=env) for said in asked.server]
    servers += configured_servers(settings.mcp, env)
    if not servers:
        raise CommandError(
            "no server is named",
            help="write its command after `--`, or `--server NAME=COMMAND`, or `[mcp.servers.NAME]` "
            "in the settings",
        )
    return servers


def _guard(asked: Namespace, settings: "Settings") -> "Guard":
    from ringfence.engine.enforcement.guard import Guard

    return Guard.load(asked.policy, settings=settings, store=asked.store)


def _options(asked: Namespace, guard: "Guard", note: Callable[[str], None]) -> "Options":
    from pathlib import Path

    from ringfence.adapters.mcp import Options
    from ringfence.adapters.mcp.pins import Pins, pins_beside

    policy: str | Path | None = asked.policy if asked.policy is not None else guard.settings.policy
    assert policy is not None  # else there were no guard
    return Options(
        principal=_principal(asked, guard.plan),
        agent=asked.agent,
        session=asked.session,
        pins=Pins.open(pins_beside(Path(policy))),
        first_use=not asked.pinned,
        say=note,
    )


def _principal(asked: Namespace, plan: "Plan") -> "Principal | None":
    from ringfence.engine.decision.calls import Principal

    said: dict[str, Json] = {}
    for one in asked.principal:
        name, equals, value = one.partition("=")
        if not equals or name not in plan.principal:
            known = ", ".join(plan.principal) or "none"
            raise CommandError(
                f"`{one}` says nothing that the policy asks of a principal",
                help=f"write NAME=VALUE; what it has: {known}; --user and --workspace say the others",
            )
        said[name] = _typed(value)
    if asked.user is None and asked.workspace is None and not said:
        return None
    return Principal(asked.user, asked.workspace, **said)


def _typed(value: str) -> "Json":
    import json

    try:
        read = json.loads(value)
    except ValueError:  # a text that needs no quotes
        return value
    return read if isinstance(read, (bool, int, float)) else value


def _note(say: Say) -> Callable[[str], None]:
    """Return what tells people: stdout belongs to the protocol."""

    def note(text: str) -> None:
        say.note(f"ringfence: {text}")

    return note
