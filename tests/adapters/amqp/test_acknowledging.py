"""Which acknowledgements are written, and which are joined."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from css.adapters.amqp.framing import ACK_DELAY_SECONDS
from tests.adapters.amqp.linkcase import Basic, LinkCase
from tests.adapters.amqp.scripted import deliver, settle


class Acknowledging(LinkCase):
    """Acknowledgements are joined where that is safe."""

    def send(self, *tags: int) -> None:
        self.broker.send(self.consuming, *[value for tag in tags for value in deliver(tag, b"")])
        settle(self.clock, ACK_DELAY_SECONDS)

    def release(self, *tags: int) -> None:
        for tag in tags:
            self.gates[tag - 1].callback(None)
        settle(self.clock, ACK_DELAY_SECONDS)

    def test_one(self) -> None:
        self.send(1)
        self.assertEqual(self.acks(), [(1, False)])

    def test_row(self) -> None:
        self.send(1, 2, 3)
        self.send(4, 5)
        self.assertEqual(self.acks(), [(3, True), (5, True)])
        self.assertEqual(len(self.transport.writes), 2)

    def test_company(self) -> None:
        """They wait a moment for each other, and go at once when half of the prefetch has come together."""
        self.gated = True
        self.send(*range(1, 13))
        for tag in range(1, 13):
            self.gates[tag - 1].callback(None)
            settle(self.clock)
            written = [ack.delivery_tag for ack in self.broker.sent(Basic.Ack)]
            self.assertEqual(written, [10] if tag >= 10 else [], tag)
        self.assertEqual(self.acks(), [(10, True), (12, True)])

    def test_with_gaps(self) -> None:
        self.gated = True
        self.send(1, 2, 3, 4, 5, 6, 7)
        self.release(3)
        self.assertEqual(self.acks(), [(3, False)])
        self.release(1, 2)
        self.assertEqual(self.acks()[1:], [(2, True)])
        self.release(6, 5)
        self.assertEqual(self.acks()[2:], [(5, False), (6, False)])
        self.release(4, 7)
        self.assertEqual(self.acks()[4:], [(7, True)])

    def test_swallowed_by_an_earlier_gap(self) -> None:
        self.gated = True
        self.send(1, 2, 3)
        self.release(2)
        self.release(3)
        self.release(1)
        self.assertEqual(self.acks(), [(2, False), (3, False), (1, False)])
        self.gates.clear()
        self.gated = False
        self.send(4, 5)
        self.assertEqual(self.acks()[3:], [(5, True)])

    @settings(max_examples=80)
    @given(
        st.permutations(range(1, 13)),
        st.lists(st.integers(1, 4), min_size=12, max_size=12),
        st.sets(st.integers(1, 12)),
    )
    def test_every_order(self, order: list[int], groups: list[int], failing: set[int]) -> None:
        """A broker that checks as RabbitMQ does: each tag is settled once, and a `multiple` names one that is open."""
        self.begin()
        self.gated = True
        self.send(*range(1, 13))
        left = list(order)
        for size in groups:
            for tag in left[:size]:
                if tag in failing:
                    self.gates[tag - 1].errback(ValueError("planted"))
                else:
                    self.gates[tag - 1].callback(None)
            left = left[size:]
            settle(self.clock, ACK_DELAY_SECONDS)
        settle(self.clock, 3)
        unsettled = set(range(1, 13))
        for _, value in self.broker.frames:
            if isinstance(value, Basic.Ack | Basic.Nack):
                tag = value.delivery_tag
                assert tag is not None
                self.assertIn(tag, unsettled)
                covered = {one for one in unsettled if one <= tag} if value.multiple else {tag}
                self.assertEqual(covered & failing, {tag} if isinstance(value, Basic.Nack) else set())
                unsettled -= covered
        self.assertEqual(unsettled, set())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), len(failing))

    def test_given_back(self) -> None:
        self.gated = True
        self.send(1)
        self.gates[0].errback(ValueError("planted"))
        settle(self.clock, 0.4)
        self.assertEqual(self.broker.sent(Basic.Nack), [])
        settle(self.clock, 1.2)
        (nack,) = self.broker.sent(Basic.Nack)
        self.assertEqual((nack.delivery_tag, nack.multiple, nack.requeue), (1, False, True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_nothing_for_a_link_that_is_gone(self) -> None:
        self.gated = True
        self.send(1, 2)
        self.broker.lose(ConnectionLost())
        settle(self.clock, 1)
        self.broker.frames.clear()
        self.gates[0].callback(None)
        self.gates[1].errback(ValueError("planted"))
        settle(self.clock, 3)
        self.assertEqual(self.acks() + self.broker.sent(Basic.Nack), [])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
