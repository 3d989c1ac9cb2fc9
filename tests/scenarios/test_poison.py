"""Messages that must be parked and stop nothing, on a real broker (reliability: fault 9)."""

from __future__ import annotations

import itertools
import time
from typing import Any

import msgspec

from css.handlers import addresses as to
from css.peers.peer import Fault
from css.ports.bus import KEPT_OF_TOO_LARGE, MAX_BODY_BYTES
from tests.scale import scaled
from tests.scenarios.case import NAME, PLATFORM, USER, OnServers, Scenario, until
from tests.scenarios.figures import note
from tests.scenarios.rawmessages import BAD_BODIES, EVERY_TYPE, field, long_text, nested, raw_properties

WORK_QUEUES = [queue for queue in to.WORK_QUEUES if queue != to.CM_QUEUE]
GOOD = msgspec.json.encode({"type": "CM_MAU_CREATECONF_REQ", "confE164": "500", "confname": NAME, "moid": USER})


class Poison(Scenario, OnServers):
    """Everything ends in the park queue, and a create in between is answered."""

    timeout = 900.0

    def is_expected(self, fault: Fault) -> bool:
        """The NACK of what is no request has nothing in it by which a CM could know it."""
        return b'"errcode":"BAD_REQUEST"' in fault.body

    async def _publish(self, *messages: tuple[str, bytes, Any]) -> None:
        """Publish (queue, body, pika's properties) with pika."""

        def publish(channel: Any) -> None:
            channel.confirm_delivery()
            for queue, body, properties in messages:
                channel.basic_publish("", queue, body, properties, mandatory=True)

        await self.ground.on_channel(PLATFORM, publish)

    async def _parked(self, count: int, seconds: float = 30.0) -> list[Any]:
        parked = self.park.got[to.PARK_QUEUE]
        await until(lambda: len(parked) >= count, seconds, f"{count} parked")
        self.assertEqual(len(parked), count)
        return parked

    async def _begin(self) -> None:
        await self.begin()
        self.numbers = itertools.count(1)
        self.park = await self.bystander(to.PARK_QUEUE)
        await self.created("1000")

    async def _still_serves(self) -> None:
        number = f"0{next(self.numbers)}"
        await self.created(number)
        await self.release(number)

    async def test_a_body_of_3_mb(self) -> None:
        await self._begin()
        body = GOOD[:-1] + b',"confname":"' + b"x" * (3 * 1024 * 1024) + b'"}'
        await self._publish((to.CM_QUEUE, body, raw_properties(b"")))
        (parked,) = await self._parked(1)
        self.assertEqual((parked.body == body, parked.headers["x-css-queue"]), (True, to.CM_QUEUE))
        await self._still_serves()

    async def test_a_good_body_of_3_mb(self) -> None:
        await self._begin()
        body = GOOD[:-1] + b',"more":"' + b"x" * (3 * 1024 * 1024) + b'"}'
        await self._publish((to.CM_QUEUE, body, raw_properties(b"")))
        await self.until_state("ongoing", "500")
        host = self.site.peers.hosts[(await self.key("confex/500"))["ip"]]
        (order,) = host.inbox.all(e164="500")
        self.assertEqual(len(order.fields["more"]), 3 * 1024 * 1024)

    async def test_a_body_of_more_than_16_mib(self) -> None:
        await self._begin()
        size = MAX_BODY_BYTES + 1
        body = GOOD[:-1] + b" " * (size - len(GOOD)) + b"}"
        await self._publish((to.CM_QUEUE, body, raw_properties(b"")))
        (parked,) = await self._parked(1)
        self.assertEqual(parked.body, body[:KEPT_OF_TOO_LARGE])
        headers = {"x-css-reason": "too_large", "x-css-queue": to.CM_QUEUE, "x-css-size": size}
        self.assertEqual({name: parked.headers[name] for name in headers}, headers)
        await self._still_serves()

    async def test_a_header_of_every_type(self) -> None:
        await self._begin()
        table = b"".join(field(name, value) for name, value in EVERY_TYPE.items())
        await self._publish((to.CM_QUEUE, b"poison", raw_properties(table)), (to.CM_QUEUE, GOOD, raw_properties(table)))
        (parked,) = await self._parked(1)
        self.assertLessEqual(set(EVERY_TYPE), set(parked.headers))
        self.assertEqual((parked.headers["S"], parked.headers["I"], parked.headers["V"]), ("会议", -70000, None))
        await self.until_state("ongoing", "500")
        await self._still_serves()

    async def test_headers_that_are_hard_to_send_on(self) -> None:
        await self._begin()
        tables = {
            "key of 255 bytes that are no UTF-8": field(b"\xff" * 255, b"V"),
            "tables in tables": nested(40),
            "nearly a whole frame": field("big", long_text(b"S", b"x" * 130_800)),
            "an integer beyond all": field("L", b"L" + b"\xff" * 8),
            "a key twice": field("k", b"t\x01") + field("k", b"t\x00"),
            "our own headers": field("x-css-reason", b"t\x01") + field("x-css-queue", long_text(b"S", b"y")),
        }
        properties = [raw_properties(table, message_id=f"h{number}") for number, table in enumerate(tables.values())]
        marks = [
            raw_properties(b"", b"\xff" * 255),
            raw_properties(b"", "m", b"\xfe" * 255),
            raw_properties(b"", "n", "", b"\xfd" * 255),
        ]
        await self._publish(*((to.CM_QUEUE, b"poison", each) for each in (*properties, *marks)))
        for parked in await self._parked(len(tables) + len(marks)):
            self.assertEqual((parked.body, parked.headers["x-css-queue"]), (b"poison", to.CM_QUEUE))
            self.assertTrue(parked.message_id)
            self.assertTrue(parked.headers["x-css-reason"].startswith("bad_json"), parked.headers)
        await self._still_serves()

    async def test_marks_of_good_requests_that_are_hard_to_answer(self) -> None:
        await self._begin()
        properties = [
            raw_properties(field(b"\xff" * 255, b"V"), b"\xff" * 255, b"\xfe" * 255, b"\xfd" * 255),
            raw_properties(b"", "a", b"\xfe" * 255, self.cm.reply_queue.encode()),
        ]
        numbers = ("601", "602")
        for number, each in zip(numbers, properties, strict=True):
            await self._publish((to.CM_QUEUE, GOOD.replace(b"500", number.encode()), each))
            await self.until_state("ongoing", number)
        await self._still_serves()
        for number in (*numbers, "1000"):
            await self.release(number)
        await self.nothing_left()

    async def test_bad_bodies_of_every_kind_in_every_queue(self) -> None:
        await self._begin()
        messages = [
            (queue, body, raw_properties(b"", f"{kind}"))
            for queue in to.WORK_QUEUES
            for kind, body in BAD_BODIES.items()
        ]
        await self._publish(*messages)
        parked = await self._parked(len(messages))
        for queue in to.WORK_QUEUES:
            here = {each.message_id: each.body for each in parked if each.headers["x-css-queue"] == queue}
            self.assertEqual(here, BAD_BODIES, queue)
        self.assertEqual(await self.key("confex/999"), {})
        await self._still_serves()

    async def test_a_great_many_bad_messages(self) -> None:
        count = scaled(500, 10_000)
        await self._begin()
        bodies = itertools.cycle([body for body in BAD_BODIES.values() if len(body) < 10_000])
        messages = [(to.CM_QUEUE, next(bodies), raw_properties(b"", str(number))) for number in range(count)]
        began = time.monotonic()
        half = count // 2
        await self._publish(*messages[:half])
        await self._still_serves()
        await self._publish(*messages[half:])
        await self._parked(count, 600.0)
        seconds = time.monotonic() - began
        await self._still_serves()
        note("bad messages parked", count=count, seconds=seconds, per_second=count / seconds)
        self.assertEqual({each.message_id for each in self.park.got[to.PARK_QUEUE]}, set(map(str, range(count))))
        await self.release("1000")
        await self.nothing_left()
