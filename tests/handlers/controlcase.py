"""A conference that CMs control, the MCU process that runs it, and another platform."""

from __future__ import annotations

import json
from typing import Any

from css.handlers import addresses as to
from css.ports.bus import Binding, Outgoing, Queue, Topology
from tests.handlers.site import CM_NOTICES, CM_REPLIES, Instance, SiteCase

E164 = "0755001"
CM_REQUESTS, PEER_CSS = "MEETING.CSS.Q", to.CONTROL_QUEUE
FORWARDED = {"x-css-origin": "pB", "x-css-hop": 1}


class ControlCase(SiteCase):
    """A running conference of pA, on process 11 of a host; and pB's broker, with its CSS and CM."""

    def setUp(self) -> None:
        super().setUp()
        self.site.declare(CM_REQUESTS)
        own = self.site.connected_bus(self.site.broker)
        own.declare(Topology((), (), (Binding(CM_REQUESTS, *to.TO_CM_REQUEST),)))
        peers = self.site.connected_bus(self.site.other_broker)
        exchanges = tuple(place[0] for place in (to.TO_PEER_CSS, to.TO_CM_REQUEST, to.TO_CM_NOTICE))
        places = {PEER_CSS: to.TO_PEER_CSS, CM_REQUESTS: to.TO_CM_REQUEST, CM_NOTICES: to.TO_CM_NOTICE}
        queues = tuple(Queue(name) for name in (*places, CM_REPLIES))
        bindings = tuple(Binding(queue, *place) for queue, place in places.items())
        peers.declare(Topology(exchanges, queues, bindings))
        self.site.clock.advance(0)
        self.request = self.run_one()
        self.queue = f"cmu.conf.q:{self.request['ip']}:11"
        self.drain(CM_REPLIES)
        self.css.tick()

    def drain(self, queue: str) -> None:
        """Forget what came so far."""
        self.site.broker.delete_queue(queue)
        self.site.declare(queue)

    def control(self, kind: str = "REQ", css: Instance | None = None, **more: Any) -> None:
        """A CM wants something muted."""
        (css or self.css).take(self.body(kind), to.CONTROL_QUEUE, **(self.marks() | more))

    def body(self, kind: str = "REQ", name: str = "MUTE", **more: Any) -> bytes:
        """As the CM writes it, with spaces, and fields of its own."""
        fields = {"type": f"CM_CMU_{name}_{kind}", "confE164": E164, "mtreqid": "m-7", "谁": ["李", 1.5]} | more
        return json.dumps(fields, ensure_ascii=False, indent=1).encode()

    def marks(self) -> dict[str, Any]:
        """What goes with it."""
        return {"message_id": "control-1", "correlation_id": "cm-7", "reply_to": CM_REPLIES}

    def passed(self) -> list[Outgoing]:
        """What the MCU process got."""
        return self.site.letters(self.queue)

    def answer(self, letter: Outgoing, kind: str = "ACK", css: Instance | None = None) -> bytes:
        """The MCU answers. @return: its body."""
        body = json.dumps({"type": f"CMU_CM_MUTE_{kind}", "confE164": E164, "mtreqid": "m-7", "更多": 1}).encode()
        (css or self.css).take(body, to.MCU_QUEUE, message_id="mcu-1", correlation_id=letter.correlation_id)
        return body

    def nack(self, errcode: str) -> dict[str, str]:
        """How CSS refuses."""
        return {"type": "CMU_CM_MUTE_NACK", "confE164": E164, "mtreqid": "m-7", "errcode": errcode}

    def there(self, queue: str) -> list[Outgoing]:
        """What is in a queue of pB."""
        return self.site.other_broker.messages(queue)

    def move(self, **fields: str) -> None:
        """The record says something else, as another platform's CSS wrote it."""
        self.site.store.server.keyspace.update_hash(f"confex/{E164}", fields)

    def left(self) -> list[str]:
        """Keys of control that do not expire."""
        self.css.tick()
        return [key for key in self.site.store.dump() if "?" in key or "passed" in key]
