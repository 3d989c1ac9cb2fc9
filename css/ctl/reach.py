"""How `cssctl` finds the platform's own Redis: told on the command line, else by the PMS, as CSS itself does."""

from __future__ import annotations

import os
import re
import uuid
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.task import deferLater

from css.config import Settings, parse
from css.connections import ServerConnector
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher
from css.handlers.pms import PmsClient
from css.handlers.probes import no_probe
from css.handlers.rebuilding import INCARNATION_KEY
from css.handlers.tally import Tally
from css.messages.pms import RedisAddress
from css.ports.bus import IBus, Queue, Topology
from css.ports.store import IConferenceStore

PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_ADDRESS = re.compile(r"^(?P<host>.+):(?P<port>\d{1,5})(?:/(?P<db>\d{1,5}))?$")


class Unreachable(Exception):
    """The own Redis is not found, or does not answer; the text says what is missing."""


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
    store = connector.make_store(address or await _asked(reactor, settings, connector))
    give_up_at = reactor.seconds() + PATIENCE_SECONDS
    while not store.available:
        if reactor.seconds() > give_up_at:
            raise Unreachable(f"the Redis of {moid} does not answer")
        await deferLater(reactor, _POLL_SECONDS)
    if not await store.read_string(INCARNATION_KEY):
        raise Unreachable(f"no instance of CSS has ever worked on that Redis of {moid}: is it the right database?")
    return store


async def _asked(reactor: Any, settings: Settings, connector: ServerConnector) -> RedisAddress:
    own, name = settings.platform.moid, f"cssctl-{os.getpid()}"
    bus = connector.make_own_bus()
    client = PmsClient(reactor, bus, own, name, str(uuid.uuid4()), PATIENCE_SECONDS, Tally())
    bus.start()
    try:
        return await _answer(reactor, bus, client, own, to.platform_reply_queue(name))
    finally:
        await bus.stop()


async def _answer(reactor: Any, bus: IBus, client: PmsClient, own: str, replies: str) -> RedisAddress:
    # Only the own reply queue: what comes by the shared one is awaited by an instance.
    bus.declare(Topology(queues=(Queue(replies, exclusive=True),)))
    try:
        await bus.when_connected().addTimeout(PATIENCE_SECONDS, reactor)
    except TimeoutError:
        raise Unreachable("the own broker does not answer: give --redis host:port/db") from None
    dispatcher = Dispatcher(bus, client.routes, Tally(), lambda message: None, no_probe)
    bus.consume(replies, dispatcher)
    notice = await client.ask_config(own)
    found = [each for each in notice.redis or () if each.platformmoid == own]
    if not found:
        raise Unreachable("the PMS does not name the own Redis: give --redis host:port/db")
    return found[0]
