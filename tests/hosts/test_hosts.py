"""Processes that share nothing but the store's URL keep one limit between them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hosts.conftest import Settings
from tests.hosts.shop import CALLS, LIMIT, Effects

ROOT = Path(__file__).parent.parent.parent
HOSTS = 4


def started(folder: Path, settings: dict[str, Any]) -> "subprocess.Popen[str]":
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hosts.host", json.dumps(settings)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
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
