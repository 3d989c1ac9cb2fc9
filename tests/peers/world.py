"""The other side of the peers: a bus that plays CSS by hand, over the embedded broker."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.bus import MemoryBroker
from css.peers.peer import Peer
from css.ports.bus import Binding, Delivery, Outgoing, Queue, Topology

CSS_QUEUES = {
    "MAU.CM.Q": ("MAU.CM.EX", "MAU.CM.K"),
    "MAU.CMMCU.Q": ("mau.cmcmu.ex", "mau.cmcmu.k"),
    "MAU.MCU.Q": ("MAU.MCU.EX", "MAU.MCU.K"),
    "MAU.BMC.Q": ("MAU.BMC.EX", "MAU.BMC.K"),
    "MAU.LICENSE.Q": ("MAU.LICENSE.EX", "MAU.LICENSE.K"),
    "MAU.RPCRES.Q": None,
    "MAU.RPCPLATINFO.Q": None,
    "broadcasts": ("monitor.notify.ex", "monitor.plamform.k"),
    "rooms": ("monitor.notify.ex", "monitor.server_room.k"),
}
CSS_EXCHANGES = (
    "RMS.RES.EX",
    "MEETING.CSS.EX",
    "meeting.mccntf.ex",
    "platform.license.ex",
    "UPU.CONF.EX",
    "BMC.REQ.EX",
    "BMC.BILL.EX",
    "nms.report.ex",
)


class PeerTestCase(SynchronousTestCase):
    """A clock, a broker, one bus for the peers and one for CSS, whose queues are read into `self.received`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.random = Random(1)
        self.broker = MemoryBroker(self.clock, Random(2))
        self.peers = self.broker.bus("peers")
        self.css = self.broker.bus("css")
        self.received: dict[str, list[Delivery]] = {name: [] for name in CSS_QUEUES}
        self._sent = 0
        self.css.declare(css_topology())
        for name in CSS_QUEUES:
            self.css.consume(name, self._take)
        self.css.start()
        self.peers.start()
        self.settle()
        self.addCleanup(self._no_call_left)

    def started(self, *peers: Peer) -> None:
        """Start peers, and stop them when the test ends."""
        for peer in peers:
            peer.start()
            self.addCleanup(self.stopped, peer)
        self.settle()

    def stopped(self, peer: Peer) -> None:
        """Stop a peer: that must come to an end."""
        self.fired(peer.stop())

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything that is due happen, and `seconds` go by."""
        for _ in range(60):
            self.clock.advance(0)
        while seconds > 0:
            step = min(seconds, 0.1)
            self.clock.advance(step)
            seconds -= step
            for _ in range(20):
                self.clock.advance(0)

    def fired(self, deferred: Deferred[Any]) -> Any:
        """The result of something that happens now."""
        self.settle()
        return self.successResultOf(deferred)

    def publish(self, place: tuple[str, str], fields: dict[str, Any], **properties: Any) -> None:
        """CSS sends a message, with a `message_id` of its own unless one is given."""
        self._sent += 1
        properties.setdefault("message_id", f"css-{self._sent}")
        self.fired(self.css.publish(Outgoing(*place, json.dumps(fields).encode(), **properties)))

    def bodies(self, queue: str, type: str = "") -> list[dict[str, Any]]:
        """What CSS got in a queue."""
        bodies = [json.loads(delivery.body) for delivery in self.received[queue]]
        return [body for body in bodies if type in ("", body["type"])]

    async def _take(self, delivery: Delivery) -> None:
        self.received[delivery.queue].append(delivery)

    def _no_call_left(self) -> None:
        self.fired(self.peers.stop())
        self.fired(self.css.stop())
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])


def css_topology() -> Topology:
    """What CSS declares."""
    bound = {name: place for name, place in CSS_QUEUES.items() if place}
    return Topology(
        tuple({*CSS_EXCHANGES, *(exchange for exchange, _ in bound.values())}),
        tuple(Queue(name) for name in CSS_QUEUES),
        tuple(Binding(name, *place) for name, place in bound.items()),
    )
