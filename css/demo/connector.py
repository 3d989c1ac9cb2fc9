"""How the demo's instances connect: to brokers in this process, else as on real servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from css.adapters.memory.bus import MemoryBroker
from css.config import Settings
from css.connections import ServerConnector
from css.messages.pms import BrokerAddress
from css.ports.bus import IBus


class DemoConnector(ServerConnector):
    """See `css.handlers.links.Connector`.

    @param brokers: by platform, which is also the vhost that the simulated PMS names.
    """

    def __init__(self, reactor: Any, settings: Settings, brokers: Mapping[str, MemoryBroker]) -> None:
        super().__init__(reactor, settings)
        self._brokers = brokers
        self._own = settings.platform.moid
        self._instance = settings.instance.name

    def make_own_bus(self) -> IBus:
        """The own platform's broker, not started."""
        bus: IBus = self._brokers[self._own].bus(self._instance)
        return bus

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> IBus:
        """Another platform's broker, not started."""
        bus: IBus = self._brokers[addresses[0].vhost].bus(f"{self._instance} at {moid}")
        return bus
