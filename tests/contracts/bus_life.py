"""The contract of buses: connecting, stopping, declaring."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from css.ports.bus import (
    Binding,
    Delivery,
    IBus,
    IConsumer,
    NotConnected,
    Outgoing,
    Queue,
    Topology,
    Unconfirmed,
    Unroutable,
)
from tests.contracts.bus_case import BusCase, Recorder, message, pause, until


class LifeContract(BusCase):
    """Sentences about a bus as a whole, and about its topology."""

    async def test_interfaces(self) -> None:
        bus = await self.connected_bus()
        self.assertTrue(verifyObject(IBus, bus))
        self.assertTrue(verifyObject(IConsumer, bus.consume("Q", Recorder())))

    async def test_not_connected_before_start(self) -> None:
        bus = self.make_bus()
        self.assertFalse(bus.connected)
        self.assertEqual(bus.last_round_trip_seconds_ago(), float("inf"))
        await self.assertFailure(bus.publish(message(1)), NotConnected)

    async def test_connects(self) -> None:
        bus = self.make_bus()
        waiting = bus.when_connected()
        bus.start()
        self.assertNoResult(waiting)
        await waiting
        self.assertTrue(bus.connected)
        self.assertFalse(bus.blocked)
        await bus.when_connected()
        self.assertLess(bus.last_round_trip_seconds_ago(), 5)

    async def test_stop(self) -> None:
        bus = await self.connected_bus()
        await bus.stop()
        self.assertFalse(bus.connected)
        await self.assertFailure(bus.publish(message(1)), NotConnected)
        await self.assertFailure(bus.when_connected(), NotConnected)
        await pause(0.4)
        self.assertFalse(bus.connected)
        await bus.stop()

    async def test_stopped_before_it_was_connected(self) -> None:
        bus = self.make_bus()
        waiting = bus.when_connected()
        bus.start()
        stopped = bus.stop()
        await self.assertFailure(waiting, NotConnected)
        await stopped
        self.assertFalse(bus.connected)

    async def test_stopped_without_a_start(self) -> None:
        bus = self.make_bus()
        await bus.stop()
        self.assertFalse(bus.connected)
        await self.assertFailure(bus.publish(message(1)), NotConnected)

    async def test_started_again(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await bus.stop()
        self.assertFalse(bus.connected)
        bus.start()
        await bus.when_connected()
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])
        self.assertFalse(recorder.deliveries[0].redelivered)

    async def test_publish_under_way_when_stopped(self) -> None:
        bus = await self.connected_bus()
        self.silence()
        published = bus.publish(message(1))
        stopped = bus.stop()
        self.speak()
        await stopped
        await self.assertFailure(published, Unconfirmed)

    async def test_state_changes_are_told(self) -> None:
        bus = self.make_bus()
        states: list[bool] = []
        bus.on_state_change(states.append)
        bus.start()
        await bus.when_connected()
        self.cut(bus)
        await until(lambda: not bus.connected)
        self.assertEqual(states, [True, False])
        await bus.when_connected()
        await bus.stop()
        self.assertEqual(states, [True, False, True, False])

    async def test_listener_that_fails(self) -> None:
        bus = self.make_bus()
        states: list[bool] = []

        def fails(connected: bool) -> None:
            raise ValueError("planted")

        bus.on_state_change(fails)
        bus.on_state_change(states.append)
        bus.start()
        await bus.when_connected()
        self.assertEqual(states, [True])
        await bus.stop()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_round_trip_ages_while_the_broker_is_silent(self) -> None:
        bus = await self.connected_bus()
        await bus.publish(message(1))
        self.assertLess(bus.last_round_trip_seconds_ago(), 0.2)
        self.silence()
        await pause(0.5)
        self.assertGreater(bus.last_round_trip_seconds_ago(), 0.3)
        self.speak()

    async def test_topology(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        sent = Outgoing(
            "会管.EX", "键", "会议".encode(), "标识-1", "关联", "回复", 60_000, {"x-css-epoch": 2**52, "名": "值"}
        )
        await bus.publish(sent)
        await until(lambda: recorder.deliveries)
        self.assertEqual(
            recorder.deliveries[0],
            Delivery("Q", sent.body, "标识-1", "关联", "回复", {"x-css-epoch": 2**52, "名": "值"}, False, 0),
        )

    async def test_declare_while_connected(self) -> None:
        bus = await self.connected_bus()
        bus.declare(Topology(("LATE.EX",), (Queue("LATE"),), (Binding("LATE", "LATE.EX", "k"),)))
        recorder = Recorder()
        bus.consume("LATE", recorder)
        await bus.publish(Outgoing("LATE.EX", "k", b"1", "m1"))
        await until(lambda: recorder.ids == ["m1"])
        self.assertEqual((recorder.deliveries[0].queue, recorder.deliveries[0].body), ("LATE", b"1"))

    async def test_declare_what_exists(self) -> None:
        first = await self.connected_bus()
        second = await self.connected_bus()
        await first.publish(message(1))
        await second.publish(message(2))
        self.assertEqual(await self.ready_ids(), ["m1", "m2"])

    async def test_several_keys_of_one_queue(self) -> None:
        keys = ("mau.k", "MAU.K", "cm.k")
        bus = await self.connected_bus(Topology(("EX",), (Queue("Q"),), tuple(Binding("Q", "EX", key) for key in keys)))
        for number, key in enumerate(keys):
            await bus.publish(Outgoing("EX", key, b"", f"m{number}"))
        self.assertEqual(await self.ready_ids(), ["m0", "m1", "m2"])

    async def test_one_key_of_several_queues(self) -> None:
        queues = (Queue("A"), Queue("B"))
        bindings = (Binding("A", "EX", "k"), Binding("B", "EX", "k"))
        bus = await self.connected_bus(Topology(("EX",), queues, bindings))
        await bus.publish(Outgoing("EX", "k", b"", "m1"))
        self.assertEqual((await self.ready_ids("A"), await self.ready_ids("B")), (["m1"], ["m1"]))

    async def test_exclusive_queue_comes_back_with_the_link(self) -> None:
        bus = await self.connected_bus(Topology(queues=(Queue("own", exclusive=True),)))
        recorder = Recorder()
        bus.consume("own", recorder)
        await bus.publish(message(1, "own"))
        await until(lambda: recorder.ids == ["m1"])
        self.cut(bus)
        await until(lambda: not bus.connected)
        await bus.when_connected()
        await bus.publish(message(2, "own"))
        await until(lambda: recorder.ids == ["m1", "m2"])
        self.assertEqual([each.queue for each in recorder.deliveries], ["own", "own"])

    async def test_exclusive_queue_goes_with_the_link(self) -> None:
        other = await self.connected_bus()
        bus = await self.connected_bus(Topology(queues=(Queue("own", exclusive=True),)))
        await other.publish(message(1, "own"))
        await bus.stop()
        await self.assertFailure(other.publish(message(2, "own")), Unroutable)

    async def test_exclusive_queue_of_another_link(self) -> None:
        topology = Topology(queues=(Queue("own", exclusive=True),))
        first = await self.connected_bus(topology)
        second = self.make_bus()
        second.declare(topology)
        second.start()
        await pause(0.7)
        self.assertFalse(second.connected)
        await first.stop()
        await second.when_connected()
