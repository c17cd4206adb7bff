"""Calendars: days, hours and a zone (E109)."""

from typing import TYPE_CHECKING

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import FALSE
from ringfence.dsl.compile.calendars import minutes_of
from ringfence.dsl.draft import Draft
from ringfence.dsl.plan import Json
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import DAYS

if TYPE_CHECKING:
    from ringfence.dsl.checks.conditions import Lowering


def check_calendars(draft: Draft) -> None:
    """Check the calendars that the policy declares, used or not."""
    for node in draft.calendars.values():
        hours_of(draft, node)


def hours_of(draft: Draft, node: syntax.Calendar) -> Json | None:
    """Return the core form of a calendar; None after a mistake, which is reported."""
    days = [_day(draft, name) for name in (node.first_day, node.last_day)]
    opens, closes = _minutes(draft, node.opens), _minutes(draft, node.closes)
    if opens is not None and closes is not None and opens >= closes:
        written = f"`{node.opens.value} to {node.closes.value}`"
        if opens == closes:
            message, label = f"{written} holds no time", "not later than the beginning"
            help = "write `00:00 to 24:00` for the whole day"
        else:
            message, label = f"{written} goes over midnight", "earlier than the beginning"
            help = "declare two calendars, to `24:00` and from `00:00`, and write `during a or during b`"
        draft.report("E109", message, node.closes.span, label, help)
        return None
    first, last = days
    if not _zone_known(draft, node.zone) or None in (first, last, opens, closes):
        return None
    assert first is not None and last is not None
    through = [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    hours = {"from": node.opens.value, "to": node.closes.value, "zone": node.zone.value}
    return {"days": sorted(through), **hours}


def lower_during(lowering: "Lowering", node: syntax.During) -> Json:
    """Lower `during CALENDAR`."""
    name = node.calendar
    calendar = lowering.draft.calendars.get(name.text)
    if calendar is None:
        lowering.failed = True
        lowering.draft.unknown("E109", "calendar", name, lowering.draft.calendars)
        return FALSE
    hours = hours_of(lowering.draft, calendar)
    if hours is None:
        lowering.failed = True
        return FALSE
    return ["during", hours]


def _day(draft: Draft, name: syntax.Name) -> int | None:
    if name.text in DAYS:
        return DAYS.index(name.text)
    help = did_you_mean(name.text, DAYS) or "write `monday` to `sunday`"
    draft.report("E109", f"unknown day `{name.text}`", name.span, "no day has this name", help)
    return None


def _minutes(draft: Draft, text: syntax.Text) -> int | None:
    try:
        return minutes_of(text.value)
    except ValueError:  # reported: the policy does not load
        draft.report(
            "E109", f"`{text.value}` is no time of day", text.span, "", "write hours and minutes: `08:00`"
        )
        return None


def _zone_known(draft: Draft, zone: syntax.Text) -> bool:
    from zoneinfo import ZoneInfo  # most policies have no calendar

    try:
        ZoneInfo(zone.value)
    except (OSError, LookupError, ValueError):  # reported: the policy does not load
        draft.report(
            "E109",
            f"unknown zone `{zone.value}`",
            zone.span,
            "the time-zone database has no such name",
            'write a name such as "Europe/London"',
        )
        return False
    return True
