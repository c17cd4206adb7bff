"""A ledger and a kill switch in Redis keep the contracts of every store."""

from ringfence.testing import KillSwitchContract, LedgerContract
from tests.plugins.stores.redis.places import InRedis


class TestRedisLedger(InRedis, LedgerContract):
    pass


class TestRedisKillSwitch(InRedis, KillSwitchContract):
    pass
