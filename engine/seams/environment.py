"""The `RINGFENCE_*` variables: one table, which loads them, documents them, and serves `doctor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringfence.engine.seams.mistakes import Mistake, nearest

PREFIX = "RINGFENCE_"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, or a family of them (`NAME` and `KEY` stand for any)."""

    name: str
    key: str
    """The key of `ringfence.toml` that it overrides; empty: none."""
    meaning: str


VARIABLES = (
    Variable(
        "RINGFENCE_SETTINGS", "", "the settings file, instead of `ringfence.toml` in the current folder"
    ),
    Variable("RINGFENCE_DEBUG", "", "not empty: the command line shows where an unforeseen error comes from"),
    Variable("RINGFENCE_POLICY", "policy", "the policy file; relative to the current folder"),
    Variable(
        "RINGFENCE_CEILINGS", "ceilings", "the pinned ceilings, separated by commas; relative ones as above"
    ),
    Variable("RINGFENCE_STORE", "store", "the store URL; a relative path starts at the current folder"),
    Variable(
        "RINGFENCE_LEDGER", "ledger", "the URL of the store that keeps budgets and orders to stop instead"
    ),
    Variable("RINGFENCE_MODE", "mode", "`enforce`"),
    Variable("RINGFENCE_PLUGINS", "plugins", "the plugins that may load, separated by commas"),
    Variable("RINGFENCE_LIMITS__KEY", "limits.KEY", "one of the limits"),
    Variable("RINGFENCE_SINKS__NAME__KEY", "sinks.NAME.KEY", "a setting of a sink, for instance its token"),
    Variable("RINGFENCE_BACKENDS__NAME__KEY", "backends.NAME.KEY", "a setting of an approval backend"),
    Variable("RINGFENCE_ISOLATES__KEY", "isolates.KEY", "a setting of what runs isolates"),
)
"""Everything that is read from the environment.  Any other `RINGFENCE_*` variable is an error."""

_PLAIN = {variable.name: variable.key for variable in VARIABLES if "__" not in variable.name}
_NO_KEY = {name for name, key in _PLAIN.items() if not key}
_LISTS = {("plugins",), ("ceilings",)}
_FAMILIES = {"LIMITS": 1, "SINKS": 2, "BACKENDS": 2, "ISOLATES": 1}


def overlay(
    data: dict[str, Any], environment: Mapping[str, str]
) -> tuple[dict[tuple[str, ...], str], list[Mistake]]:
    """Write the variables over `data`, in place.

    Returns:
        Which variable each overridden key came from, and what is wrong.
    """
    origins: dict[tuple[str, ...], str] = {}
    mistakes: list[Mistake] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in _NO_KEY:
            continue
        at = _key(name, data)
        if at is None:
            known = [variable.name for variable in VARIABLES]
            help = nearest(name, known) or "known: " + ", ".join(known)
            mistakes.append(Mistake(name, "", "unknown variable", help))
            continue
        table = data
        for part in at[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                break
        if not isinstance(table, dict):
            continue  # the file has no table there: that mistake is reported with the file's others
        value = environment[name]
        table[at[-1]] = [word.strip() for word in value.split(",") if word.strip()] if at in _LISTS else value
        origins[at] = name
    return origins, mistakes


def _key(name: str, data: Mapping[str, Any]) -> tuple[str, ...] | None:
    if name in _PLAIN:
        return (_PLAIN[name],)
    family, *rest = name.removeprefix(PREFIX).split("__")
    if len(rest) != _FAMILIES.get(family) or not all(rest):
        return None
    section = family.lower()
    if len(rest) == 1:
        return (section, rest[0].lower())
    present = data.get(section)
    names = present if isinstance(present, dict) else {}
    told = rest[0].lower()
    own = next((key for key in names if str(key).lower().replace("-", "_") == told), told)
    return (section, own, rest[1].lower())
