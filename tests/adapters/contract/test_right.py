"""An adapter that does everything right passes the whole contract."""

import pytest

from tests.adapters.contract.mini import Mini


class TestMini(Mini):
    """Nothing is left out."""


def test_a_stage_that_hides_what_the_contract_needs_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Mine has a `_helper` of its own, which the contract needs itself"):
        type("Mine", (Mini,), {"_helper": lambda self: None})
