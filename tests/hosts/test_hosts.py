"""Processes that share nothing but the store's URL keep one limit between them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hosts.conftest import Settings
from tests.hosts.shop import CALLS, HOSTS, LIMIT, Effects

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


def started(folder: Path, settings: dict[str, Any]) -> "subprocess.Popen[str]":
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hosts.host", json.dumps(settings)],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_200_parallel_calls_of_4_hosts_exactly_10_run(
    shared: Callable[[str], Settings], tmp_path: Path
) -> None:
    settings = shared("hosts_race")
    folders = [tmp_path / f"host{number}" for number in range(HOSTS)]
    hosts = [started(folder, settings(folder)) for folder in folders]
    for host in hosts:
        assert host.stdout is not None and host.stdout.readline() == "ready\n"
    for host in hosts:
        assert host.stdin is not None
        host.stdin.write("go\n")
        host.stdin.flush()
    said = [json.loads(host.communicate(timeout=120)[0]) for host in hosts]
    assert [host.returncode for host in hosts] == [0] * HOSTS
    assert [one["broken"] for one in said] == [[]] * HOSTS
    assert sum(one["ran"] for one in said) == LIMIT
    assert sum(one["denied"] for one in said) == HOSTS * CALLS - LIMIT
    assert {name for one in said for name in one["refused"]} == {"mail.rate"}
    effects = [effect for folder in folders for effect in Effects(folder).read()]
    assert len(effects) == len(set(effects)) == LIMIT


def test_a_host_that_dies_at_any_point_of_a_call_takes_what_it_reserved_and_no_more(
    shared: Callable[[str], Settings], tmp_path: Path
) -> None:
    """Never more than 10 run; effects, and what is kept because its fate is unknown, make 10."""
    settings = shared("{place}")(Path("{folder}"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.dying", str(tmp_path), json.dumps(settings)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    whole, *rounds = (json.loads(line) for line in done.stdout.splitlines())
    assert whole["status"] == 0 and whole["said"]["ran"] == LIMIT
    for point in ("ledger.reserve", "ledger.dispatched", "run.append"):
        assert any(site.endswith(point) for site in whole["said"]["reached"])
    assert len(rounds) == 2 * len(whole["said"]["reached"])
    for one in rounds:
        assert one["statuses"] == [9, 0, 0, 0], (one, stderr_of(one))
        assert all(said["broken"] == [] for said in one["said"][1:]), one
        ran = sum(one["effects"])
        assert ran <= LIMIT, one
        assert one["counted"] == {"taken": LIMIT, "known": ran}, (one, stderr_of(one))
    assert any(sum(one["effects"]) < LIMIT for one in rounds), "some died between reserve and effect"


def stderr_of(one: dict[str, Any]) -> dict[str, str]:
    """Return what the hosts of a round complained about."""
    return {path.parent.name: path.read_text() for path in Path(one["folder"]).glob("*/stderr")}
