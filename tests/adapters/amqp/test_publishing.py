"""What is written of a publish, and what becomes of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, header

from css.ports.bus import (
    BusFull,
    Outgoing,
    Queue,
    Topology,
    Unconfirmed,
    Unroutable,
)
from tests.adapters.amqp.linkcase import Basic, Connection, LinkCase
from tests.adapters.amqp.scripted import content, deliver, settle


class Publishing(LinkCase):
    """What is written, and what becomes of it."""

    def confirm(self, tag: int, multiple: bool = False) -> None:
        self.broker.send(self.publishing, Basic.Ack(tag, multiple))

    def test_as_pamqp_reads_it(self) -> None:
        self.broker.frames.clear()
        body_bytes = "会议".encode()
        sent = Outgoing("交换", "键", body_bytes, "标识", "关联", "回复", 1500, {"x-css-epoch": 2**52, "名": "值"})
        _ = self.bus.publish(sent).addErrback(lambda _: None)
        settle(self.clock)
        (_, method), (_, head), (_, payload) = self.broker.frames
        self.assertEqual((method.exchange, method.routing_key, method.mandatory), ("交换", "键", True))
        properties = head.properties
        self.assertEqual(head.body_size, len(body_bytes))
        self.assertEqual((properties.content_type, properties.delivery_mode), ("application/json", 2))
        self.assertEqual((properties.message_id, properties.correlation_id), ("标识", "关联"))
        self.assertEqual((properties.reply_to, properties.expiration), ("回复", "1500"))
        self.assertEqual(properties.headers, {"x-css-epoch": 2**52, "名": "值"})
        self.assertEqual(payload.value, body_bytes)

    @given(st.binary(max_size=300), st.integers(40, 80))
    def test_long_bodies(self, payload: bytes, max_payload: int) -> None:
        self.begin()
        self.broker.client.max_payload = max_payload
        _ = self.bus.publish(Outgoing("", "q", payload, "")).addErrback(lambda _: None)
        settle(self.clock)
        pieces = [one.value for one in self.broker.sent(body.ContentBody)]
        self.assertEqual(b"".join(pieces), payload)
        self.assertTrue(all(len(piece) <= max_payload for piece in pieces))
        self.assertEqual(self.broker.sent(header.ContentHeader)[0].body_size, len(payload))

    def test_one_write_a_turn(self) -> None:
        publishes = [self.publish(number) for number in range(50)]
        self.broker.send(self.consuming, *deliver(1, b""))
        settle(self.clock)
        self.assertEqual(len(self.transport.writes), 1)
        self.confirm(50, multiple=True)
        for published in publishes:
            self.successResultOf(published)

    def test_confirms(self) -> None:
        publishes = [self.publish(number) for number in range(5)]
        settle(self.clock)
        self.confirm(2)
        self.assertEqual([published.called for published in publishes], [False, True, False, False, False])
        self.confirm(4, multiple=True)
        self.assertEqual([published.called for published in publishes], [True, True, True, True, False])
        self.broker.send(self.publishing, Basic.Nack(5))
        self.failureResultOf(publishes[4], Unconfirmed)

    def test_several_refused(self) -> None:
        publishes = [self.publish(number) for number in range(3)]
        settle(self.clock)
        self.broker.send(self.publishing, Basic.Nack(2, multiple=True))
        self.failureResultOf(publishes[0], Unconfirmed)
        self.failureResultOf(publishes[1], Unconfirmed)
        self.assertNoResult(publishes[2])
        self.confirm(3)
        self.successResultOf(publishes[2])

    def test_returned(self) -> None:
        publishes = [self.publish(1), self.publish(2), self.publish(1)]
        settle(self.clock)
        returned = Basic.Return(312, "NO_ROUTE", "EX", "k")
        self.broker.send(self.publishing, *content(returned, b"{}", Basic.Properties(message_id="m1")))
        self.failureResultOf(publishes[0], Unroutable)
        self.assertNoResult(publishes[2])
        self.confirm(3, multiple=True)
        self.successResultOf(publishes[1])
        self.successResultOf(publishes[2])

    def test_returned_unknown(self) -> None:
        published = self.publish(1)
        settle(self.clock)
        returned = Basic.Return(312, "NO_ROUTE", "EX", "k")
        self.broker.send(self.publishing, *content(returned, b"{}", Basic.Properties(message_id="m9")))
        self.assertNoResult(published)
        self.confirm(1)
        self.assertIsNone(self.successResultOf(published))
        self.assertTrue(self.bus.connected)

    def test_late_confirm(self) -> None:
        published = self.publish(1)
        settle(self.clock, 31)
        self.failureResultOf(published, Unconfirmed)
        self.confirm(1)
        again = self.publish(1)
        settle(self.clock)
        self.confirm(2)
        self.successResultOf(again)

    def test_what_amqp_can_not_carry(self) -> None:
        for message in (
            Outgoing("", "长" * 100, b"", "m"),
            Outgoing("", "q", b"", "m" * 256),
            Outgoing("", "q", b"", "m", headers={"k": object()}),
            Outgoing("", "q", b"", "m", headers={"k": "x" * 140_000}),
            Outgoing("", "q", b"", "m", correlation_id="\ud800"),
        ):
            self.failureResultOf(self.bus.publish(message), Unroutable)
        published = self.publish()
        settle(self.clock)
        self.confirm(1)
        self.successResultOf(published)

    def test_many_addresses(self) -> None:
        for number in range(5000):
            _ = self.bus.publish(Outgoing("", f"q{number}", b"", "m")).addErrback(lambda _: None)
        settle(self.clock)
        self.assertEqual(self.broker.sent(Basic.Publish)[-1].routing_key, "q4999")

    def test_back_pressure(self) -> None:
        self.broker.client.output.pauseProducing()
        published = self.publish()
        self.broker.send(self.consuming, *deliver(1, b""))
        settle(self.clock)
        self.assertEqual(self.transport.writes, [])
        self.broker.client.output.resumeProducing()
        self.assertEqual(len(self.broker.sent(Basic.Publish)), 1)
        self.assertEqual(self.acks(), [(1, False)])
        self.confirm(1)
        self.successResultOf(published)

    def test_blocked(self) -> None:
        early = self.publish(1)
        self.broker.send(0, Connection.Blocked("low on memory"))
        self.assertTrue(self.bus.blocked)
        self.failureResultOf(self.publish(2), BusFull)
        self.broker.send(self.consuming, *deliver(1, b""))
        settle(self.clock)
        self.assertEqual(self.acks(), [(1, False)])
        self.broker.send(0, Connection.Unblocked())
        self.assertFalse(self.bus.blocked)
        self.confirm(1)
        self.successResultOf(early)

    def test_publishes_wait_for_a_declaration(self) -> None:
        del self.broker.answers[commands.Queue.Declare]
        self.bus.declare(Topology(queues=(Queue("LATE"),)))
        published = self.publish()
        settle(self.clock, 1)
        self.assertEqual(self.broker.sent(Basic.Publish), [])
        self.broker.send(self.broker.channel_of(commands.Queue.Declare), commands.Queue.DeclareOk("LATE", 0, 0))
        settle(self.clock)
        self.assertEqual(len(self.broker.sent(Basic.Publish)), 1)
        self.confirm(1)
        self.successResultOf(published)
