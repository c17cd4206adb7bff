"""One step of a run that asks people, in a process of its own: `python -m … SETTINGS STEP [RUN]`.

The settings are JSON.  It prints one JSON line; `ask` and `ask in place` then wait to be killed.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from ringfence.engine.seams.errors import PendingError, RingfenceError
from tests.guards import ALICE, POLICY, call, make_guard

PAY = call("pay", "c1", amount=5)


def main(settings: dict[str, Any], step: str, run_id: str | None) -> None:
    """Do one step."""
    effects = settings.pop("effects")
    policy = settings.pop("policy", POLICY)
    guard = make_guard(policy, **settings)

    def effect(_: Any) -> str:
        with Path(effects).open("a") as file:
            file.write("ran\n")
        return "ran"

    if step == "ask":
        run = guard.begin_run(principal=ALICE, agent="main", session="s")
        try:
            guard.execute(run, PAY, effect, wait=False)
        except PendingError as error:
            guard.suspend(run)
            say(run=run.id, ticket=error.tickets[0])
            threading.Event().wait()
    elif step == "ask in place":
        run = guard.begin_run(principal=ALICE, agent="main", session="s")
        say(run=run.id)
        say(gave=guard.execute(run, PAY, effect))
        guard.end_run(run)
    elif step == "watch":
        guard.open()
        say(open=True)
        sys.stdin.read()
    else:
        assert run_id is not None
        try:
            run = guard.resume_run(run_id)
            say(gave=guard.execute(run, PAY, effect, wait=False))
        except RingfenceError as error:
            say(refused=str(error))
    guard.close()


def say(**said: Any) -> None:
    """Print a line at once."""
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
