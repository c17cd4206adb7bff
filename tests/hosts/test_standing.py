"""A host is stopped in the middle of a run for longer than its word is good for; another one takes over.

When it goes on it starts nothing and writes nothing, wherever it stood.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ringfence.plugins.redis.kill_switch as redis_switch
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.walk import verify_log
from ringfence.engine.seams.errors import EngineError
from tests.guards import ALICE, call
from tests.hosts.standing import WHERE, short_lived

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
WITHIN_S = 60
LIMIT = 10
"""Mails in an hour."""


@pytest.fixture(params=["postgres", "redis and postgres"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What hosts share."""
    word = f"t{secrets.token_hex(6)}"
    made = {"store": f"{request.getfixturevalue('postgres_server').url}?schema={word}"}
    if request.param != "postgres":
        made["ledger"] = f"{request.getfixturevalue('redis_server').url}?prefix={word}"
    return made


@contextlib.contextmanager
def host(folder: Path, settings: dict[str, Any], where: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hosts.standing", str(folder), json.dumps(settings), where],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def stopped(process: "subprocess.Popen[str]") -> None:
    """Wait until it stands still."""
    end = time.monotonic() + WITHIN_S
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)


def taken_over(guard: Guard) -> Run:
    """Begin a run in the session as soon as its holder counts as gone."""
    end = time.monotonic() + WITHIN_S
    while True:
        try:
            return guard.begin_run(principal=ALICE, agent="main", session="s")
        except EngineError as error:
            assert "holds the session" in str(error) and time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("where", WHERE)
def test_a_host_that_stood_still_too_long_starts_nothing_and_writes_nothing(
    tmp_path: Path, settings: dict[str, Any], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_switch, "VALID_S", redis_switch.VALID_S)  # put back what the next line changes
    guard = short_lived(**settings)
    guard.open()
    with host(tmp_path, settings, where) as other:
        assert other.stdout is not None
        id = other.stdout.readline().removeprefix("ready").strip()
        stopped(other)
        run = taken_over(guard)
        before = [one.event.kind for one in guard.runs.get(id).events]
        assert before[-2:] == ["RunHalted", "RunEnded"], "nothing can be written behind its end"
        assert guard.execute(run, call("mail", to="a@b.example"), lambda _: "sent") == "sent"
        effects = (tmp_path / "effects").read_text()

        os.kill(other.pid, signal.SIGCONT)
        errors = json.loads(other.stdout.readline().removeprefix("over"))
        assert other.wait(WITHIN_S) == 0
        assert (tmp_path / "effects").read_text() == effects
        # The result of the body that was in flight is its own; whatever comes after is refused.
        assert len(errors) >= (2 if where == "inside of the body" else 3), errors
        assert [one.event.kind for one in guard.runs.get(id).events] == before
        mine = effects.count("ran") + 1
        sent = 0
        for _ in range(2 * LIMIT):
            with contextlib.suppress(Exception):
                guard.execute(run, call("mail", to="a@b.example"), lambda _: "sent")
                sent += 1
    assert mine + sent <= LIMIT
    guard.end_run(run)
    opened = guard.opening.ready
    links = guard._loop.submit(opened.log.links()).result(WITHIN_S)
    entries = [
        one
        for row in guard.runs.list(limit=None)
        for one in guard._loop.submit(opened.log.read(row.run)).result(WITHIN_S)
    ]
    assert verify_log(links, entries).intact
    for one in (id, run.id):
        assert guard.runs.get(one).replay().divergence is None
    guard.close()
