"""Messages of all kinds through a real RabbitMQ."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pika

from css.adapters.amqp.bus import AmqpBus
from css.adapters.amqp.frames import BODY, FRAME_START, HEADER, publish_method
from css.ports.bus import Delivery, Outgoing, Queue, Topology
from tests.adapters.amqp.fixture import BrokerCase
from tests.adapters.amqp.raw import on_channel
from tests.contracts.bus_case import Recorder, message, until

EVERY_TYPE = {
    b"t": b"\x01",
    b"b": b"\xff",
    b"B": b"\xff",
    b"s": struct.pack(">h", -2),
    b"u": struct.pack(">H", 65535),
    b"I": struct.pack(">i", -4),
    b"i": struct.pack(">I", 2**32 - 1),
    b"l": struct.pack(">q", -5),
    b"f": struct.pack(">f", 0.5),
    b"d": struct.pack(">d", 0.25),
    b"D": b"\x02" + struct.pack(">i", 314),
    b"S": struct.pack(">I", 3) + "会".encode(),
    b"x": struct.pack(">I", 2) + b"\xff\x00",
    b"T": struct.pack(">Q", 1_700_000_000),
    b"V": b"",
    b"F": struct.pack(">I", 7) + b"\x01kI\x00\x00\x00\x01",
    b"A": struct.pack(">I", 3) + b"b\x01V",
}
EVERY_VALUE: dict[str, Any] = {"t": True, "b": -1, "B": 255, "s": -2, "u": 65535, "I": -4, "i": 2**32 - 1, "l": -5}
EVERY_VALUE |= {"f": 0.5, "d": 0.25}
EVERY_VALUE |= {"D": Decimal("3.14"), "S": "会", "x": b"\xff\x00", "T": 1_700_000_000, "V": None, "F": {"k": 1}}
EVERY_VALUE |= {"A": [1, None]}


def with_raw_headers(channel: int, queue: str, table: bytes) -> bytes:
    """Frames of a publish to the default exchange, with a header table as it is."""
    properties = struct.pack(">HHQH", 60, 0, 2, 0x2000) + struct.pack(">I", len(table)) + table
    head = FRAME_START.pack(HEADER, channel, len(properties)) + properties + b"\xce"
    return publish_method(channel, "", queue) + head + FRAME_START.pack(BODY, channel, 2) + b"{}\xce"


class Messages(BrokerCase):
    async def ready_bus(self, **settings: Any) -> AmqpBus:
        bus = self.make_bus(**settings)
        bus.declare(Topology(queues=(Queue("Q"),)))
        bus.start()
        await bus.when_connected()
        return bus

    async def test_three_megabytes_of_chinese(self) -> None:
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        payload = ("会" * 1_000_000 + "x").encode()
        await bus.publish(message(1, body=payload))
        await bus.publish(message(2))
        await until(lambda: len(recorder.ids) == 2)
        self.assertTrue(recorder.deliveries[0].body == payload)

    async def test_every_type_of_header(self) -> None:
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        link = bus._link
        assert link is not None and link.publisher is not None
        for kind, raw in EVERY_TYPE.items():
            table = b"\x01" + kind + kind + raw
            link.write_soon(with_raw_headers(link.publisher.number, "Q", table))
        everything = b"".join(b"\x01" + kind + kind + raw for kind, raw in EVERY_TYPE.items())
        link.write_soon(with_raw_headers(link.publisher.number, "Q", everything))
        await until(lambda: len(recorder.deliveries) == len(EVERY_TYPE) + 1)
        for kind, delivery in zip(EVERY_TYPE, recorder.deliveries, strict=False):
            self.assertEqual(delivery.headers, {kind.decode(): EVERY_VALUE[kind.decode()]})
        self.assertEqual(recorder.deliveries[-1].headers, EVERY_VALUE)
        self.assertIs(bus._link, link)

    async def test_headers_go_round(self) -> None:
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await bus.publish(Outgoing("", "Q", b"", "m1", headers=EVERY_VALUE))
        await until(lambda: recorder.ids)
        await bus.publish(Outgoing("", "Q", b"", "m2", headers=dict(recorder.deliveries[0].headers)))
        await until(lambda: len(recorder.ids) == 2)
        self.assertEqual([delivery.headers for delivery in recorder.deliveries], [EVERY_VALUE, EVERY_VALUE])

    async def test_dead_lettered(self) -> None:
        def dead_letter(channel: Any) -> None:
            arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "Q", "x-message-ttl": 1}
            channel.queue_declare("死信", durable=True, arguments=arguments)
            channel.basic_publish("", "死信", b"{}", pika.BasicProperties(message_id="m1"))

        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await on_channel(self.host, self.broker_port, self.vhost, dead_letter)
        await until(lambda: recorder.ids == ["m1"])
        (death,) = recorder.deliveries[0].headers["x-death"]
        self.assertEqual((death["queue"], death["reason"], death["count"]), ("死信", "expired", 1))

    async def test_quorum_queue(self) -> None:
        bus = await self.ready_bus(queue_type="quorum")
        seen: list[Delivery] = []

        async def handler(delivery: Delivery) -> None:
            seen.append(delivery)
            if len(seen) < 3:
                raise ValueError("planted")

        bus.consume("Q", handler)
        await bus.publish(message(1))
        await until(lambda: len(seen) == 3)
        self.assertEqual([delivery.headers.get("x-delivery-count", 0) for delivery in seen], [0, 1, 2])
        self.assertEqual([delivery.redelivered for delivery in seen], [False, True, True])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_from_another_library(self) -> None:
        def publish(channel: Any) -> None:
            properties = pika.BasicProperties(
                content_type="application/json",
                headers={"h": [1, "二"]},
                delivery_mode=2,
                priority=3,
                correlation_id="关联",
                reply_to="回复",
                expiration="60000",
                message_id="标识",
                timestamp=1_700_000_000,
                type="t",
                user_id="guest",
                app_id="app",
            )
            channel.basic_publish("", "Q", "会议".encode(), properties)

        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await on_channel(self.host, self.broker_port, self.vhost, publish)
        await until(lambda: recorder.ids)
        expected = Delivery("Q", "会议".encode(), "标识", "关联", "回复", {"h": [1, "二"]})
        self.assertEqual(recorder.deliveries, [expected])

    async def test_to_another_library(self) -> None:
        bus = await self.ready_bus()
        await bus.publish(Outgoing("", "Q", "会议".encode(), "标识", "关联", "回复", 60_000, {"名": "值"}))

        def get(channel: Any) -> Any:
            return channel.basic_get("Q", auto_ack=True)

        _, properties, payload = await on_channel(self.host, self.broker_port, self.vhost, get)
        self.assertEqual(payload, "会议".encode())
        self.assertEqual((properties.message_id, properties.correlation_id), ("标识", "关联"))
        self.assertEqual((properties.reply_to, properties.expiration), ("回复", "60000"))
        self.assertEqual((properties.headers, properties.delivery_mode), ({"名": "值"}, 2))
        self.assertEqual(properties.content_type, "application/json")
