"""Check a policy and draw every mistake in it."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, POLICY_INVALID
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("file", metavar="FILE", help="a .fence file")


def run(asked: Namespace, say: Say) -> int:
    """Check one policy file."""
    from ringfence.cli.policy import diagnostic_record, policy_of
    from ringfence.dsl.diagnostic import draw

    loaded = policy_of(asked)
    plan, found = loaded.plan, loaded.diagnostics
    if say.json:
        say.data(
            {
                "file": asked.file,
                "valid": plan is not None,
                "policy": plan and plan.policy,
                "version": plan and plan.version,
                "digest": plan and plan.digest,
                "diagnostics": [diagnostic_record(one) for one in found],
            }
        )
    else:
        if found:
            say.lines(draw(found))
        if plan is not None:
            tools = "" if len(plan.tools) == 1 else "s"
            say.line(
                f"{plan.policy}: ", ("fine", "green"), f" ({len(plan.tools)} tool{tools}, {plan.digest})"
            )
    return POLICY_INVALID if plan is None else FINE
