"""Runs and calls found by what people type: an id, the beginning of one, a number, `last`."""

from collections.abc import Sequence
from difflib import get_close_matches

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.engine.retrospect.timeline import CallStep, Step
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.ports import RunRow, newest
from ringfence.engine.seams.store_urls import without_password

_LONGEST = 200
_COMPARED = 2_000
"""So much of what was typed, and so many of the newest ids, are searched for one that is alike."""


def find_run(desk: Desk, text: str) -> RunRow:
    """Return the run with this id, or the one whose id begins so; `last` is the newest, sub-runs left out."""
    said = escaped(text)
    if text and (row := desk.run(text)) is not None:
        return row
    rows = desk.runs()
    if text == "last" and rows:
        return newest(rows)
    found = [row for row in rows if text and row.run.startswith(text)]
    if len(found) == 1:
        return found[0]
    ids = [row.run for row in rows]
    if found:
        raise CommandError(
            f"`{said}` begins {len(found)} run ids",
            help=f"type more of one: {_some([row.run for row in found])}",
        )
    if not ids:
        raise CommandError(f"there is no run `{said}`: the log is empty", help="run an agent first")
    near = get_close_matches(text[:_LONGEST], ids[:_COMPARED], n=3)
    help = (
        f"did you mean {_some(near)}?"
        if near
        else f"the last runs are {_some(ids)}; `ringfence runs` lists all"
    )
    raise CommandError(f"there is no run `{said}` in {without_password(desk.store.url)}", help=help)


def find_call(steps: Sequence[Step], text: str) -> CallStep:
    """Return the call with this number, key, beginning of a key, model's id, or unique tool."""
    calls = [step for step in steps if isinstance(step, CallStep)]
    if text.isdecimal() and 1 <= int(text) <= len(calls):
        return calls[int(text) - 1]
    for found in (
        [call for call in calls if call.call == text],
        [call for call in calls if call.call_id == text],
        [call for call in calls if text and call.call.startswith(text)],
        [call for call in calls if call.tool == text],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise CommandError(
                f"`{escaped(text)}` names {len(found)} calls", help=f"say one number: {_numbers(found)}"
            )
    if not calls:
        raise CommandError("this run made no tool call")
    raise CommandError(
        f"there is no call `{escaped(text)}` in this run", help=f"say a number from 1 to {len(calls)}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(escaped, names[:3])) + (" …" if len(names) > 3 else "")


def _numbers(calls: Sequence[CallStep]) -> str:
    return _some([f"{call.number} ({call.call})" for call in calls])
