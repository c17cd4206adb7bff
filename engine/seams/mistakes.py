"""Mistakes in settings, said as a person needs them: which file, which key, what, how to mend.

Values are never repeated where they could be secret: only a key's name and what it should have been.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who looks for mistakes and finds none loads nothing for it
    from ringfence.engine.seams.errors import SettingsError

_MOST = 20


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in the settings."""

    where: str
    """The file, the variable, or the plugin."""
    key: str
    """The key, dotted; empty: the whole of it."""
    what: str
    help: str = ""

    def __str__(self) -> str:
        key = f": `{self.key}`" if self.key else ""
        return f"{self.where}{key}: {self.what}" + (f" ({self.help})" if self.help else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "did you mean `x`?" for the nearest of `known`; empty if none is near."""
    import difflib

    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def settings_error(mistakes: Sequence[Mistake]) -> "SettingsError":
    """Return one error that says all of them, at most 20 and how many remain."""
    from ringfence.engine.seams.errors import SettingsError

    if len(mistakes) == 1:
        only = mistakes[0]
        key = f": `{only.key}`" if only.key else ""
        return SettingsError(f"{only.where}{key}: {only.what}", help=only.help or None)
    lines = [f"{len(mistakes)} mistakes in the settings", *(f"  {mistake}" for mistake in mistakes[:_MOST])]
    if len(mistakes) > _MOST:
        lines.append(f"  and {len(mistakes) - _MOST} more")
    return SettingsError("\n".join(lines))
