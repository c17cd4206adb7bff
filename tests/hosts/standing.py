"""A host that stands still: `python -m tests.hosts.standing FOLDER SETTINGS WHERE` stops itself with SIGSTOP.

It says `ready RUN` before, and `over` with what its calls raised once somebody lets it go on.  Each body that
starts writes a line to the file `effects` in FOLDER.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ringfence.plugins.redis.kill_switch as redis_switch
from ringfence.engine.enforcement import admission, dispatch
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import RingfenceError
from ringfence.plugins.postgres.store import PostgresStore
from tests.guards import ALICE, call, make_guard

PRESENCE_S = 3.0
"""How long a host that is silent counts as alive: less than usual, so that a test is short."""

WHERE = ("between two calls", "before the ledger answers", "before the body", "inside of the body")


def short_lived(**settings: Any) -> Guard:
    """Return a guard whose word is good for a short time."""
    made = make_guard(**settings)
    make = made.opening._make_store

    def opened() -> Any:
        store: Any = make()
        for one in (store, getattr(store, "_log", None), getattr(store, "_ledger", None)):
            if isinstance(one, PostgresStore):
                one._presence_s = PRESENCE_S
        return store

    made.opening._make_store = opened
    redis_switch.VALID_S = PRESENCE_S  # type: ignore[misc]
    return made


def stand_still() -> None:
    """Stop this process until somebody continues it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def main(folder: str, settings: str, where: str) -> None:
    """Work, stand still once, and go on as if nothing had happened."""
    guard = short_lived(**json.loads(settings))
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    effects = (Path(folder) / "effects").open("a", buffering=1)

    def body(_: Any) -> str:
        effects.write("ran\n")
        return "ran"

    def stops_inside(_: Any) -> str:
        body(_)
        stand_still()
        return "ran"

    guard.execute(run, call("mail", to="a@b.example"), body)
    print("ready", run.id, flush=True)
    first = body
    if where == "between two calls":
        stand_still()
    elif where == "inside of the body":
        first = stops_inside
    else:
        name = "dispatch" if where == "before the body" else "request"
        there = dispatch if name == "dispatch" else admission
        works = getattr(there, name)

        def then_stands_still(*args: Any, **more: Any) -> Any:
            answer = yield from works(*args, **more)
            setattr(there, name, works)
            stand_still()
            return answer

        setattr(there, name, then_stands_still)
    errors = []
    for one in (first, body, body):
        try:
            guard.execute(run, call("mail", to="a@b.example"), one)
        except RingfenceError as error:
            errors.append(type(error).__name__)
    print("over", json.dumps(errors), flush=True)
    guard.end_run(run)
    guard.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
