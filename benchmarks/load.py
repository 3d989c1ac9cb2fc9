"""The outside world of a create, as cheap as it can be: a CM that asks as fast as it is answered, or by a timetable,
and an RMS, MCU hosts and a locator that answer at once and keep nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from css.ports.bus import Binding, Delivery, IBus, Outgoing, Queue, Topology

REPLY_QUEUE = "cm.reply.q:bench"
USER_DOMAIN = "user-1"
ROOM = "room-1"
PREFETCH = 500
TICK_SECONDS = 0.001
_QUEUES = {"RMS.RES.Q": ("RMS.RES.EX", "RMS.RES.K"), "UPU.CONF.Q": ("UPU.CONF.EX", "UPU.CONF.K")}


class _Asked(msgspec.Struct, gc=False):
    confE164: str  # noqa: N815 (spelled as on the wire)
    ip: str
    epoch: int


_asked = msgspec.json.Decoder(_Asked).decode


class Load:
    """All peers of a create on one bus.

    @param hosts: addresses of the MCU hosts that RMS names in every answer.
    """

    def __init__(self, bus: IBus, reactor: IReactorTime, hosts: Sequence[str]) -> None:
        self._bus = bus
        self._reactor = reactor
        self._hosts = hosts
        self._grant = msgspec.json.encode(
            {"type": "GET_RES_ACK", "roommoid": ROOM, "mcu": [{"ip": ip} for ip in hosts], "vrs": [], "mps": []}
        )
        self._sent = 0
        self._scheduled: dict[str, float] = {}
        """When each create that is not answered yet was to be sent, by its number."""
        self._latencies: list[float] = []
        self._wanted = 0
        self._left_to_send = 0
        self._refused = b""
        self._done: Deferred[list[float]] = Deferred()

    def start(self) -> None:
        """Declare and consume what the peers have."""
        queues = [REPLY_QUEUE, *_QUEUES, *(f"cmu.conf.q:{ip}" for ip in self._hosts)]
        bindings = tuple(Binding(queue, *place) for queue, place in _QUEUES.items())
        exchanges = ("MAU.CM.EX", "MAU.MCU.EX", *(exchange for exchange, _ in _QUEUES.values()))
        self._bus.declare(Topology(exchanges, tuple(Queue(queue) for queue in queues), bindings))
        self._bus.consume("RMS.RES.Q", self._resources, PREFETCH)
        self._bus.consume("UPU.CONF.Q", self._take, PREFETCH)
        self._bus.consume(REPLY_QUEUE, self._answered, PREFETCH)
        for ip in self._hosts:
            self._bus.consume(f"cmu.conf.q:{ip}", self._place, PREFETCH)

    def saturate(self, creates: int, outstanding: int) -> Deferred[list[float]]:
        """Ask for so many conferences, `outstanding` of them at a time.

        @return: fires with the seconds that each took, in the order of the answers; fails if one is refused.
        """
        self._begin(creates, creates)
        for _ in range(min(creates, outstanding)):
            self._send_next(self._reactor.seconds())
        return self._done

    def by_timetable(self, creates: int, per_second: float) -> Deferred[list[float]]:
        """Ask for so many conferences at a fixed rate, whether or not earlier ones are answered.

        @return: as of `saturate`; each measured from when it was *due* to be sent, so that what makes this process or
            CSS late counts for every create that it delays.
        """
        self._begin(creates, 0)
        begin, sent = self._reactor.seconds(), 0

        def tick() -> None:
            nonlocal sent
            due = min(creates, int((self._reactor.seconds() - begin) * per_second) + 1)
            while sent < due:
                self._send(begin + sent / per_second)
                sent += 1
            if sent == creates:
                loop.stop()

        loop = LoopingCall(tick)
        loop.clock = self._reactor
        _ = loop.start(TICK_SECONDS).addErrback(self._failed)
        return self._done

    def _begin(self, wanted: int, left_to_send: int) -> None:
        self._wanted, self._left_to_send = wanted, left_to_send
        self._latencies = []
        self._done = Deferred()

    def _send_next(self, scheduled: float) -> None:
        if self._left_to_send:
            self._left_to_send -= 1
            self._send(scheduled)

    def _send(self, scheduled: float) -> None:
        self._sent += 1
        number = f"{self._sent:08}"
        self._scheduled[number] = scheduled
        body = (
            f'{{"type":"CM_MAU_CREATECONF_REQ","mtreqid":"{number}","confE164":"{number}","confname":"周会 {number}",'
            f'"moid":"{USER_DOMAIN}","conftype":1,"duration":60,"maxjoinmt":8}}'
        ).encode()
        self._publish("MAU.CM.EX", "MAU.CM.K", body, f"cm-{number}", number, REPLY_QUEUE)

    async def _resources(self, delivery: Delivery) -> None:
        correlation_id = delivery.correlation_id
        self._publish("", delivery.reply_to, self._grant, f"rms-{correlation_id}", correlation_id)

    async def _place(self, delivery: Delivery) -> None:
        asked = _asked(delivery.body)
        body = (
            f'{{"type":"MCU_MAU_CREATECONF_ACK","confE164":"{asked.confE164}","ip":"{asked.ip}","pid":"1",'
            f'"epoch":{asked.epoch},"time":{int(self._reactor.seconds())}}}'
        ).encode()
        self._publish("", delivery.reply_to, body, f"mcu-{delivery.message_id}", delivery.correlation_id)

    async def _take(self, delivery: Delivery) -> None:
        """The locator keeps nothing."""

    async def _answered(self, delivery: Delivery) -> None:
        scheduled = self._scheduled.pop(delivery.correlation_id, None)
        if scheduled is None:
            return
        if b"_NACK" in delivery.body:
            self._failed(RuntimeError(f"a create was refused: {delivery.body.decode()}"))
            return
        now = self._reactor.seconds()
        self._latencies.append(now - scheduled)
        if len(self._latencies) == self._wanted:
            self._done.callback(self._latencies)
        else:
            self._send_next(now)

    def _publish(
        self, exchange: str, key: str, body: bytes, message_id: str, correlation_id: str, reply_to: str = ""
    ) -> None:
        published = self._bus.publish(Outgoing(exchange, key, body, message_id, correlation_id, reply_to))
        _ = published.addErrback(self._failed)

    def _failed(self, reason: Any) -> None:
        if not self._done.called:
            self._done.errback(reason)
