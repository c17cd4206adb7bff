"""Every place in the guard that writes to the log, the ledger, the tickets or the leases."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENFORCEMENT = Path(__file__).parent.parent.parent / "engine" / "enforcement"

WRITES = {
    "journal": {"record", "flush", "close"},
    "ledger": {
        *("reserve", "dispatched", "refund", "settle"),
        *("reserve_now", "dispatched_now", "refund_now"),
        *("reserve_soon", "dispatched_soon", "refund_soon"),
    },
    "tickets": {"open", "swap"},
    "leases": {"lease", "release", "keep_alive", "gone"},
    "kill_switch": {"order", "keep_alive", "gone", "obeyed"},
}
_METHODS = {method for methods in WRITES.values() for method in methods}
_RECORDERS = {"run", "self", "around"}
"""What `append` is called on where it records an event, and not on a list."""


@dataclass(frozen=True, order=True)
class Site:
    """One call in the source."""

    file: str
    line: int
    end_line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.text}"


def sites() -> list[Site]:
    """Return all write points, in the order of the source."""
    return sorted({site for path in ENFORCEMENT.glob("*.py") for site in _sites_of(path)})


def _sites_of(path: Path) -> Iterator[Site]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _writes(node.func):
            assert node.end_lineno is not None
            yield Site(path.name, node.lineno, node.end_lineno, ast.unparse(node.func))


def _writes(function: ast.Attribute) -> bool:
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    if function.attr == "append":
        return isinstance(owner, ast.Name) and owner.id in _RECORDERS
    return function.attr in WRITES.get(name, ())
