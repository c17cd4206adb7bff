"""What came of counting runs, for people and for programs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from ringfence.cli.drawing import count, duration, short, short_place
from ringfence.cli.say import COLOURS, Piece, Say
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.survey.spread import EXACT, Spread
from ringfence.engine.retrospect.survey.stats import ApproverStats, ModelStats, Stats, ToolStats
from ringfence.engine.seams.escape import escaped

_ROWS = 20
"""So many rows of one table are shown; `--json` has all."""
_NAME = 60
"""A longer name is cut; on a terminal, one that leaves no room for the numbers."""
_LEAST = 12
"""So much of a name is shown, however narrow the terminal."""

Cell = int | str | tuple[str, str]
_VERDICTS = ("allow", "ask", "deny", "unknown", "undecided")


def document(found: Stats) -> dict[str, Json]:
    """Return the counts for programs."""
    return asdict(found)


def tell(found: Stats, say: Say) -> None:
    """Write the counts for people; what is 0 in every row of a table is left out."""
    _sum(say, found.runs, "run", found.statuses, f", {count(found.events, 'event')}")
    _sum(say, found.calls, "call", found.verdicts)
    _calls(found.tools, say)
    _denials(found, say)
    _people(found, say)
    _slowest(found.slowest, say)
    _models(found.models, say)
    if found.halts:
        rows = [(_words(reason, 60), runs) for reason, runs in found.halts.items()]
        _table(say, ("HALTED BY", "RUNS"), rows)
    _errors(found.tools, say)
    unknown = sum(tool.unknown for tool in found.tools)
    if unknown:
        say.line()
        going = (
            f", {found.unknown_in_running:,} of them in runs that go on" if found.unknown_in_running else ""
        )
        say.line((f"{count(unknown, 'call')} without a known outcome", COLOURS["failed"]), going)
    if any(spread is not None and not spread.exact for spread in _spreads(found)):
        say.line()
        say.line((f"of more than {EXACT:,} durations, median and 95 % may be up to 1/64 too long", "dim"))


def _sum(say: Say, number: int, what: str, parts: Mapping[str, int], more: str = "") -> None:
    said: list[Piece] = [(count(number, what), "bold"), ": " if parts else ""]
    for place, (name, some) in enumerate(parts.items()):
        said += [", " if place else "", f"{some:,} ", (_words(name, 30), COLOURS.get(name, ""))]
    say.line(*said, more)


def _calls(tools: Sequence[ToolStats], say: Say) -> None:
    rows: list[Sequence[Cell]] = []
    for tool in tools:
        odd = tool.calls - sum(tool.verdicts.get(verdict, 0) for verdict in _VERDICTS)
        counts = [tool.verdicts.get(verdict, 0) for verdict in _VERDICTS]
        rows.append((_named(tool.tool), tool.calls, *counts, odd, sum(tool.failed.values()), tool.unknown))
    head = ("TOOL", "CALLS", *(verdict.upper() for verdict in _VERDICTS), "OTHER", "FAILED", "NO OUTCOME")
    _table(say, head, rows)


def _denials(found: Stats, say: Say) -> None:
    if not found.denials:
        return
    say.line()
    _head(say, "DENIED", "BY")
    width = max(6, len(f"{found.denials[0].calls:,}"))
    for one in found.denials[:_ROWS]:
        rule = one.rule
        say.line(
            f"{one.calls:>{width},}  ",
            ("(others)" if rule is None else short(rule.name, 80), "bold"),
            (f" at {short(short_place(rule.place))}" if rule is not None and rule.place else "", "dim"),
            f": {short(rule.because)}" if rule is not None and rule.because else "",
        )
    _more(say, len(found.denials))


def _people(found: Stats, say: Say) -> None:
    if not found.approvals.asked:
        return
    rows = [_approver(_named(one.approver), one) for one in found.approvers]
    if len(rows) > 1:
        rows = [*rows[:_ROWS], _approver(("all", "dim"), found.approvals)]
    head = ("APPROVER", "ASKED", "APPROVED", "REJECTED", "EXPIRED", "WITHDRAWN", "OPEN", *_WAITED)
    _table(say, head, rows, most=_ROWS + 1)
    _more(say, len(found.approvers))


_TOOK = ("MEDIAN", "95 %", "LONGEST")
_WAITED = ("WAITED", "95 %", "LONGEST")


def _approver(name: Cell, one: ApproverStats) -> Sequence[Cell]:
    counts = (one.asked, one.approved, one.rejected, one.expired, one.withdrawn, one.open)
    return (name, *counts, *_spread(one.waited))


def _slowest(tools: Sequence[ToolStats], say: Say) -> None:
    rows = [
        (_named(tool.tool), tool.took.count, *_spread(tool.took)) for tool in tools if tool.took is not None
    ]
    _table(say, ("SLOWEST", "RAN", *_TOOK), rows)


def _models(models: Sequence[ModelStats], say: Say) -> None:
    rows = [
        (
            _named(one.model, other="(not said)"), one.asked, one.failed, one.input_tokens, one.output_tokens,
            one.without_usage, *_spread(one.took),
        )
        for one in models
    ]  # fmt: skip
    _table(say, ("MODEL", "ASKED", "FAILED", "TOKENS IN", "OUT", "NOT SAID", *_TOOK), rows)


def _errors(tools: Sequence[ToolStats], say: Say) -> None:
    failed = [tool for tool in tools if tool.failed]
    if not failed:
        return
    kinds: Counter[str] = Counter()
    for tool in failed:
        kinds.update(tool.failed)
    hows = [how for how, _ in kinds.most_common(5)]
    failed.sort(key=lambda tool: -sum(tool.failed.values()))
    rows = [(_named(tool.tool), *(tool.failed.get(how, 0) for how in hows)) for tool in failed]
    _table(say, ("ERRORS", *(_words(how.upper(), 20) for how in hows)), rows)


def _table(say: Say, head: Sequence[str], rows: Sequence[Sequence[Cell]], *, most: int = _ROWS) -> None:
    """Write a table: the first column to the left, the others to the right; columns of nothing left out."""
    if not rows:
        return
    shown = rows[:most]
    kept = [at for at in range(len(head)) if at == 0 or any(row[at] not in (0, "") for row in rows)]
    cells = [[_cell(row[at]) for at in kept] for row in shown]
    titles = [(head[at], "dim") for at in kept]
    widths = [max(len(row[at][0]) for row in (titles, *cells)) for at in range(len(kept))]
    if say.width is not None:
        room = say.width - sum(width + 2 for width in widths[1:])
        widths[0] = min(widths[0], max(room, _LEAST, len(head[0])))
    say.line()
    for row in (titles, *cells):
        pieces: list[Piece] = []
        for at, ((text, style), width) in enumerate(zip(row, widths, strict=True)):
            pieces += [
                "  " if at else "",
                (text.rjust(width) if at else _cut(text, width).ljust(width), style),
            ]
        say.line(*pieces)
    if most == _ROWS:
        _more(say, len(rows))


def _cell(cell: Cell) -> tuple[str, str]:
    if isinstance(cell, tuple):
        return cell
    if isinstance(cell, int):
        return (f"{cell:,}", "") if cell else ("-", "dim")
    return cell, ""


def _head(say: Say, *names: str) -> None:
    say.line(("  ".join(names), "dim"))


def _more(say: Say, rows: int) -> None:
    if rows > _ROWS:
        say.line((f"and {rows - _ROWS:,} more: --json has all", "dim"))


def _named(name: str | None, limit: int = _NAME, *, other: str = "(others)") -> Cell:
    return (other, "dim") if name is None else _words(name, limit)


def _words(text: str, limit: int) -> str:
    return _cut(escaped(text), limit)


def _cut(said: str, limit: int) -> str:
    return said if len(said) <= limit else f"{said[: limit - 1]}…"


def _spread(spread: Spread | None) -> Sequence[str]:
    if spread is None:
        return "", "", ""
    return duration(spread.median_ns), duration(spread.p95_ns), duration(spread.longest_ns)


def _spreads(found: Stats) -> Iterable[Spread | None]:
    yield found.approvals.waited
    yield from (one.took for one in found.tools)
    yield from (one.took for one in found.models)
