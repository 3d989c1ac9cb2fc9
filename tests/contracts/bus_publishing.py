"""The contract of buses: publishing."""

from __future__ import annotations

from twisted.internet.defer import gatherResults

from css.ports.bus import (
    BusFull,
    Outgoing,
    Unconfirmed,
    Unroutable,
)
from tests.contracts.bus_case import BusCase, message, pause


class PublishingContract(BusCase):
    """Sentences about `publish`."""

    async def test_confirmed_is_kept(self) -> None:
        bus = await self.connected_bus()
        self.assertIsNone(await bus.publish(message(1)))
        self.cut(bus)
        self.assertEqual(await self.ready_ids(), ["m1"])

    async def test_unroutable(self) -> None:
        bus = await self.connected_bus()
        await self.assertFailure(bus.publish(message(1, "nowhere")), Unroutable)
        await self.assertFailure(bus.publish(Outgoing("会管.EX", "另键", b"", "m2")), Unroutable)
        await self.assertFailure(bus.publish(message(3, "长" * 100)), Unroutable)
        await bus.publish(message(4))
        self.assertTrue(bus.connected)

    async def test_unroutable_among_others(self) -> None:
        bus = await self.connected_bus()
        results: list[str] = []
        publishes = []
        for number in range(60):
            published = bus.publish(message(number % 5, "nowhere" if number % 3 == 0 else "Q"))
            published.addCallbacks(
                lambda _, n=number: results.append(f"{n} taken"),
                lambda failure, n=number: results.append(f"{n} {failure.type.__name__}"),
            )
            publishes.append(published)
        await gatherResults(publishes)
        expected = [f"{n} Unroutable" if n % 3 == 0 else f"{n} taken" for n in range(60)]
        self.assertEqual(sorted(results), sorted(expected))
        self.assertEqual(len(await self.ready_ids()), 40)

    async def test_no_such_exchange(self) -> None:
        bus = await self.connected_bus()
        await self.assertFailure(bus.publish(Outgoing("没有.EX", "k", b"", "m1")), Unroutable)
        await bus.when_connected()
        await bus.publish(message(2))
        self.assertEqual(await self.ready_ids(), ["m2"])

    async def test_order_of_a_turn(self) -> None:
        bus = await self.connected_bus()
        await gatherResults([bus.publish(message(number)) for number in range(500)])
        self.assertEqual(await self.ready_ids(), [f"m{number}" for number in range(500)])

    async def test_link_lost_before_the_confirm(self) -> None:
        bus = await self.connected_bus()
        self.silence()
        publishes = [bus.publish(message(number)) for number in range(3)]
        await pause(0.1)
        self.cut(bus)
        failures = [await published.addErrback(lambda failure: failure.type) for published in publishes]
        self.assertEqual(failures, [Unconfirmed] * 3)
        self.speak()
        await bus.when_connected()
        self.assertIsNone(await bus.publish(message(3)))

    async def test_no_confirm_in_time(self) -> None:
        bus = await self.connected_bus(confirm_timeout_seconds=0.3)
        self.silence()
        early = bus.publish(message(1))
        await pause(0.15)
        late = bus.publish(message(2))
        await self.assertFailure(early, Unconfirmed)
        self.assertNoResult(late)
        await self.assertFailure(late, Unconfirmed)
        self.speak()
        await bus.when_connected()
        await bus.publish(message(3))
        self.assertTrue(bus.connected)

    async def test_full_by_number(self) -> None:
        bus = await self.connected_bus(max_unconfirmed=3)
        taken = [bus.publish(message(number)) for number in range(3)]
        await self.assertFailure(bus.publish(message(3)), BusFull)
        await gatherResults(taken)
        await bus.publish(message(4))
        self.assertEqual(await self.ready_ids(), ["m0", "m1", "m2", "m4"])

    async def test_full_by_bytes(self) -> None:
        bus = await self.connected_bus(max_unconfirmed_bytes=1000)
        taken = [bus.publish(message(number, body=b"x" * 500)) for number in range(2)]
        await self.assertFailure(bus.publish(message(3)), BusFull)
        await gatherResults(taken)
        await bus.publish(message(4))
        self.assertEqual(await self.ready_ids(), ["m0", "m1", "m4"])

    async def test_publisher_that_has_lost_interest(self) -> None:
        bus = await self.connected_bus()
        published = bus.publish(message(1))
        published.cancel()
        published.addErrback(lambda _: None)
        await bus.publish(message(2))
        self.assertEqual(await self.ready_ids(), ["m1", "m2"])

    async def test_expiration(self) -> None:
        bus = await self.connected_bus()
        await bus.publish(Outgoing("", "Q", b"", "short", expiration_ms=50))
        await bus.publish(Outgoing("", "Q", b"", "long", expiration_ms=60_000))
        await pause(0.2)
        self.assertEqual(await self.ready_ids(), ["long"])
