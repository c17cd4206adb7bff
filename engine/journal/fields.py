"""Of what nature the fields of events are: what is looked for in them, and what is left as it is.

Every field of every kind of event stands here once.  One that does not is taken for anybody's text, in which
all is looked for.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Nature(NamedTuple):
    """What a field holds; in each of them, the patterns of the settings are looked for."""

    said: bool = False
    """What people, models and tools say: names and known values are looked for, too."""
    made: bool = False
    """Keys, ids and digests: what has such a shape is left, or a pattern for keys would break a chain."""


WORDS: Final = Nature()
"""Ringfence's own words, or those of a policy or a host."""
SAID: Final = Nature(said=True)
MADE: Final = Nature(made=True)

_FIELDS: Final = {
    SAID: "principal text messages parameters usage arguments edited because result error detail message",
    Nature(said=True, made=True): "answers",
    MADE: "session session_head policy_digest resume_of parent continues source request call digest"
    " facts ticket tickets seed output run listed",
    WORDS: "agent capabilities policy policy_text mode framework external_id policy_file files orders"
    " versions redacted model tools duration_ns"
    " tool call_id task attempt schema_names withheld ahead verdict reasons"
    " shadow charges asks label approver expires_ns by isolate runs name now_ms tick_ms limits v8 layers"
    " failure line column calls truncated outcome counted seq process reason status upto before_ns",
}

NATURES: Final[Mapping[str, Nature]] = MappingProxyType(
    {name: nature for nature, names in _FIELDS.items() for name in names.split()}
)
"""The name of a field -> its nature: fields of one name are of one nature, whatever the kind of event."""


def nature_of(field: str) -> Nature:
    """Return the nature of a field; of one that is not known: anybody's text."""
    return NATURES.get(field, SAID)
