"""The peers on a real broker, around a CSS that only passes messages on."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.messages.create import mcu_create_body
from css.peers.cm import CmPeer
from css.peers.cmu import CmuHost
from css.peers.rms import Resources, RmsPeer
from css.ports.bus import Delivery, Outgoing
from tests.peers.world import CSS_QUEUES, css_topology
from tests.servers import servers

CONFERENCES = 200


class Relay:
    """Makes the hops of a create, one RMS and one MCU a conference, and keeps nothing but the requests."""

    def __init__(self, bus: AmqpBus) -> None:
        self.bus = bus
        self._requests: dict[str, Delivery] = {}
        self._sent = 0
        bus.declare(css_topology())
        for queue in CSS_QUEUES:
            bus.consume(queue, self.take)

    async def take(self, delivery: Delivery) -> None:
        """One hop."""
        fields = json.loads(delivery.body)
        if fields["type"] == "CM_MAU_CREATECONF_REQ":
            self._requests[fields["confE164"]] = delivery
            ask = json.dumps({"type": "GET_RES_REQ", "moid": fields["moid"]}).encode()
            await self.send(
                ("RMS.RES.EX", "RMS.RES.K"), ask, reply_to="MAU.RPCRES.Q", correlation_id=fields["confE164"]
            )
        elif fields["type"] == "GET_RES_ACK":
            await self.place(fields, self._requests[delivery.correlation_id])
        elif fields["type"] == "MCU_MAU_CREATECONF_ACK":
            await self.answer(fields, self._requests[fields["confE164"]])

    async def place(self, granted: dict[str, Any], request: Delivery) -> None:
        """To the first MCU."""
        ip = granted["mcu"][0]["ip"]
        body = mcu_create_body(request.body, ip=ip, roommoid=granted["roommoid"], epoch=1, xmpu=0, vrs="")
        await self.send(("", f"cmu.conf.q:{ip}"), body, reply_to="MAU.MCU.Q", expiration_ms=5000)

    async def answer(self, ack: dict[str, Any], request: Delivery) -> None:
        """To the CM."""
        asked = json.loads(request.body)
        fields = {"type": "MAU_CM_CREATECONF_ACK", "confname": asked["confname"], "mtreqid": asked["mtreqid"]}
        fields |= {"confE164": ack["confE164"], "ip": ack["ip"], "pid": ack["pid"]}
        body = json.dumps({**fields, "roommoid": "r", "platformmoid": "A", "endtime": 0}).encode()
        await self.send(("", request.reply_to), body, correlation_id=request.correlation_id)

    async def send(self, place: tuple[str, str], body: bytes, **properties: Any) -> None:
        """Publish with an id of its own."""
        self._sent += 1
        await self.bus.publish(Outgoing(*place, body, f"relay-{self._sent}", **properties))


class RabbitMQTests(TestCase):
    """CM, RMS and MCU over RabbitMQ."""

    timeout = 60

    def bus(self, name: str, vhost: str) -> AmqpBus:
        broker = servers().rabbitmq()
        bus = AmqpBus(
            reactor, [AmqpAddress(host=broker.host, port=broker.port, vhost=vhost)], name=name, random=Random(1)
        )
        self.addCleanup(bus.stop)
        bus.start()
        return bus

    async def test_creates(self) -> None:
        vhost = servers().rabbitmq().new_vhost()
        css, bus, random = self.bus("css", vhost), self.bus("peers", vhost), Random(2)
        Relay(css)
        await css.when_connected()
        cm = CmPeer(bus, reactor, random)
        rms = RmsPeer(bus, reactor, random)
        host = CmuHost(bus, reactor, random, "10.0.0.1", "r", ("1", "2"))
        rms.answer("", Resources("r", ["10.0.0.1"]))
        for peer in (cm, rms, host):
            peer.start()
            self.addCleanup(peer.stop)
        await bus.when_connected()
        answers = gatherResults([cm.create(f"{number:08}", "会议", "user-1") for number in range(CONFERENCES)])
        types = {answer["type"] for answer in await answers}
        self.assertEqual(types, {"MAU_CM_CREATECONF_ACK"})
        self.assertEqual(len(host.conferences), CONFERENCES)
        self.assertEqual([len(process.conferences) for process in host.processes.values()], [CONFERENCES // 2] * 2)
        self.assertEqual({len(cm.answers_of(f"{number:08}")) for number in range(CONFERENCES)}, {1})
        self.assertEqual(cm.faults + rms.faults + host.faults, [])
