"""The tables of the grammar, as data: what the parser runs on, and all that it needs of the grammar.

They are made by `lalr` and shipped beside the grammar, because making them takes longer than reading a
policy.  A rule's value is made of what stands under it: punctuation is dropped, rules that only group are
opened, and what may be absent is a None.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from ringfence import grammar

FILE = Path(grammar.__file__).with_name("fence.tables.json")
COMMAND = "python -m ringfence.dsl.lalr"
"""Writes the file anew."""

Pick = Sequence[int | None]
"""What a rule keeps: `n` is entry n, `~n` the entries of the group that entry n is, None an absent one."""


@dataclass(frozen=True, slots=True)
class Tables:
    """An LALR(1) automaton; symbols, rules and sets are named by their places."""

    grammar: str
    """The digest of the grammar that they are made of."""
    words: Mapping[str, str]
    """Spelling -> terminal."""
    marks: Mapping[str, str]
    patterns: Mapping[str, str]
    """Terminal -> regular expression, in the order they are tried."""
    symbols: Sequence[str]
    rules: Sequence[tuple[str, int, str, Pick | None, bool]]
    """Origin, size, what builds it, what it keeps (None: all), and whether a single entry passes as it is."""
    sets: Sequence[Sequence[int]]
    """Of terminals, at which rules are applied."""
    states: Sequence[tuple[Sequence[int], Sequence[int]]]
    """The first starts.  Each has pairs in a row: of symbol and next state, then of set and rule."""


def digest(text: str) -> str:
    """Return what tells one grammar from another."""
    return sha256(text.encode()).hexdigest()


def shipped(text: str) -> Tables | None:
    """Return the tables beside the grammar; None if there are none, or if they are another grammar's.

    Then they are made anew: they are not there when they are made for the first time, and whoever changes
    the grammar shall not be answered by the old one.  Whichever parser generator is installed does not
    matter, because it is not asked.
    """
    try:
        found = json.loads(FILE.read_bytes())
    except FileNotFoundError:
        return None
    return Tables(**found) if found["grammar"] == digest(text) else None


def written(tables: Tables) -> str:
    """Return tables as a file, one rule or state a line, so that a change of the grammar can be reviewed."""
    parts = [f'"{name}": {_written(part)}' for name, part in asdict(tables).items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _written(part: object) -> str:
    if isinstance(part, list):
        return "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in part) + "\n]"
    return json.dumps(part, indent=0)
