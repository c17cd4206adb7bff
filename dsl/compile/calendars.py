"""Calendars: whether the time of day lies in working hours, in the zone that the policy names."""

from datetime import UTC, datetime, timedelta

from ringfence.dsl.plan import Condition, Json, Scope, Truth

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def during(core: Json) -> Condition:
    """Return the closure of `during CALENDAR`; undecided at an hour that the clocks repeat."""
    from zoneinfo import ZoneInfo  # most policies have no calendar

    hours = core[1]
    zone, days = ZoneInfo(hours["zone"]), frozenset(hours["days"])
    opens, closes = minutes_of(hours["from"]), minutes_of(hours["to"])

    def open_now(scope: Scope) -> Truth:
        try:
            if scope.wall_ns is None:
                return None
            local = (_EPOCH + timedelta(microseconds=scope.wall_ns // 1000)).astimezone(zone)
            if local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
                return None
            return local.weekday() in days and opens <= local.hour * 60 + local.minute < closes
        except Exception:  # fails closed: undecided counts against the caller
            return None

    return open_now


def minutes_of(text: str) -> int:
    """Return the minutes since midnight of `08:00`; raise ValueError for what is no time of day."""
    hours, minutes = int(text[:2]), int(text[3:])
    if not ((hours < 24 and minutes < 60) or (hours, minutes) == (24, 0)):
        raise ValueError("no time of day")
    return hours * 60 + minutes


def wall_ns(text: str) -> int | None:
    """Return the instant of `2026-11-23 10:00 Europe/London`, in nanoseconds since the epoch.

    None where the clocks show that time twice or never: then calendars are undecided.

    Raises:
        ValueError: It is no such text, or nobody knows the zone.
    """
    from zoneinfo import ZoneInfo

    day, time, name = text.split(" ")
    try:
        zone = ZoneInfo(name)
    except (OSError, LookupError) as error:  # a zone that nobody knows, a name that is a folder
        raise ValueError(f"unknown zone {name!r}") from error
    local = datetime.strptime(f"{day} {time}", "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        return None
    return (local - _EPOCH) // timedelta(microseconds=1) * 1000
