"""What happens in runs, told event by event: one line a step.  Nothing of a run is kept but a few words.

All text of an event is hostile: it is cut here, and escaped where it is written.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar
from zlib import crc32

from ringfence.cli.desk import Desk
from ringfence.cli.drawing import ANSWERS, VERDICTS, Line, arguments, duration, short, step_lines
from ringfence.cli.say import COLOURS, Piece
from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.record import RecordError, stamped
from ringfence.engine.retrospect.timeline import Moment
from ringfence.engine.seams.escape import escaped_json
from ringfence.engine.seams.ports import Entry

K = TypeVar("K")
V = TypeVar("V")

QUIET = frozenset(
    {
        "ModelAsked", "CallRequested", "CallStarted", "BudgetRefunded", "IsolateStarted", "IsolateEnded",
        "SubrunCounted", "SubrunJoined",
    }
)  # fmt: skip
"""Kinds that are no step of their own: what they begin is told at its end."""

RUN = len("run-") + 8
"""So much of a run's id is told: enough for `ringfence show`."""

_KEPT = 10_000
"""Of so many calls and questions it is known what they are."""
_BEFORE = 500
"""Among so many events before it, it is looked for what a call is."""

_RUN_COLOURS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue", "bright_white")
_MOMENTS = {
    "PromptGiven": "prompt", "ModelAnswered": "model", "RunSuspended": "suspended", "RunResumed": "resumed",
    "SubrunStarted": "subrun", "RunHalted": "halted", "BodiesPurged": "purged", "RunEnded": "ended",
}  # fmt: skip
_ODD = (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError)


class Latest(Generic[K, V]):
    """A dictionary of the things that came last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._each: OrderedDict[K, V] = OrderedDict()

    def __setitem__(self, key: K, value: V) -> None:
        self._each[key] = value
        self._each.move_to_end(key)
        if len(self._each) > self._most:
            self._each.popitem(last=False)

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, or None."""
        return self._each.get(key)

    def __len__(self) -> int:
        return len(self._each)


