"""Deny a call that waits; the model is told no more than the policy's text.

Who may answer is what the policy and the settings' groups say.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("ticket", metavar="ID", help="a ticket's id, like T-7QK2M4XA")
    command.add_argument("--by", metavar="NAME", required=True, help="who answers")
    command.add_argument("--because", metavar="TEXT", help="why, for the record")


def run(asked: Namespace, say: Say) -> int:
    """Deny one ticket."""
    from ringfence.cli.answering import answer

    return answer(asked, say, "reject")
