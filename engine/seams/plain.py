"""Settings that are right at first sight: what a check of a policy needs of them, without the model of all.

`Settings` says what is right, and what is wrong with the rest.  Here only what it takes is recognised, in the
form in which nearly everybody writes it; to load it takes longer than to check a policy of 500 lines.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ringfence.engine.seams.acceptable import name_fault, pattern_fault, url_fault
from ringfence.engine.seams.said import read

Test = Callable[[Any], bool]


def plain_ceilings(path: str | Path | None) -> tuple[Path, ...] | None:
    """Return `Settings.load(path).ceilings`; None: only that can tell, or say what is wrong.

    Raises:
        SettingsError: As `Settings.load`: the file cannot be read, or is not TOML.
    """
    said = read(path, os.environ)
    return None if said.mistakes else ceilings_in(said.data)


def ceilings_in(data: Mapping[str, Any]) -> tuple[Path, ...] | None:
    """Return the ceilings in the content of settings that are plainly right; None: they are not."""
    # INVARIANT: what passes here is what `Settings` takes; what does not pass, it is asked about.
    if not _table(_KEYS)(data):
        return None
    groups, approvals = data.get("groups", {}), data.get("approvals", {})
    if "default" in groups or not approvals.keys() <= {*groups, "default"}:
        return None
    ceilings = data.get("ceilings", ())
    return (Path(ceilings),) if isinstance(ceilings, str) else tuple(map(Path, ceilings))


def _text(value: Any) -> bool:
    # Half of a surrogate pair, which only a variable or a folder's name could hold, is no text.
    return type(value) is str and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _name(value: Any) -> bool:
    return _text(value) and value != ""


def _names(value: Any) -> bool:
    return _name(value) or _list(_name)(value)


def _url(value: Any) -> bool:
    return _text(value) and url_fault(value) is None


def _secret(fault: Callable[[tuple[str, ...]], str | None]) -> Test:
    return lambda value: _names(value) and fault((value,) if isinstance(value, str) else tuple(value)) is None


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e9


def _count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**53


def _list(each: Test) -> Test:
    return lambda value: type(value) is list and all(map(each, value))


def _table(tests: Mapping[str, Test], others: Test = lambda value: False) -> Test:
    return lambda value: (
        type(value) is dict and all(_text(key) and tests.get(key, others)(one) for key, one in value.items())
    )


def _anything(value: Any) -> bool:
    return True


_OPEN = _table({}, _anything)
_SINK = _table({"required": lambda value: type(value) is bool, "timeout_s": _seconds}, _anything)
_LIMITS = {
    "queue_events": _count,
    "arguments_bytes": _count,
    "observer_events": _count,
    "sink_s": _seconds,
    "backend_s": _seconds,
}
_KEYS: Mapping[str, Test] = {
    "policy": _text,
    "ceilings": lambda value: _text(value) or _list(_text)(value),
    "store": _url,
    "ledger": _url,
    "mode": lambda value: value == "enforce",
    "plugins": _names,
    "groups": _table({}, _names),
    "approvals": _table({}, _names),
    "sinks": _table({}, _SINK),
    "backends": _table({}, _OPEN),
    "isolates": _OPEN,
    "mcp": _OPEN,
    "secrets": _table({"patterns": _secret(pattern_fault), "names": _secret(name_fault)}),
    "limits": _table(_LIMITS),
}