class Teller:
    """Makes lines of events, in the log's order."""

    def __init__(self) -> None:
        self._calls: Latest[tuple[str, str], tuple[str, str]] = Latest(_KEPT)
        """Run and call -> tool and arguments, as they are told."""
        self._asked: Latest[tuple[str, str], int] = Latest(_KEPT)
        """Run and ticket -> when it was asked."""
        self._day = ""

    def lines(self, here: Desk, entries: Sequence[Entry]) -> list[Line]:
        """Return the lines of some events, some of them with none; a line before each new day.

        Args:
            here: Is asked what a call is that began before the first event.
        """
        told: list[Line] = []
        for entry in entries:
            words = self._words(here, entry)
            if words is None:
                continue
            day, clock = _moment(entry.at_ns)
            if day != self._day:
                self._day = day
                told.append(((day, "dim"),))
            run = entry.run[:RUN]
            told.append(((f"{clock}  ", "dim"), (run.ljust(RUN), _colour(entry.run)), "  ", *words))
        return told

    def learn(self, entry: Entry) -> None:
        """Remember which call an event begins."""
        if entry.kind == "CallRequested" and entry.body is not None:
            try:
                self._take(entry)
            except (RecordError, *_ODD):  # its call is told by its key
                return

    def _take(self, entry: Entry) -> e.RunEvent:
        event = stamped(entry, entry.body or b"").event
        if isinstance(event, e.CallRequested):
            self._calls[entry.run, event.call] = (
                short(event.tool, 40),
                arguments(event.arguments, limit=40)[:200],
            )
        return event

    def _words(self, here: Desk, entry: Entry) -> Line | None:
        if entry.kind not in e.KINDS or type(entry.schema) is not int or entry.schema > e.SCHEMA:
            return ((f"{short(entry.kind, 40)}, as a newer version writes it", "dim"),)
        if entry.body is None:
            return None if entry.kind in QUIET else ((f"{entry.kind}, its body was purged", "dim"),)
        try:
            event = self._take(entry)
            return None if entry.kind in QUIET else self._step(here, entry, event)
        except (RecordError, *_ODD):
            return ((f"{entry.kind} cannot be read: see `ringfence verify`", COLOURS["failed"]),)

    def _step(self, here: Desk, entry: Entry, event: e.RunEvent) -> Line | None:
        match event:
            case e.RunStarted():
                return _begun(event)
            case e.CallDecided():
                return self._decided(here, entry, event)
            case e.CallFinished():
                tool, _ = self._call(here, entry, event.call)
                said = short(escaped_json(event.result), 120)
                return _word("ran", ""), (tool, "bold"), f" in {duration(event.duration_ns)} -> {said}"
            case e.CallFailed():
                tool, _ = self._call(here, entry, event.call)
                took = duration(event.duration_ns)
                return (
                    _word("failed", COLOURS["failed"]), (tool, "bold"),
                    f" {short(event.outcome, 20)} after {took}: {short(event.error)}",
                )  # fmt: skip
            case e.ApprovalAsked():
                self._asked[entry.run, event.ticket] = entry.at_ns
                tool, given = self._call(here, entry, event.call)
                return (
                    _word("asked", COLOURS["ask"]), (short(event.approver, 40), "bold"), ", ticket ",
                    (short(event.ticket, 20), "bold"), f": {tool}", (f"({given})", "dim"),
                )  # fmt: skip
            case e.ApprovalAnswered():
                return self._answered(entry, event)
            case _ if entry.kind in _MOMENTS:
                moment = Moment(_MOMENTS[entry.kind], entry.at_ns, e.body_of(event))
                _, first, *more = next(step_lines(moment, start_ns=entry.at_ns))
                word = (first, "") if isinstance(first, str) else first
                return _word(word[0].rstrip(), word[1]), *more
            case _:
                return _word(""), short(entry.kind, 40)

    def _decided(self, here: Desk, entry: Entry, event: e.CallDecided) -> Line:
        tool, given = self._call(here, entry, event.call)
        verdict = event.verdict
        line: list[Piece] = [
            _word("to ask" if verdict == "ask" else VERDICTS.get(verdict, verdict), COLOURS.get(verdict, "")),
            (tool, "bold"),
        ]
        told = [one for one in event.reasons or () if str(one.get("effect")) in (verdict, "halt")]
        for place, one in enumerate(told[:3]):
            line += [", " if place else " by ", short(one.get("name"), 60)]
            line.append(f": {short(one['because'], 80)}" if one.get("because") else "")
        line.append((f"  ({given})", "dim"))
        return tuple(line)

    def _answered(self, entry: Entry, event: e.ApprovalAnswered) -> Line:
        asked_ns = self._asked.get((entry.run, event.ticket))
        by = f" by {short(event.by, 60)}" if event.by else ""
        after = "" if asked_ns is None else f" after {duration(max(0, entry.at_ns - asked_ns))}"
        because = f": {short(event.because)}" if event.because else ""
        style = COLOURS["allow"] if event.verdict == "approve" else COLOURS["deny"]
        said = ANSWERS.get(event.verdict, event.verdict)
        return _word(said, style), (short(event.ticket, 20), "bold"), f"{by}{after}{because}"

    def _call(self, here: Desk, entry: Entry, call: str) -> tuple[str, str]:
        """Return the tool and the arguments of a call; its key, where nobody knows more."""
        known = self._calls.get((entry.run, call))
        if known is None:
            after = max(0, entry.seq - _BEFORE - 1)
            for one in here.ask(here.events.read(entry.run, after_seq=after, limit=entry.seq - 1 - after)):
                self.learn(one)
            known = self._calls.get((entry.run, call))
        if known is None:
            known = self._calls[entry.run, call] = (f"call {short(call, 20)}", "…")
        return known


def _begun(event: e.RunStarted) -> Line:
    user, workspace = event.principal.get("user"), event.principal.get("workspace")
    return (
        _word("begins", "cyan"),
        "agent ", (short(event.agent, 40), "bold"),
        f", user {short(user, 40)}" if user is not None else "",
        f", workspace {short(workspace, 40)}" if workspace is not None else "",
        (f", policy {short(event.policy, 40)}", "dim"),
    )  # fmt: skip


def _word(said: Json, style: str = "") -> tuple[str, str]:
    return f"{short(said, 20):<9} "[:24], style


def _moment(at_ns: int) -> tuple[str, str]:
    try:
        said = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError, TypeError):  # no guard has written such a time
        return "(no day)", "--:--:--Z"
    return said.strftime("%Y-%m-%d"), said.strftime("%H:%M:%SZ")


def _colour(run: str) -> str:
    return _RUN_COLOURS[crc32(run.encode("utf-8", "replace")) % len(_RUN_COLOURS)]
