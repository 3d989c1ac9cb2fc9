"""The yardstick: the hops of a create on pika's Twisted adapter, with confirms and manual acks, and with no logic.

`python -m benchmarks.relay URL HOST ...` consumes as CSS does and prints `ready`. Of each message only the correlation
id is looked at; bodies are constants with that id in them.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.twisted_connection import TwistedProtocolConnection
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import react

from benchmarks.load import REPLY_QUEUE, ROOM, USER_DOMAIN
from css.handlers import addresses as to

PREFETCH = 20
"""That of CSS."""

_ASK_RMS = f'{{"type":"GET_RES_REQ","moid":"{USER_DOMAIN}"}}'.encode()
_ASK_MCU = (
    '{"type":"MAU_MCU_CREATECONF_REQ","mtreqid":"%s","confE164":"%s","confname":"周会 %s","moid":"user-1","conftype":1,'
    '"duration":60,"maxjoinmt":8,"ip":"%s","roommoid":"room-1","epoch":1835008000126469,"xmpu":0}'
)
_ANSWER = (
    '{"type":"MAU_CM_CREATECONF_ACK","confE164":"%s","confname":"周会 %s","mtreqid":"%s","ip":"10.0.0.1","pid":"1",'
    f'"roommoid":"{ROOM}","platformmoid":"platform-a","endtime":1800000000}}'
)
_REPORT = (
    '{"type":"UPU_ADD_CONF_REQ","confE164":"%s","confname":"周会 %s","conftype":1,"moid":"user-1",'
    '"platformmoid":"platform-a","running":1}'
)
_HEADERS = {"x-css-epoch": 1835008000126469, "x-css-version": 1}


class Relay:
    """Three consumers on channels of their own, and one channel to publish on."""

    def __init__(self, publishing: Any, hosts: list[str]) -> None:
        self._publishing = publishing
        self._hosts = itertools.cycle(hosts)
        self._sent = 0

    def consume(self, queue: Any, then: Callable[[str], list[Deferred[Any]]]) -> None:
        """Hand each delivery on at once; acknowledge it when all that it caused is confirmed."""

        def take(delivery: Any) -> None:
            channel, method, properties, _ = delivery
            published = then(properties.correlation_id)
            all_published = published[0] if len(published) == 1 else gatherResults(published)
            _ = all_published.addCallback(lambda _: channel.basic_ack(method.delivery_tag)).addErrback(fail)
            _ = queue.get().addCallback(take)

        _ = queue.get().addCallback(take)

    def ask_rms(self, number: str) -> list[Deferred[Any]]:
        """The create request has come."""
        return [self._publish(*to.TO_RMS, _ASK_RMS, correlation_id=number, reply_to=to.RMS_REPLY_QUEUE)]

    def ask_mcu(self, number: str) -> list[Deferred[Any]]:
        """RMS has answered."""
        ip = next(self._hosts)
        body = (_ASK_MCU % (number, number, number, ip)).encode()
        more = {"correlation_id": number, "reply_to": to.MCU_QUEUE, "expiration": "5000"}
        return [self._publish(to.DEFAULT, to.mcu_host_queue(ip), body, **more)]

    def answer(self, number: str) -> list[Deferred[Any]]:
        """The MCU has answered."""
        body = (_ANSWER % (number, number, number)).encode()
        report = (_REPORT % (number, number)).encode()
        return [
            self._publish(to.DEFAULT, REPLY_QUEUE, body, correlation_id=number),
            self._publish(*to.TO_LOCATOR, report),
        ]

    def _publish(self, exchange: str, key: str, body: bytes, **more: str) -> Deferred[Any]:
        self._sent += 1
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            headers=_HEADERS,
            message_id=f"relay-{self._sent}",
            **more,
        )
        published: Deferred[Any] = self._publishing.basic_publish(exchange, key, body, properties, mandatory=True)
        return published


async def run(reactor: Any, url: str, hosts: list[str]) -> None:
    """Connect, consume, and never end."""
    parameters = pika.URLParameters(url)
    endpoint = HostnameEndpoint(reactor, parameters.host, parameters.port)
    connection = await connectProtocol(endpoint, TwistedProtocolConnection(parameters))
    await connection.ready
    publishing = await connection.channel()
    await publishing.confirm_delivery()
    for exchange in to.OWN_TOPOLOGY.exchanges:
        await publishing.exchange_declare(exchange, durable=True)
    for queue in to.OWN_TOPOLOGY.queues:
        await publishing.queue_declare(queue.name, durable=True)
    for binding in to.OWN_TOPOLOGY.bindings:
        await publishing.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    relay = Relay(publishing, hosts)
    hops = {to.CM_QUEUE: relay.ask_rms, to.RMS_REPLY_QUEUE: relay.ask_mcu, to.MCU_QUEUE: relay.answer}
    for name, hop in hops.items():
        channel = await connection.channel()
        await channel.basic_qos(prefetch_count=PREFETCH)
        deliveries, _ = await channel.basic_consume(name)
        relay.consume(deliveries, hop)
    print("ready", flush=True)
    await Deferred()


def fail(reason: object) -> None:
    """End at once: a relay that loses messages measures nothing."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, sys.argv[1], sys.argv[2:])))
