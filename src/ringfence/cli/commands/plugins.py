"""List plugins: which are installed, allowed and active, what they bring, and why one is not active."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import CANNOT_RUN, FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""


def run(asked: Namespace, say: Say) -> int:
    """List plugins; 1 if one that is allowed cannot be used."""
    from dataclasses import asdict

    from ringfence.cli.desk import plugin_rows, settings_of
    from ringfence.engine.seams.escape import escaped

    rows = plugin_rows(settings_of(asked))
    broken = [row for row in rows if row.allowed and not row.active]
    if say.json:
        say.data([{**asdict(row), "installed": row.installed} for row in rows])
        return CANNOT_RUN if broken else FINE
    table = []
    for row in rows:
        state = (
            ("active", "green")
            if row.active
            else ("broken", "red")
            if row.allowed
            else ("not allowed", "yellow")
        )
        hooks = ", ".join([*(name.removeprefix("ringfence_") for name in row.hooks), *row.functions])
        source = " ".join(filter(None, (row.distribution, row.version))) or "-"
        table.append((escaped(row.name), state, escaped(source), escaped(row.why_not or hooks)))
    say.table(table, head=("PLUGIN", "STATE", "FROM", "BRINGS"))
    return CANNOT_RUN if broken else FINE
