"""Moments as people say them: so long ago, or a date."""

import re
from datetime import UTC, datetime, timedelta

from ringfence.cli.exits import CommandError
from ringfence.engine.seams.escape import escaped

MOMENT = "30s, 15m, 12h, 7d or 2w ago, or a date: 2026-11-23 or 2026-11-23T04:00Z"
"""What may be said, for the help of every command that takes a moment."""

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def since_ns(text: str, *, now_ns: int) -> int:
    """Return the moment in nanoseconds since the Unix epoch; a date without a zone is in UTC.

    Args:
        text: As `MOMENT` says; a date with or without a time.
    """
    if ago := re.fullmatch(r"([0-9]{1,9})([smhdw])", text, re.ASCII):
        return now_ns - int(ago[1]) * _UNITS[ago[2]] * 1_000_000_000
    try:
        said = datetime.fromisoformat(text)
        moment = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    except (ValueError, OverflowError) as error:  # refused: a filter that is not understood filters nothing
        raise CommandError(
            f"`{escaped(text)}` is no time",
            help="say 12h or 7d, or a date like 2026-11-23 or 2026-11-23T04:00Z",
        ) from error
