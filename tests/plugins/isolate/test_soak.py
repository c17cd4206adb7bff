"""500 calls, half of them hostile, leave nothing behind; `make soak` makes 10,000."""

import os

import pytest

from tests import walls
from tests.plugins.isolate.soak import soak

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")


async def test_nothing_is_left_in_the_host_after_500_calls() -> None:
    walls.needed()
    report = await soak(500)
    assert report.wrong == ()
    assert report.leaks() == []
    assert report.ends.total() == 500
    assert report.ends[None] < 300
