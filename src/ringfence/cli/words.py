"""The words of the command line: one parser over all commands; each loads its own when it is said."""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

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


class _All(Words):
    """Knows the commands by name; what each is for is looked up when the help is wanted."""

    def format_help(self) -> str:
        """Return the help of the command line as a whole."""
        return _over(Words, whole=True).format_help()


class Command(Words):
    """One command, whose module is loaded when its words are read."""

    def __init__(self, *, module: str, **about: Any) -> None:
        super().__init__(**about)
        self._module: str | None = module

    def parse_known_args(  # type: ignore[override]  # its overloads say the same of each namespace
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Load the words of the command, and read with them."""
        self.load()
        return super().parse_known_args(args, namespace)

    def load(self) -> None:
        """Take in the command's own words; safe to repeat."""
        name, self._module = self._module, None
        if name is not None:
            module = import_module(f"ringfence.cli.commands.{name}")
            self.description = module.__doc__
            _everywhere(self, default=argparse.SUPPRESS)
            module.words(self)


Run = Callable[..., int]


def parser() -> argparse.ArgumentParser:
    """Return the parser; a parsed command line has `command`, its module's name."""
    return _over(_All, whole=False)


def _over(made: type[Words], *, whole: bool) -> argparse.ArgumentParser:
    words = made(
        prog="ringfence",
        description="A policy language and a runtime guard for every tool call of an agent.",
        epilog="exit codes: 0 fine, 1 could not run, 2 denied or failed, 3 policy invalid, 4 pending",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    words.add_argument("--version", action="store_true", help="print the version and end")
    _everywhere(words, default=None)
    commands = words.add_subparsers(
        dest="command", metavar="COMMAND", parser_class=Command, prog=words.prog
    )  # named: else `argparse` would write a usage to find it
    for name in (name for names in GROUPS.values() for name in names):
        summary = None
        if whole:
            told = import_module(f"ringfence.cli.commands.{name}").__doc__  # `-OO` leaves none
            summary = (told or "\n").splitlines()[0]
        commands.add_parser(name, help=summary, module=name, allow_abbrev=False)
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
