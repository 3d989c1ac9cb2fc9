"""What an instance works with, each with the way to find out whether it is there."""

from __future__ import annotations

from functools import partial

from css.handlers.links import Links
from css.handlers.watch import PlatformWatch
from css.ports.bus import IBus
from css.ports.store import IConferenceStore
from css.web.health import Dependency, Missing


def dependencies(own: str, bus: IBus, links: Links, watch: PlatformWatch) -> list[Dependency]:
    """Own broker and own Redis are required. SQL, the PMS once it has been heard, and other platforms' servers may be
    away: the rest goes on."""
    found = [
        Dependency("amqp", partial(_bus, bus), required=True),
        Dependency("redis", partial(_store, links.stores.get(own)), required=True),
        Dependency("sql", partial(_database, links, own), required=False),
        Dependency("pms", partial(_pms, watch), required=False),
    ]
    found += [Dependency(f"amqp {moid}", partial(_bus, peer), False) for moid, peer in links.peers.items()]
    others = [(moid, store) for moid, store in links.stores.items() if moid != own]
    return [*found, *(Dependency(f"redis {moid}", partial(_store, store), False) for moid, store in others)]


async def _bus(bus: IBus) -> None:
    if not bus.connected:
        raise Missing("not connected")
    if bus.blocked:
        raise Missing("it blocks publishers")


async def _store(store: IConferenceStore | None) -> None:
    if store is None:
        raise Missing("its address is not known yet")
    if not store.available:
        raise Missing("not connected")
    await store.now_ms()


async def _database(links: Links, moid: str) -> None:
    if links.database is None:
        raise Missing("it was not reached yet")
    await links.database.domain(moid)


async def _pms(watch: PlatformWatch) -> None:
    if watch.silent:
        raise Missing("it did not answer the last time it was asked")
