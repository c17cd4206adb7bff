"""Which V8 is installed: the maintained mini-racer, the old package of the same import name, or none."""

import re
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

WANTED = (0, 14, 1)
_MEND = "`pip install 'ringfence[isolate]'`"


@dataclass(frozen=True, slots=True)
class Installed:
    """Where V8 is, or why it cannot be used."""

    folder: Path | None
    """What a worker imports it from; None: there is a problem."""
    why_not: str = ""
    """Empty: it can be used."""
    mend: str = ""
    """What mends it."""

    @property
    def problem(self) -> str | None:
        """Return why it cannot be used, and what mends it."""
        if not self.why_not and not self.mend:  # each call asks
            return None
        return ": ".join(part for part in (self.why_not, self.mend) if part) or None


def installed() -> Installed:
    """Look for mini-racer by what pip recorded: nothing of it is imported here."""
    old, new = _found("py-mini-racer"), _found("mini-racer")
    if old is not None:
        # SECURITY: both install the module `py_mini_racer`; the old one's V8 has known holes.
        return Installed(
            None,
            f"py-mini-racer {old.version} is installed: its V8 is of 2021, with known holes, and it takes "
            "the import name of its successor mini-racer",
            f"`pip uninstall py-mini-racer mini-racer`, then {_MEND}",
        )
    if new is None:
        return Installed(None, "no V8 is installed", f"{_MEND} brings mini-racer")
    if _numbers(new.version) < WANTED:
        wanted = ".".join(map(str, WANTED))
        return Installed(None, f"mini-racer {new.version} is too old, {wanted} is needed", _MEND)
    return Installed(Path(str(new.locate_file(""))).resolve())


def _found(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:  # said by None
        return None


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()
