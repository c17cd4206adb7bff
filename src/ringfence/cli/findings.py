"""What `doctor` says: one finding for each thing that it looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    """`broken`: needed, and does not work.  `note`: works, or is not needed, but is worth knowing."""
    found: str
    help: str = ""
