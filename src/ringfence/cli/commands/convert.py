"""Write a policy from a YAML table of tools."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.exits import FINE, POLICY_INVALID, CommandError
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from ringfence.cli.conversion.document import Table


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("file", metavar="FILE", help="a .yaml file")
    command.add_argument("--tools", metavar="WHAT", help="a live tool set, with its schemas")
    command.add_argument(
        "--approver",
        metavar="TOOL=NAME:GROUP",
        action="append",
        default=[],
        help="who approves a tool whose gate names nobody",
    )
    command.add_argument(
        "--capability", metavar="NAME=TRAIT", action="append", default=[], help="what a capability is"
    )
    command.add_argument("--out", metavar="FILE", help="write there (never over a file) instead of to stdout")


def run(asked: Namespace, say: Say) -> int:
    """Convert one table."""
    from ringfence.cli.conversion.document import read
    from ringfence.cli.conversion.writing import write
    from ringfence.cli.tool_sets import read_tools
    from ringfence.dsl.diagnostic import draw
    from ringfence.dsl.load import load_text

    try:
        text = Path(asked.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{asked.file} cannot be read: {error}", help="name a YAML file") from error
    table = read(text, asked.file)
    asking = sys.stdin.isatty() and not say.json
    answer = _ask if asking else None
    gates = _gates(table, _pairs(asked.approver, "--approver"), answer)
    traits = _traits(table, _pairs(asked.capability, "--capability"), answer)
    tools = read_tools([asked.tools]) if asked.tools else {}
    policy = write(table, traits, gates, {name: tool.schema for name, tool in tools.items()})
    loaded = load_text(policy, asked.out or "converted.fence")
    for line in draw(loaded.diagnostics).split("\n") if loaded.diagnostics else ():
        say.note(line)
    if loaded.plan is None:
        return POLICY_INVALID
    if asked.out:
        try:
            with open(asked.out, "x", encoding="utf-8") as file:
                file.write(policy)
        except FileExistsError as error:
            raise CommandError(f"{asked.out} is there already", help="nothing was written over it") from error
    if say.json:
        say.data({"policy": table.policy, "digest": loaded.plan.digest, "text": policy, "file": asked.out})
    elif not asked.out:
        say.lines(policy)
    return FINE


Answer = Callable[[str], str]


def _ask(question: str) -> str:
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _gates(table: "Table", given: Mapping[str, str], answer: Answer | None) -> dict[str, tuple[str, str]]:
    _known(given, {row.name for row in table.tools if row.gate}, "--approver names no tool with a gate:")
    gates: dict[str, tuple[str, str]] = {}
    for row in table.tools:
        if row.gate is None:
            continue
        said = given.get(row.name)
        if said is None and row.gate.approver is None:
            said = answer(f"Who approves `{row.name}`? NAME:GROUP") if answer is not None else ""
            if not said:
                raise CommandError(
                    f"`{row.name}` requires an approval and nobody is named who gives it",
                    help=f"say it: --approver {row.name}=owner:crm-owners (an approver, and its group)",
                    code=POLICY_INVALID,
                )
        name, _, group = (said or f"{row.gate.approver}").partition(":")
        gates[row.name] = (name, group or name)
    return gates


def _traits(table: "Table", given: Mapping[str, str], answer: Answer | None) -> dict[str, str]:
    from ringfence.cli.conversion.writing import trait_of

    names = list(dict.fromkeys(name for row in table.tools for name in row.capabilities))
    _known(given, set(names), "--capability names no capability of the table:")
    traits: dict[str, str] = {}
    for name in names:
        trait = given.get(name) or trait_of(name)
        if trait is None:
            asked = f"What is `{name}`: read, write, external, destructive, code or money?"
            trait = answer(asked) if answer is not None else ""
            if not trait:
                raise CommandError(
                    f"what is the capability `{name}`: read, write, external, destructive, code or money?",
                    help=f"say it: --capability {name}=read",
                    code=POLICY_INVALID,
                )
        traits[name] = trait
    return traits


def _known(given: Mapping[str, str], known: set[str], why: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise CommandError(f"{why} {', '.join(unknown)}")


def _pairs(options: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name or not value:
            raise CommandError(f"{flag} takes NAME=VALUE, not `{option}`")
        pairs[name] = value
    return pairs
