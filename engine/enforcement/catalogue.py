"""The tools that a framework binds, against those that the policy declares.

What no policy declares is never offered and never run, which from outside looks like a framework at fault:
so all of it is named at once, when the tools are bound, with the command that would write its declarations.
"""

import sys
import threading
from collections.abc import Iterable
from itertools import islice

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.escape import escaped

SHOWN = 50
"""How many names are written out; names may come from a server that has millions."""
LONGEST = 80
"""How many characters of a name are."""
REMEMBERED = 10_000
"""How many names are remembered as said; beyond these nothing more is said."""

_lock = threading.Lock()
_said: set[tuple[str, str]] = set()
"""(digest of the policy, name): said in this process, by whichever guard and adapter."""


def undeclared(guard: Guard, names: Iterable[str], how: str) -> tuple[str, ...]:
    """Return those of a tool set that the policy does not declare; name them on the standard error, once.

    For adapters, wherever they learn of tools: when they are bound, and again whenever they are offered,
    which costs a look-up a name.  Names that this process has said already, of this policy, are not said
    again; a set with new ones is said whole.

    Args:
        names: The tools by their names in the framework; all of them, not one by one.
        how: What `ringfence init --tools` reads this tool set from, as a person would type it, with what the
            adapter cannot know in capitals: `langchain:MODULE:TOOLS`.
    """
    declared = guard.plan.by_bound_name
    missing = tuple(dict.fromkeys(name for name in names if name not in declared))
    if missing and not guard.plays_back and _news(guard.plan.digest, missing):
        print(_told(guard.plan.policy, missing, how), file=sys.stderr)
    return missing


def _news(digest: str, names: tuple[str, ...]) -> bool:
    with _lock:
        new = {(digest, name) for name in names} - _said
        if not new or len(_said) >= REMEMBERED:
            return False
        _said.update(islice(new, REMEMBERED - len(_said)))
        return True


def _told(policy: str, missing: tuple[str, ...], how: str) -> str:
    # SECURITY: a tool server chooses these names, and a terminal obeys what is in them.
    shown = ", ".join(f"`{_name(name)}`" for name in missing[:SHOWN])
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return (
        f"ringfence: the policy `{policy}` declares no tool {shown}{more}:"
        " not offered to the model, and never run\n"
        f"  help: `ringfence init --tools {escaped(how)}` writes a policy that declares every tool"
    )


def _name(name: str) -> str:
    return escaped(name[:LONGEST]) + ("…" if len(name) > LONGEST else "")
