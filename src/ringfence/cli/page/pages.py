"""The page of a run and of the runs inside of it, read from the log of a desk."""

from dataclasses import dataclass

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.cli.history import history, readable
from ringfence.cli.page.model import Page, Section
from ringfence.cli.page.rows import MOST
from ringfence.cli.page.sections import section
from ringfence.cli.page.texts import Texts
from ringfence.cli.verifying import verify_one
from ringfence.engine.decision.events import SubrunStarted
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.verify import Fault
from ringfence.engine.seams.ports import RunRow

_INNER = 20
"""Runs inside of it that stand on the page."""
_INNER_ROWS = 300


@dataclass(frozen=True, slots=True)
class _Told:
    row: RunRow
    record: RunRecord
    fault: Fault | None


def page_of(desk: Desk, row: RunRow, *, made: str) -> Page:
    """Gather the page of a run.

    Args:
        made: What the foot of the page says of how it was made.
    Raises:
        CommandError: The run is no record that a guard wrote.
    """
    told = [_told(desk, row, history(desk, row.run))]
    cut: list[str] = []
    seen = {row.run}
    for one in told:
        for run in _inner(one.record):
            if run in seen:
                continue
            seen.add(run)
            if len(told) > _INNER:
                cut.append(f"more than {_INNER} runs began inside of it: `ringfence show` has the others")
                break
            try:
                found = desk.run(run)
                record = history(desk, run) if found is not None else None
            except CommandError as error:  # the page says so, and shows what can be read
                cut.append(f"a run inside of it cannot be read: {error}")
                continue
            if found is None or record is None:
                cut.append(f"the run {run} inside of it is not in the log")
            else:
                told.append(_told(desk, found, record))
    texts = Texts()
    anchors = {one.row.run: f"r{index}" for index, one in enumerate(told)}
    sections: list[Section] = []
    for one in told:
        outer = one is told[0]
        with readable(one.row.run):
            sections.append(
                section(
                    one.record,
                    one.row,
                    one.fault,
                    texts,
                    anchor=anchors[one.row.run],
                    inner=anchors,
                    most=MOST if outer else _INNER_ROWS,
                    whole=outer,
                )
            )
    said = [texts.line(one, 300) for one in dict.fromkeys(cut)]
    if texts.cut:
        said.append(f"{texts.cut:,} texts are longer than what is shown; each says how much is missing")
    return Page(f"{sections[0].heading}, run {sections[0].run}", tuple(sections), made, tuple(said))


def _told(desk: Desk, row: RunRow, record: RunRecord) -> _Told:
    return _Told(row, record, verify_one(desk, row.run, head=None).fault)


def _inner(record: RunRecord) -> list[str]:
    return [str(one.event.run) for one in record.events if isinstance(one.event, SubrunStarted)]
