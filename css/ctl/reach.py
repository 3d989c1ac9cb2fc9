"""How `cssctl` finds the stores: told on the command line, else by the PMS, as CSS itself does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from twisted.internet.task import deferLater

from css.config import Settings, parse
from css.connections import ServerConnector
from css.ctl.broker import PATIENCE_SECONDS, OwnBroker, Unreachable
from css.handlers.rebuilding import INCARNATION_KEY
from css.messages.pms import RedisAddress
from css.ports.store import IConferenceStore

_POLL_SECONDS = 0.05
_ADDRESS = re.compile(r"^(?P<host>.+):(?P<port>\d{1,5})(?:/(?P<db>\d{1,5}))?$")


def address_from(text: str, moid: str) -> RedisAddress:
    """`host:port`, or `host:port/db`. @raise ValueError: it is neither."""
    match = _ADDRESS.match(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError(f"{text!r} is not host:port or host:port/db")
    return RedisAddress(match["host"].strip("[]"), int(match["port"]), int(match["db"] or 0), moid)


def bare_settings(moid: str) -> Settings:
    """What is needed to reach a Redis that asks for no password. @raise ConfigError: the platform's moid is no good."""
    quoted = moid.replace("\\", "\\\\").replace('"', '\\"')
    return parse(f'[platform]\nmoid = "{quoted}"\n[amqp]\nurl = "memory:"\n', "--platform")


async def own_store(reactor: Any, settings: Settings, address: RedisAddress | None) -> IConferenceStore:
    """The platform's own Redis, connected.

    @param address: None: Sentinels tell it, if configured, else the PMS is asked.
    @raise Unreachable: it is not found, does not answer within 5 s, or is none of CSS's.
    """
    connector = ServerConnector(reactor, settings)
    moid, sentinel = settings.platform.moid, settings.redis.sentinel
    if address is None and sentinel is not None and moid in sentinel.masters:
        address = RedisAddress("sentinel", 1, 0, moid)
    if address is None:
        address = await _asked(reactor, settings, connector)
    return await reached(reactor, connector.make_store(address))


async def reached(reactor: Any, store: IConferenceStore) -> IConferenceStore:
    """A store that answers. @raise Unreachable: it does not within 5 s, or it is none of CSS's."""
    give_up_at = reactor.seconds() + PATIENCE_SECONDS
    while not store.available:
        if reactor.seconds() > give_up_at:
            raise Unreachable(f"the Redis of {store.platform} does not answer")
        await deferLater(reactor, _POLL_SECONDS)
    if not await store.read_string(INCARNATION_KEY):
        raise Unreachable(
            f"no instance of CSS has ever worked on that Redis of {store.platform}: is it the right database?"
        )
    return store


async def _asked(reactor: Any, settings: Settings, connector: ServerConnector) -> RedisAddress:
    broker = OwnBroker(reactor, connector.make_own_bus(), settings.platform.moid)
    try:
        await broker.start()
        return own_of((await broker.pms.ask_config(settings.platform.moid)).redis or (), settings.platform.moid)
    finally:
        await broker.stop()


def own_of(addresses: Iterable[RedisAddress], own: str) -> RedisAddress:
    """The own platform's. @raise Unreachable: the PMS does not name it."""
    for each in addresses:
        if each.platformmoid == own:
            return each
    raise Unreachable("the PMS does not name the own Redis: give --redis host:port/db")
