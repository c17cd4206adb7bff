"""The words of the command line: one parser over all commands, made without loading what they do."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from ringfence.cli.exits import CANNOT_RUN, CommandError

GROUPS = {
    "write": ("init", "check", "fmt", "test", "explain", "convert"),
    "analyse": ("blast",),
    "operate": (
        *("runs", "show", "why", "tail", "stats", "replay", "backtest"),
        *("approvals", "approve", "deny", "kill", "verify", "purge", "export", "schema"),
    ),
    "serve": ("mcp", "pins", "plugins", "doctor"),
}
"""Every command, as `--help` lists them; each is a module of `ringfence.cli.commands`."""


class Words(argparse.ArgumentParser):
    """A parser whose mistakes end with exit code 1, in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words on the command line."""
        raise CommandError(message, help=f"see `{self.prog} --help`", code=CANNOT_RUN)


Run = Callable[..., int]


def parser() -> argparse.ArgumentParser:
    """Return the parser; a parsed command line has `command`, its module's name."""
    words = Words(
        prog="ringfence",
        description="A policy language and a runtime guard for every tool call of an agent.",
        epilog="exit codes: 0 fine, 1 could not run, 2 denied or failed, 3 policy invalid, 4 pending",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    words.add_argument("--version", action="store_true", help="print the version and end")
    _everywhere(words, default=None)
    commands = words.add_subparsers(dest="command", metavar="COMMAND", parser_class=Words)
    for name in (name for names in GROUPS.values() for name in names):
        module = import_module(f"ringfence.cli.commands.{name}")
        summary = (module.__doc__ or "\n").splitlines()[0]  # `-OO` leaves none
        command = commands.add_parser(name, help=summary, description=module.__doc__, allow_abbrev=False)
        _everywhere(command, default=argparse.SUPPRESS)
        module.words(command)
    return words


def _everywhere(words: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add the options that stand before or after the command alike."""
    words.add_argument(
        "--store", metavar="URL", default=default, help="the store, e.g. sqlite:///ringfence.db"
    )
    words.add_argument(
        "--settings", metavar="FILE", default=default, help="the deployment's settings, else ringfence.toml"
    )
    words.add_argument("--json", action="store_true", default=default or False, help="print data as JSON")
