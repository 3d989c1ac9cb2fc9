"""Deliveries without a network: frames in odd pieces, bodies too large, what is not AMQP."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body, frame, header
from twisted.internet.task import Clock

from css.ports.bus import (
    KEPT_OF_TOO_LARGE,
    MAX_BODY_BYTES,
    Delivery,
    Queue,
    Topology,
)
from tests.adapters.amqp.linkcase import Basic, LinkCase
from tests.adapters.amqp.scripted import HEARTBEAT, connected, deliver, scripted_bus, settle


class Reading(LinkCase):
    """Deliveries, whole and in pieces."""

    frames = (
        deliver(
            1, "会议".encode(), message_id="标识", correlation_id="c", reply_to="r", headers={"h": [1, {"x": "值"}]}
        ),
        deliver(2, b"", redelivered=True, content_type="text/plain", content_encoding="gzip"),
        deliver(3, bytes(range(256)) * 40, piece=999, priority=5, delivery_mode=2, expiration="100", message_id="m3"),
        deliver(4, b"x", headers={}, app_id="app", user_id="guest"),
    )

    def script(self) -> bytes:
        parts = [frame.marshal(value, self.consuming) for values in self.frames for value in values]
        parts.insert(4, frame.marshal(HEARTBEAT, 0))
        return b"".join(parts)

    def check(self) -> None:
        self.assertEqual(
            self.seen,
            [
                Delivery("Q", "会议".encode(), "标识", "c", "r", {"h": [1, {"x": "值"}]}),
                Delivery("Q", b"", redelivered=True),
                Delivery("Q", bytes(range(256)) * 40, "m3"),
                Delivery("Q", b"x"),
            ],
        )
        settle(self.clock)
        self.assertEqual(self.acks()[-1][0], 4)

    def test_whole(self) -> None:
        self.broker.send_bytes(self.script())
        self.check()
        self.assertEqual(self.acks(), [(4, True)])

    def test_byte_by_byte(self) -> None:
        self.broker.chunk = 1
        self.broker.send_bytes(self.script())
        self.check()

    @settings(max_examples=60)
    @given(st.lists(st.integers(1, 3000), max_size=60))
    def test_any_pieces(self, sizes: list[int]) -> None:
        self.begin()
        script = self.script()
        for size in sizes:
            if script:
                self.broker.send_bytes(script[:size])
                script = script[size:]
        self.broker.send_bytes(script)
        self.check()

    def test_all_frames_of_a_link_byte_by_byte(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock)
        self.broker.chunk = 1
        self.bus.declare(Topology(("EX",), (Queue("Q"),)))
        connected(self.clock, self.broker, self.bus)
        self.assertTrue(self.bus.connected)

    def test_too_large(self) -> None:
        size = MAX_BODY_BYTES + 1
        start, head, *_ = deliver(1, b"", message_id="big")
        self.broker.send(self.consuming, start, header.ContentHeader(0, size, head.properties))
        piece = bytes(range(128)) * 1000
        sent = 0
        while sent < size:
            part = piece[: size - sent]
            self.broker.send(self.consuming, body.ContentBody(part))
            sent += len(part)
        self.broker.send(self.consuming, *deliver(2, b"next"))
        self.assertEqual([delivery.body for delivery in self.seen], [piece[:KEPT_OF_TOO_LARGE], b"next"])
        self.assertEqual([delivery.too_large_bytes for delivery in self.seen], [size, 0])

    def test_nothing_of_a_too_large_body_is_kept_beyond_its_beginning(self) -> None:
        start, _, *_ = deliver(1, b"")
        self.broker.send(self.consuming, start, header.ContentHeader(0, 2**40, Basic.Properties()))
        for _ in range(200):
            self.broker.send(self.consuming, body.ContentBody(bytes(100_000)))
        receiver = self.broker.client.receivers[self.consuming]
        self.assertEqual(sum(map(len, receiver._chunks)), KEPT_OF_TOO_LARGE)

    def test_text_that_is_not_utf8(self) -> None:
        raw = frame.marshal(header.ContentHeader(0, 0, Basic.Properties(message_id="abcd")), self.consuming)
        self.broker.send(self.consuming, deliver(1, b"")[0])
        self.broker.send_bytes(raw.replace(b"abcd", b"a\xff\xfed"))
        self.assertEqual(self.seen[0].message_id, "a??d")

    def test_headers_that_can_not_be_decoded(self) -> None:
        raw = frame.marshal(header.ContentHeader(0, 0, Basic.Properties(headers={"k": True})), self.consuming)
        self.broker.send(self.consuming, deliver(1, b"")[0])
        self.broker.send_bytes(raw.replace(b"\x01kt\x01", b"\x01k?\x01"))
        self.assertEqual(self.seen[0].headers, {})

    def test_garbage_costs_the_link(self) -> None:
        raw = frame.marshal(HEARTBEAT, 0)
        for garbage in (
            raw[:-1] + b"\x00",
            b"\x01\x00\x01\xff\xff\xff\xff" + b"x" * 100,
            frame.marshal(body.ContentBody(b"x"), self.consuming),
            frame.marshal(body.ContentBody(b"x"), 999),
            b"\x01\x00\x01\x00\x00\x00\x04\x00\xff\x00\xff\xce",
        ):
            self.begin()
            self.broker.send_bytes(garbage)
            self.assertTrue(self.transport.aborted, garbage)
            self.assertFalse(self.bus.connected)
            settle(self.clock, 1)
            self.assertEqual(self.broker.connections, 2)
            self.assertTrue(self.bus.connected)
            self.flushLoggedErrors()
