"""Approve a call that waits: exactly the call that the ticket shows, once.

Who may answer is what the policy and the settings' groups say.  --by is taken at its word: whoever can write
to the store can name anyone, so guard the store as you guard the approvals.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("ticket", metavar="ID", help="a ticket's id, like T-7QK2M4XA")
    command.add_argument("--by", metavar="NAME", required=True, help="who answers")
    command.add_argument("--because", metavar="TEXT", help="why, for the record")


def run(asked: Namespace, say: Say) -> int:
    """Approve one ticket."""
    from ringfence.cli.answering import answer

    return answer(asked, say, "approve")
