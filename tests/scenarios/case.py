"""What scenario tests stand on: a stage with one platform, running; a bystander on its broker; and waiting."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from css.handlers import addresses as to
from css.peers.cm import CmPeer
from css.peers.peer import Fault
from css.ports.bus import Delivery, IBus, IConsumer, Outgoing, Queue, Topology, Unroutable
from css.service import CssService
from tests.scenarios.ground import MemoryGround, ServerGround, Site, Stage, finished, reactor, until
from tests.scenarios.remains import leftovers

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object

PLATFORM = "A"
ROOM = "A-room"
USER = "u1"
E164 = "0660175"
NAME = "周例会：第一季度"
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")

PATIENT: dict[str, float] = {
    "request_timeout_seconds": 20.0,
    "creating_timeout_seconds": 60.0,
    "outbox_lease_seconds": 5.0,
    "unroutable_seconds": 5.0,
}
"""Time-outs for tests in which none is to happen, however busy the machine."""


LIMIT_SECONDS = 40.0
"""For how long something is waited for that must come soon: generous, since machines may be busy, and a test that
passes does not use it up."""


async def within(awaited: Deferred[Any], seconds: float = LIMIT_SECONDS) -> Any:
    """What a Deferred gives; fails if it gives nothing in time."""
    return await awaited.addTimeout(seconds, reactor)


class Bystander:
    """A client on a platform's broker that does what no well-behaved peer does."""

    def __init__(self, bus: IBus) -> None:
        self.bus = bus
        self.got: dict[str, list[Delivery]] = {}
        """What came in each watched queue."""
        self._consumers: list[IConsumer] = []

    async def watch(self, queue: str) -> list[Delivery]:
        """Declare and consume a queue. @return: the list in which its messages will be."""
        self.bus.declare(Topology(queues=(Queue(queue),)))
        got = self.got.setdefault(queue, [])

        async def keep(delivery: Delivery) -> None:
            got.append(delivery)

        self._consumers.append(self.bus.consume(queue, keep))
        await self.bus.when_connected()
        # Publishes wait for what is declared: now all of it is there, bindings of this queue included.
        with contextlib.suppress(Unroutable):
            await self.bus.publish(Outgoing(to.DEFAULT, "no such queue", b"", ""))
        return got

    async def send(self, place: tuple[str, str], content: bytes | dict[str, Any], **properties: Any) -> None:
        """Publish any bytes, or an object as JSON; without a `message_id` unless one is given."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        message_id = properties.pop("message_id", "")
        await self.bus.publish(Outgoing(place[0], place[1], body, message_id, **properties))

    async def to_cm_queue(self, content: bytes | dict[str, Any], **properties: Any) -> None:
        """Publish where CMs publish."""
        await self.send(("MAU.CM.EX", "MAU.CM.K"), content, **properties)

    async def to_mcu_queue(self, content: bytes | dict[str, Any], **properties: Any) -> None:
        """Publish where MCUs publish."""
        await self.send(("MAU.MCU.EX", "MAU.MCU.K"), content, **properties)

    async def stop(self) -> None:
        """Consume no more, and close the link."""
        for consumer in self._consumers:
            await consumer.cancel()
        await self.bus.stop()


class Scenario(Base):
    """One platform with its peers; `begin` starts its instances of CSS. Combine it with `OnMemory` or `OnServers`."""

    hosts: ClassVar[Sequence[str]] = HOSTS
    instances: ClassVar[int] = 1
    timers: ClassVar[dict[str, float]] = PATIENT
    timeout: float = 120.0

    make_ground: Any
    """Gives the place where it happens."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.stage = Stage(self.make_ground())
        self.ground = self.stage.ground
        self.bystanders: list[Bystander] = []
        self.site: Site = await self.stage.platform(PLATFORM, list(self.hosts))

    async def tearDown(self) -> None:  # type: ignore[override]
        for bystander in self.bystanders:
            await bystander.stop()
        faults = [fault for site in self.stage.sites.values() for fault in site.peers.faults()]
        await self.stage.close()
        faults = [fault for fault in faults if not self.is_expected(fault)]
        self.assertEqual(faults, [], "what CSS sent broke the contract")

    def is_expected(self, fault: Fault) -> bool:
        """Whether a message that a peer could make nothing of is right all the same."""
        return False

    async def begin(self, **timers: float) -> CssService:
        """Start the instances; the platform's domain and `USER` in it are known when they serve."""
        for number in range(1, self.instances + 1):
            self.stage.instance(PLATFORM, f"css-{number}", **{**self.timers, **timers})
        await self.stage.served(PLATFORM)
        bmc = self.site.peers.bmc
        bmc.send_domain("add", PLATFORM, level=1, used=1)
        bmc.send_domain("add", USER, level=0, uplevelmoid=PLATFORM, used=1)
        # It is enough that they are stored: a create looks there for a domain that its instance does not know yet.
        await self.eventually(self._domains_stored, True)
        return self.service

    async def _domains_stored(self) -> bool:
        dump = await self.ground.dump(PLATFORM)
        return f"domain/{PLATFORM}/info" in dump and f"domain/{USER}/info" in dump

    @property
    def service(self) -> CssService:
        """The first instance."""
        return self.site.instances[0]

    @property
    def cm(self) -> CmPeer:
        """The platform's CM."""
        return self.site.peers.cm

    async def bystander(self, *queues: str, platform: str = PLATFORM) -> Bystander:
        """A connected bystander that watches some queues."""
        bus = self.ground.bus(platform, f"bystander-{len(self.bystanders)}")
        bystander = Bystander(bus)
        self.bystanders.append(bystander)
        bus.start()
        await bus.when_connected()
        for queue in queues:
            await bystander.watch(queue)
        return bystander

    async def create(self, e164: str = E164, name: str = NAME, moid: str = USER, **more: Any) -> dict[str, Any]:
        """Have the CM ask for a conference. @return: its answer's fields."""
        answer: dict[str, Any] = await within(self.cm.create(e164, name, moid, **more))
        return answer

    async def created(self, e164: str = E164, **more: Any) -> dict[str, Any]:
        """Create a conference, which must succeed. @return: the ACK's fields."""
        answer = await self.create(e164, **more)
        self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK", answer)
        return answer

    async def refused(self, errcode: str, e164: str = E164, **more: Any) -> None:
        """Ask for a conference, which must be refused with that code."""
        answer = await self.create(e164, mtreqid="77", **more)
        wanted = {"type": "MAU_CM_CREATECONF_NACK", "confE164": e164, "mtreqid": "77", "errcode": errcode}
        self.assertEqual(answer, wanted)

    async def release(self, e164: str = E164) -> dict[str, Any]:
        """Have the CM end a conference, which must succeed. @return: the ACK's fields."""
        answer: dict[str, Any] = await within(self.cm.release(e164))
        self.assertEqual(answer["type"], "MAU_CM_RELEASECONF_ACK", answer)
        return answer

    async def key(self, name: str, platform: str = PLATFORM) -> dict[str, str]:
        """A hash of a platform's Redis; empty if there is none."""
        dump = await self.ground.dump(platform)
        found = dump.get(name) or {}
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return {_text(field): _text(value) for field, value in pairs}

    async def state_of(self, e164: str = E164) -> str:
        """`state` of a record; empty if there is none."""
        return (await self.key(f"confex/{e164}")).get("state", "")

    async def until_state(self, state: str, e164: str = E164) -> None:
        """Wait for a record to have a state."""
        await self.eventually(lambda: self.state_of(e164), state)

    async def eventually(self, read: Any, wanted: Any, seconds: float = LIMIT_SECONDS) -> None:
        """Wait until what `read` gives (awaited if need be) equals something."""
        give_up_at = reactor.seconds() + seconds
        while (got := await _value(read)) != wanted:
            if reactor.seconds() > give_up_at:
                self.assertEqual(got, wanted)
            await pause(0.05)

    def tally(self, name: str) -> int:
        """What the instances have counted together."""
        return sum(service.work.tally[name] for service in self.site.instances)

    async def nothing_left(self, seconds: float = LIMIT_SECONDS) -> None:
        """Demand that nothing of any conference stays: no key but those that expire, no row, no load, no message."""
        for host in self.site.peers.hosts.values():
            host.mute()
        await self.eventually(lambda: leftovers(self.stage), [], seconds)
        for host in self.site.peers.hosts.values():
            host.unmute()


class OnMemory(TestCase):
    """Everything in this process."""

    def make_ground(self) -> MemoryGround:
        return MemoryGround()


class OnServers(TestCase):
    """RabbitMQ, Redis and MariaDB."""

    def make_ground(self) -> ServerGround:
        return ServerGround()


async def pause(seconds: float) -> None:
    """Let time pass."""
    waited: Deferred[None] = Deferred()
    reactor.callLater(seconds, waited.callback, None)
    await waited


async def _value(read: Any) -> Any:
    value = read()
    return await value if hasattr(value, "__await__") else value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


__all__ = [
    "E164",
    "HOSTS",
    "LIMIT_SECONDS",
    "NAME",
    "PATIENT",
    "PLATFORM",
    "ROOM",
    "USER",
    "Bystander",
    "OnMemory",
    "OnServers",
    "Scenario",
    "finished",
    "pause",
    "to",
    "until",
    "within",
]
