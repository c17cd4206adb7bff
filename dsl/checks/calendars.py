"""Calendars: days of the week, two times of a day, and a zone of the tz database (E109)."""

import re
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft
from ringfence.dsl.suggest import did_you_mean

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")


def check_calendar(draft: Draft, node: syntax.Calendar) -> None:
    """Report what no calendar says."""
    failed = False
    for name in (node.first_day, node.last_day):
        if name.text not in DAYS:
            help = did_you_mean(name.text, DAYS) or "days: " + ", ".join(DAYS)
            draft.report("E109", f"unknown day `{name.text}`", name.span, "no day has this name", help)
    for time in (node.opens, node.closes):
        if not _TIME.fullmatch(time.value) or (time is node.opens and time.value == "24:00"):
            draft.report(
                "E109",
                f"`{time.value}` is no time of a day",
                time.span,
                "hours to 23, minutes to 59",
                "write it as `08:00`",
            )
            failed = True
    if not failed and node.closes.value <= node.opens.value:
        draft.report(
            "E109",
            "this calendar ends before it begins",
            node.closes.span,
            "it would wrap midnight",
            "declare two calendars, one until `24:00` and one from `00:00`",
        )
    if not _is_zone(node.zone.value):
        help = did_you_mean(node.zone.value, available_timezones()) or 'such as `"Europe/London"` or `"UTC"`'
        draft.report(
            "E109", f"unknown time zone `{node.zone.value}`", node.zone.span, "not in the tz database", help
        )


@cache
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # fails closed: a name that is no zone (or a path) does not load
        return False
    return name in available_timezones()
