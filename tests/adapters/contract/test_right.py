"""An adapter that does everything right passes the whole contract."""

from tests.adapters.contract.mini import Mini


class TestMini(Mini):
    """Nothing is left out."""
