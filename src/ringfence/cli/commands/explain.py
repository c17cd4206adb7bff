"""Print what a policy means: its plan, every short form rewritten."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE, POLICY_INVALID, CommandError
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("file", metavar="FILE", help="a .fence file")


def run(asked: Namespace, say: Say) -> int:
    """Explain one policy file."""
    from ringfence.cli.policy import policy_of
    from ringfence.dsl.diagnostic import draw
    from ringfence.dsl.explain import explain
    from ringfence.dsl.sentences import sentences

    loaded = policy_of(asked)
    if loaded.plan is None and loaded.valid:
        raise CommandError(
            f"{asked.file} is a ceiling, and decides nothing of itself",
            help="explain a policy that it stands over",
        )
    if loaded.plan is None:
        for line in draw(loaded.diagnostics).split("\n"):
            say.note(line)
        return POLICY_INVALID
    if say.json:
        plan = loaded.plan
        say.data({"policy": plan.policy, "digest": plan.digest, "core": plan.core, "agents": sentences(plan)})
    else:
        say.lines(explain(loaded.plan))
    return FINE
