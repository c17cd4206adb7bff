"""Approve a call that waits: exactly the call that the ticket shows, once.

With --edit or --edit-file the call is decided anew with those arguments; what they leave out is gone.
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
    edit = command.add_mutually_exclusive_group()
    edit.add_argument(
        "--edit", metavar="JSON", help="other arguments, a JSON object; the call is decided anew"
    )
    edit.add_argument(
        "--edit-file", metavar="FILE", help="the same, read from a file; `-` is the standard input"
    )


def run(asked: Namespace, say: Say) -> int:
    """Approve one ticket."""
    from ringfence.cli.answering import answer

    return answer(asked, say, "approve")
