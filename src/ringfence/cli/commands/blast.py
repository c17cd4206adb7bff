"""Print the most damage that a policy allows: the worst case of each tool."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ringfence.cli.exits import FINE, POLICY_INVALID
from ringfence.cli.say import Piece, Say

if TYPE_CHECKING:
    from ringfence.dsl.blast import Bound

HEAD = ("tool", "traits", "calls per run", "calls per day", "who signs", "resources, amounts")


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("file", metavar="FILE", help="a .fence file")


def run(asked: Namespace, say: Say) -> int:
    """Print one row per tool that somebody can call."""
    from ringfence.cli.policy import policy_of
    from ringfence.dsl.blast import blast
    from ringfence.dsl.diagnostic import draw

    loaded = policy_of(asked)
    if loaded.plan is None:
        for line in draw(loaded.diagnostics).split("\n"):
            say.note(line)
        return POLICY_INVALID
    rows = blast(loaded.plan)
    if say.json:
        plan = loaded.plan
        say.data({"policy": plan.policy, "digest": plan.digest, "tools": [row.record() for row in rows]})
        return FINE
    signers = {"nobody": "red", "sometimes": "yellow", "always": "green"}
    table: list[list[Piece]] = []
    for row in rows:
        worst: list[Piece] = [_count(row.per_run), _count(row.per_day)]
        by = f" ({', '.join(row.by)})" if row.by else ""
        bounds = "; ".join((*row.resources, *row.amounts)) or "-"
        traits = ", ".join(row.traits) or "-"
        table.append([row.tool, traits, *worst, (row.signed + by, signers[row.signed]), bounds])
    say.table(
        table, head=("tool", "traits", "calls per run", "calls per day", "who signs", "resources, amounts")
    )
    return FINE


def _count(bound: "Bound") -> Piece:
    return (str(bound), "red") if bound.count is None else str(bound)
