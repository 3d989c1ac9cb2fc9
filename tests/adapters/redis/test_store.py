"""`RedisStore` and `RedisPlatformState`: the contract, on Redis and on Valkey."""

from __future__ import annotations

from css.adapters.redis.settings import RedisSettings
from tests.adapters.redis.fixture import RedisFixture
from tests.contracts.ledger import LedgerContract
from tests.contracts.planned import LocatorBookContract, PlannedContract
from tests.contracts.platform_state import PlatformStateContract
from tests.contracts.recovery_state import RecoveryStateContract
from tests.contracts.running import RunningContract
from tests.contracts.store import StoreContract
from tests.servers import servers


class _Redis(RedisFixture):
    def settings(self) -> RedisSettings:
        host, port = servers().redis_address()
        return RedisSettings(host=host, port=port, db=servers().new_redis_database())


class _Valkey(RedisFixture):
    def settings(self) -> RedisSettings:
        host, port = servers().valkey_address()
        return RedisSettings(host=host, port=port, db=servers().new_valkey_database())


class RedisStoreContract(_Redis, StoreContract):
    """The store's contract on Redis."""


class RedisPlatformStateContract(_Redis, PlatformStateContract):
    """The platform state's contract on Redis."""


class RedisRecoveryStateContract(_Redis, RecoveryStateContract):
    """What recovery and sync need, on Redis."""


class RedisLedgerContract(_Redis, LedgerContract):
    """The ledger's contract on Redis."""


class RedisRunningContract(_Redis, RunningContract):
    """What NPPCLIENT reads, on Redis."""


class ValkeyRunningContract(_Valkey, RunningContract):
    """What NPPCLIENT reads, on Valkey."""


class ValkeyRecoveryStateContract(_Valkey, RecoveryStateContract):
    """What recovery and sync need, on Valkey."""


class ValkeyLedgerContract(_Valkey, LedgerContract):
    """The ledger's contract on Valkey."""


class ValkeyStoreContract(_Valkey, StoreContract):
    """The store's contract on Valkey."""


class ValkeyPlatformStateContract(_Valkey, PlatformStateContract):
    """The platform state's contract on Valkey."""


class RedisPlannedContract(_Redis, PlannedContract):
    """What the CM plans, on Redis."""


class ValkeyPlannedContract(_Valkey, PlannedContract):
    """What the CM plans, on Valkey."""


class RedisLocatorBookContract(_Redis, LocatorBookContract):
    """What the locator was told, on Redis."""


class ValkeyLocatorBookContract(_Valkey, LocatorBookContract):
    """What the locator was told, on Valkey."""
