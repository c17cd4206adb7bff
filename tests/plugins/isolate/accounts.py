"""Who a worker, or a whole host, runs as: the user of the tests, a plain account, nobody with any capability.

Where the machine has no such account to offer the test is skipped and says so; with `TEST_ISOLATES=required`
it fails.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ringfence.plugins.isolate.installed import installed
from ringfence.plugins.isolate.worker import privileges
from ringfence.plugins.isolate.worker.kernel import Kernel

PLAIN = 65534
"""A user that owns nothing here: `nobody` on most systems."""

ROOT = Path(__file__).parents[3]
SITE = str(installed().folder or "no V8 is installed")
"""Where V8 is."""
PATH = (str(ROOT), str(ROOT / "src"), SITE, *(sysconfig.get_path(name) for name in ("purelib", "platlib")))
"""What a host of these tests imports from."""

_WITHIN_S = 120


@dataclass(frozen=True)
class Account:
    """How a process is started as somebody."""

    python: str = sys.executable
    """An interpreter that this user may read."""
    user: int | None = None
    capabilities: bool = True

    def popen(self) -> dict[str, Any]:
        """Return what `subprocess` must be told."""
        if self.user is not None:
            # Setting the user id takes root's capabilities away, for good.
            return {"user": self.user, "group": self.user, "extra_groups": []}
        return {} if self.capabilities else {"preexec_fn": _without_capabilities(Kernel())}

    def run(self, script: str, *arguments: str) -> str:
        """Run Python as this user, with what tests import; return what it prints."""
        ran: subprocess.CompletedProcess[str] = subprocess.run(
            [self.python, "-B", "-c", script, *arguments],
            env=environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            **self.popen(),
        )
        assert ran.returncode == 0, f"as user {self.user}: {ran.stderr}"
        return ran.stdout


def environment() -> Mapping[str, str]:
    """Return the environment of a host that imports what tests import."""
    return {"PYTHONPATH": os.pathsep.join(PATH), "HOME": "/nonexistent", "PATH": os.defpath}


def _without_capabilities(kernel: Kernel) -> Callable[[], object]:
    def dropped() -> None:
        # with nothing in the bounding set not even root gets any back by starting a program
        assert privileges.no_capabilities(kernel).holds

    return dropped


@cache
def plain() -> Account | str:
    """Return a plain account with an interpreter that it may read; or why there is none."""
    if os.geteuid() != 0:
        return Account()
    tried = []
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        account = Account(python, PLAIN)
        try:
            account.run("import py_mini_racer, pydantic, ringfence._assembly, tests.guards")
        except (OSError, AssertionError) as problem:  # said to whoever runs the tests
            tried.append(f"{python}: {str(problem).strip().splitlines()[-1]}")
        else:
            return account
    return f"user {PLAIN} may not read any interpreter and the tests beside it: {'; '.join(tried)}"


def everybody() -> list[Any]:
    """Return who an attack is tried as; the first is the user of the tests."""
    if os.geteuid() != 0:
        return [pytest.param("own", id="as the user of the tests, who is not root")]
    return [
        pytest.param("own", id="as root"),
        pytest.param("plain", id="as a plain user"),
        pytest.param("bare", id="as root without capabilities"),
    ]


def account(name: str) -> Account:
    """Return one of `everybody`; skip the test, and say why, where there is none."""
    if name == "own":
        return Account()
    if name == "bare":
        return Account(capabilities=False)
    found = plain()
    if isinstance(found, str):
        pytest.skip(found)
    return found
