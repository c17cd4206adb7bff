"""The parts of a store: which it keeps, and whether they offer all that their ports name.

Ports grow, and a store may be somebody else's.  What one lacks is said by name when it is opened, and not by
an AttributeError in the middle of a run or of a purge.
"""

from inspect import Parameter, signature
from types import FunctionType
from typing import Final

from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import EventLog, KillSwitch, Leases, Ledger, Store, TicketStore
from ringfence.engine.seams.store_urls import without_password

PARTS: Final = {
    "events": "audit log",
    "tickets": "tickets",
    "leases": "leases of sessions",
    "ledger": "budgets",
    "kill_switch": "orders to stop",
}
"""The parts of a store, and what people call them."""

_PORTS: Final[dict[str, type]] = {
    "events": EventLog,
    "tickets": TicketStore,
    "leases": Leases,
    "ledger": Ledger,
    "kill_switch": KillSwitch,
}
_FOR_LOG: Final = "keep the log under `store`, in one like `sqlite:` or `postgresql:`"


def lacking(store: Store, wanted: tuple[str, ...] = tuple(PARTS)) -> EngineError | None:
    """Return the error of an opened store that does not keep all that is `wanted` of it; None: it does.

    A part that lacks a method of its port, or a keyword of one, is an error too.
    """
    missing = [part for part in wanted if getattr(store, part) is None]
    if not missing:
        return _outgrown(store, wanted)
    words = [f"no {PARTS[part]}" for part in missing]
    if "events" not in missing:
        help = "name a store that keeps budgets and orders to stop under `ledger`, like `redis:`"
        if not {"ledger", "kill_switch"} & {*missing}:
            help = f"use one that keeps them: {_FOR_LOG}"
    elif store.ledger is not None and store.kill_switch is not None:
        help = f"write its URL under `ledger` (RINGFENCE_LEDGER), and {_FOR_LOG}"
    else:
        help = _FOR_LOG
    return EngineError(f"the store {without_password(store.url)} keeps {_listed(words)}", help=help)


def _outgrown(store: Store, wanted: tuple[str, ...]) -> EngineError | None:
    """Return the error of a store whose parts were made for a Ringfence whose ports asked for less."""
    lacks = [f"`{part}.{name}`" for part in wanted for name in _lacked(getattr(store, part), _PORTS[part])]
    if not lacks:
        return None
    return EngineError(
        f"the store {without_password(store.url)} was made for another version of Ringfence: it lacks "
        f"{_listed(lacks)}",
        help="install the version of its plugin that goes with this one",
    )


def _lacked(part: object, port: type) -> list[str]:
    """Return the methods of a port, and the keywords of its methods, that a part does not offer."""
    found: list[str] = []
    for name, asked in vars(port).items():
        if name.startswith("_") or not isinstance(asked, FunctionType):
            continue
        method = getattr(part, name, None)
        if not callable(method):
            found.append(name)
            continue
        try:
            takes = signature(method).parameters
        except (TypeError, ValueError):  # compiled code, which cannot be looked at: its word is taken
            continue
        if any(one.kind is Parameter.VAR_KEYWORD for one in takes.values()):
            continue
        keywords = (one.name for one in signature(asked).parameters.values() if one.kind is one.KEYWORD_ONLY)
        found += [f"{name}({keyword}=)" for keyword in keywords if keyword not in takes]
    return found


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
