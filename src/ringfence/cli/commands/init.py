"""Write a first policy from a live tool set: nothing in it that could do harm is open."""

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ringfence.cli.exits import FINE, CommandError
from ringfence.cli.say import Say
from ringfence.engine.seams.escape import escaped

_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument(
        "--tools", metavar="WHAT", action="append", required=True, help="a live tool set; may be given again"
    )
    command.add_argument("--policy", metavar="NAME", help="the policy's name; else that of the file")
    command.add_argument("--out", metavar="FILE", help="write there (never over a file) instead of to stdout")


def run(asked: Namespace, say: Say) -> int:
    """Write one policy."""
    from ringfence.cli.scaffold.words import name_like
    from ringfence.cli.scaffold.writing import scaffold, source_of
    from ringfence.cli.tool_sets import read_tools

    if asked.policy is not None and not _NAME.fullmatch(asked.policy):
        raise CommandError(
            f"`{escaped(asked.policy)}` is no policy's name", help="small letters, digits and `_`"
        )
    if asked.out and (Path(asked.out).exists() or Path(asked.out).is_symlink()):
        raise CommandError(f"{asked.out} is there already", help="nothing was written over it")
    tools = read_tools(asked.tools, say)
    if not tools:
        raise CommandError("there are no tools to write of", help="give a tool set that is not empty")
    name = asked.policy or (name_like(Path(asked.out).stem) if asked.out else "scaffolded")
    with say.progress("writing", len(tools), worth=100) as advance:
        made = scaffold(name, tools, ", ".join(map(source_of, asked.tools)), advance)
    plan = made.loaded.plan
    assert plan is not None, "a scaffold without a plan raises"
    if asked.out:
        _write(asked.out, made.text)
    if say.json:
        say.data(
            {
                "policy": plan.policy,
                "digest": plan.digest,
                "file": asked.out,
                "text": made.text,
                "tools": [
                    {
                        "name": one.name,
                        "bound": one.bound,
                        "open": one.guess.opens,
                        "because": one.guess.because,
                        "needs": list(one.guess.needs),
                        "traits": sorted(one.guess.traits),
                        "untaken": one.untaken,
                    }
                    for one in made.tools
                ],
                "left_out": made.unsayable,
            }
        )
    elif not asked.out:
        say.lines(made.text)
    open_ones = sum(one.guess.opens for one in made.tools)
    say.note(
        f"{len(made.tools)} tool{'' if len(made.tools) == 1 else 's'}, {open_ones} open;"
        " read the policy whole, and write an `allow` where one belongs"
    )
    if asked.out:
        say.note(f"next: `ringfence check {asked.out}` names each tool that nothing lets run yet")
    if made.unsayable:
        say.note(f"left out, since no policy can say the name: {len(made.unsayable)}")
    return FINE


def _write(file: str, text: str) -> None:
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise CommandError(f"{file} is there already", help="nothing was written over it") from error
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from error
