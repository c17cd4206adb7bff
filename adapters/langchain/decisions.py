"""What a resume may bring back: one decision for each call that waits, in their order.

Whoever holds the thread can resume it, so a decision has no authority: it may take a question back.  To
approve, the host must have verified who says so, and then the engine's own rules hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ringfence.adapters.langchain.suspension import Waiting
from ringfence.dsl.plan import Json
from ringfence.engine.seams.errors import RingfenceError

KINDS: Final = ("approve", "edit", "reject", "respond")
"""As user interfaces for LangGraph know them."""
UNSAID: Final = "rejected on resume"


class ResumeError(RingfenceError, ValueError):
    """A resume whose decisions cannot be read: nothing was done, and every question stays open."""

    code = "resume"


@dataclass(frozen=True, slots=True)
class Review:
    """One decision about one call."""

    kind: Literal["approve", "edit", "reject", "respond", "look"]
    """`look`: nothing was decided, so the guard looks whether the ticket was answered elsewhere."""
    message: str | None = None
    """Of `reject`, why; of `respond`, the answer."""
    edited: Mapping[str, Json] | None = None
    """Of `edit`, all arguments."""


def reviews(answer: object, waiting: Sequence[Waiting]) -> list[Review]:
    """Read what a resume brought back for the calls that wait.

    An answer without `decisions` is about each of them: `reject` and `{"type": "reject", "message": …}`
    reject, a single decision is about a single call, and whatever else there may be only lets the guard look.

    Raises:
        ResumeError: There are more or fewer decisions than calls, or one of them cannot be read.
    """
    if isinstance(answer, Mapping) and "decisions" in answer:
        said = answer["decisions"]
        if not isinstance(said, Sequence) or isinstance(said, str | bytes):
            raise _unreadable("`decisions` is a list")
        if len(said) != len(waiting):
            raise _unreadable(f"{len(said)} decisions for {len(waiting)} calls that wait")
        return [_review(one, call) for one, call in zip(said, waiting, strict=True)]
    if answer == "reject":
        return [Review("reject")] * len(waiting)
    if isinstance(answer, Mapping) and "type" in answer:
        if answer["type"] != "reject" and len(waiting) != 1:
            raise _unreadable(f"1 decision for {len(waiting)} calls that wait")
        return [_review(answer, call) for call in waiting]
    return [Review("look")] * len(waiting)


def _review(said: object, call: Waiting) -> Review:
    if not isinstance(said, Mapping):
        raise _unreadable("a decision is a record with a `type`")
    kind, message = said.get("type"), said.get("message")
    if message is not None and not isinstance(message, str):
        raise _unreadable("the `message` of a decision is a text")
    match kind:
        case "approve":
            return Review("approve", message)
        case "reject":
            return Review("reject", message)
        case "respond":
            if message is None:
                raise _unreadable("`respond` needs a `message`")
            return Review("respond", message)
        case "edit":
            return Review("edit", message, _edited(said.get("edited_action"), call))
        case _:
            raise _unreadable(f"there is no decision `{str(kind)[:40]}`")


def _edited(action: Any, call: Waiting) -> Mapping[str, Json]:
    if not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise _unreadable("`edit` needs an `edited_action` with `name` and `args`")
    if action.get("name") != call.tool:
        # SECURITY: people were asked about this tool; another one is another question.
        raise _unreadable(f"an edit may change the arguments of `{call.tool}`, not name another tool")
    return dict(action["args"])


def _unreadable(why: str) -> ResumeError:
    return ResumeError(
        f"the graph was resumed with decisions that cannot be read: {why}",
        help=f"one decision for each call, in order: {', '.join(f'`{kind}`' for kind in KINDS)}",
    )
