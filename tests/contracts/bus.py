"""What every `IBus` does, sentence by sentence of its port. A subclass says how to make one."""

from __future__ import annotations

from tests.contracts.bus_consuming import ConsumingContract
from tests.contracts.bus_life import LifeContract
from tests.contracts.bus_publishing import PublishingContract


class BusContract(LifeContract, PublishingContract, ConsumingContract):
    """To be subclassed where trial looks for tests."""
