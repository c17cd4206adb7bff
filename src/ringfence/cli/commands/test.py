"""Run the tests of policies: every step decided as the guard would, nothing executed."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, POLICY_INVALID, REFUSED
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a .fence file with tests, or a folder: all *_test.fence in it",
    )
    command.add_argument("--coverage", action="store_true", help="list the clauses that no test has reached")
    command.add_argument("--junit", metavar="FILE", help="write the outcome as JUnit XML as well")
    command.add_argument(
        "--ceiling", metavar="FILE", action="append", default=[], help="pin a ceiling; may be given again"
    )


def run(asked: Namespace, say: Say) -> int:
    """Run the tests of the named files."""
    from ringfence.cli.desk import settings_of
    from ringfence.cli.policy_tests import run_tests

    outcome = run_tests(
        asked.paths,
        say,
        settings_of(asked),
        coverage=asked.coverage,
        junit=asked.junit,
        ceilings=tuple(asked.ceiling),
    )
    return {"passed": FINE, "failed": REFUSED, "invalid": POLICY_INVALID}[outcome]
