"""What a resume may bring back: one decision for each call that waits, in their order.

Whoever holds the thread can resume it, so a decision has no authority: it may take a question back.  To
approve, the host must have verified who says so, and then the engine's own rules hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.seams.errors import RingfenceError

KINDS: Final = ("approve", "edit", "reject", "respond")
"""As user interfaces for LangGraph know them."""
UNSAID: Final = "rejected on resume"
IN_PLACE: Final = "answered in its place: "
"""How the record says what a person answered the model instead of the tool."""
_MESSAGE_AT_MOST: Final = 4_000
"""Characters of a message that is no answer to the model: it is for the record."""


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

    @property
    def because(self) -> str:
        """Why the question is taken back, for the record."""
        said = self.message or UNSAID
        # SECURITY: the reason of a rejection is not shown to the model; it must not look like a response.
        return f"{UNSAID}: {said}" if said.startswith(IN_PLACE) else said


def reviews(answer: object, tools: Sequence[str]) -> list[Review]:
    """Read what a resume brought back for the calls that were shown, given by their tools.

    An answer without `decisions` is about each of them: `reject` and `{"type": "reject", "message": …}`
    reject, a single decision is about a single call, and whatever else there may be only lets the guard look.

    Raises:
        ResumeError: There are more or fewer decisions than calls, or one of them cannot be read.
    """
    if isinstance(answer, Mapping) and "decisions" in answer:
        said = answer["decisions"]
        if not isinstance(said, Sequence) or isinstance(said, str | bytes):
            raise _unreadable("`decisions` is a list")
        if len(said) != len(tools):
            raise _unreadable(f"{len(said)} decisions for {len(tools)} calls that were shown")
        return [_review(one, tool) for one, tool in zip(said, tools, strict=True)]
    if answer == "reject":
        return [Review("reject")] * len(tools)
    if isinstance(answer, Mapping) and "type" in answer:
        if answer["type"] != "reject" and len(tools) != 1:
            raise _unreadable(f"1 decision for {len(tools)} calls that were shown")
        return [_review(answer, tool) for tool in tools]
    return [Review("look")] * len(tools)


def _review(said: object, tool: str) -> Review:
    if not isinstance(said, Mapping):
        raise _unreadable("a decision is a record with a `type`")
    kind, message = said.get("type"), said.get("message")
    if message is not None and not isinstance(message, str):
        raise _unreadable("the `message` of a decision is a text")
    if message is not None and not _is_sayable(message, None if kind == "respond" else _MESSAGE_AT_MOST):
        raise _unreadable(f"the `message` of a decision is a text of at most {_MESSAGE_AT_MOST} characters")
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
            return Review("edit", message, _edited(said.get("edited_action"), tool))
        case _:
            raise _unreadable(f"there is no decision `{str(kind)[:40]}`")


def _edited(action: Any, tool: str) -> Mapping[str, Json]:
    if not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise _unreadable("`edit` needs an `edited_action` with `name` and `args`")
    if action.get("name") != tool:
        # SECURITY: people were asked about this tool; another one is another question.
        raise _unreadable(f"an edit may change the arguments of `{tool}`, not name another tool")
    edited = dict(action["args"])
    try:
        canonical(edited)
    except (ValueError, TypeError, RecursionError):
        raise _unreadable("the `args` of an `edit` are a record of JSON values") from None
    return edited


def _is_sayable(message: str, most: int | None) -> bool:
    """Say whether a message can stand in the record as it is: half a character cannot."""
    try:
        message.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return most is None or len(message) <= most


def _unreadable(why: str) -> ResumeError:
    return ResumeError(
        f"the graph was resumed with decisions that cannot be read: {why}",
        help=f"one decision for each call, in order: {', '.join(f'`{kind}`' for kind in KINDS)}",
    )
