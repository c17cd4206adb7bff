"""The contract of an adapter: subclass `AdapterContract` and say how your framework plays a scene."""

from collections.abc import Callable
from typing import Any

import pytest

from ringfence.testing.adapters.arguments import Arguments
from ringfence.testing.adapters.bounds import Bounds
from ringfence.testing.adapters.company import Company
from ringfence.testing.adapters.deciding import Deciding
from ringfence.testing.adapters.failing import Failing
from ringfence.testing.adapters.people import People
from ringfence.testing.adapters.recording import Recording
from ringfence.testing.adapters.stage import NEEDS


@pytest.mark.asyncio
class AdapterContract(Deciding, Arguments, People, Failing, Bounds, Company, Recording):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `play`.  What a framework does not have at all, its subclass says here, and the tests of it are then
    not there, rather than skipped.  Needs pytest-asyncio.
    """

    def __init_subclass__(cls, **given: Any) -> None:
        """Leave out the tests of what the framework does not have."""
        super().__init_subclass__(**given)
        if taken := sorted(vars(cls).keys() & _OWN):
            raise TypeError(
                f"{cls.__name__} has a `{taken[0]}` of its own, which the contract needs itself: rename it"
            )
        for name, test in contents_of(AdapterContract).items():
            lacking = [flag for flag in getattr(test, NEEDS, ()) if not getattr(cls, flag)]
            if lacking:
                setattr(cls, name, None)
            elif getattr(cls, name) is None:  # a class above lacks what this one has
                setattr(cls, name, test)


_OWN = frozenset(
    name
    for name in dir(AdapterContract)
    if callable(getattr(AdapterContract, name))
    and not name.startswith(("test_", "__"))
    and name not in ("play", "folder")
)
"""What the tests call; a subclass that hid it would fail in ways that nobody understands."""


def contents_of(contract: type) -> dict[str, Callable[..., Any]]:
    """Return the tests of a contract class by name, those left aside that are not there."""
    return {
        name: test
        for name in dir(contract)
        if name.startswith("test_") and (test := getattr(contract, name)) is not None
    }
