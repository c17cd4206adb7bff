"""A process that asks over the webhook and dies while it waits: `asking_process.py STORE URL`."""

import os
import sys

import pytest

from ringfence import PendingError
from tests.guards import ALICE, call, make_guard
from tests.plugins.webhook.people import SECRET


def main(store: str, url: str) -> None:
    """Ask, put the run away, say its name, and end as a crash would."""
    guard = make_guard(
        store=store,
        approvals={"default": "webhook"},
        backends={"webhook": {"url": url, "secret": SECRET}},
    )
    run = guard.begin_run(principal=ALICE, agent="main")
    with pytest.raises(PendingError):
        guard.execute(run, call("pay", "c1", amount=5), dict, wait=False)
    guard.suspend(run)
    print(run.id, flush=True)
    os._exit(9)


if __name__ == "__main__":
    main(*sys.argv[1:])
