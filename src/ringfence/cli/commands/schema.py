"""Print the JSON Schema of every event, as `ringfence export` and sinks give them.

Its version stands in `$id` and in the `schema` of every event.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes: nothing."""


def run(asked: Namespace, say: Say) -> int:
    """Print the schema; there is no other form of it than JSON."""
    from ringfence.engine.journal.schema import schema

    say.data(schema())
    return FINE
