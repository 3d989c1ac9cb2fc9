"""What CMs, MCUs, the BMC and vandals do to a platform, at random."""

from __future__ import annotations

from random import Random
from typing import Any, Final, cast

import msgspec

from css.handlers import addresses as to
from css.messages.codec import wire_type
from css.messages.control import DelayRequest
from css.messages.create import CreateRequest, ReleaseRequest, ResourceAck
from css.peers.cm import A_CONTROL, TO_CSS, TO_MCU, CmPeer, Request
from css.peers.cmu import CmuHost
from css.peers.cmu_process import TO_CSS as MCU_TO_CSS
from css.peers.peer import Place
from css.ports.bus import IBus, Outgoing
from css.simulation.world import Site, Watcher, World

REPEATED_WITHIN_SECONDS = 540.0
"""A repetition is known as one for 10 minutes."""
LAST_REQUESTS = 60
ANONYMOUS_CHANCE = 0.1
"""How many requests have no `message_id`."""
DURATIONS: Final = (0, 0, 0, 0, 1, 2, 7)
"""Minutes; 0: until released."""
NUMBERS: Final = (4, 12, 40)
"""How many numbers a platform's conferences have, one of these: few make the requests meet each other."""

OTHER_CM: Final = 0.1
OTHER_CM_IN_TROUBLE: Final = 0.6
"""How many requests come from a CM of a backup platform, usually and while a fault decides how the own one is."""

CREATE: Final = wire_type(CreateRequest)
RELEASE: Final = wire_type(ReleaseRequest)
DELAY: Final = wire_type(DelayRequest)
RESOURCES: Final = wire_type(ResourceAck)

_DEPTH_BOMB = b'{"type":"x","a":' + b"[" * 5000 + b"]" * 5000 + b"}"
POISON: Final = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"type":7}',
    b'{"no":"type"}',
    b'{"type":"NOBODY_KNOWS_REQ"}',
    b'{"type":"x","a":NaN}',
    b'{"type":"x","a":1,"a":2}',
    b'{"type":"x","a":"\xff"}',
    b'{"type":"x","a":"\\ud800"}',
    _DEPTH_BOMB,
)
"""What a vandal sends (fault 9); none of it is a request that could be answered."""
LONGEST_POISON: Final = 1 + max(map(len, POISON))
POISONED: Final = (TO_CSS, MCU_TO_CSS, ("", to.RMS_REPLY_QUEUE), ("", to.CONTROL_QUEUE))


class AnonymousBus:
    """A CM's bus on which some requests travel without their ids: CSS must know a repetition by its other marks."""

    def __init__(self, bus: IBus, random: Random) -> None:
        self._bus = bus
        self._random = random
        self._anonymous: dict[str, bool] = {}

    def publish(self, message: Outgoing) -> Any:
        """See `IBus.publish`."""
        known = self._anonymous
        if message.correlation_id and message.message_id not in known:
            known[message.message_id] = self._random.random() < ANONYMOUS_CHANCE
        if known.get(message.message_id):
            message = msgspec.structs.replace(message, message_id="")
        return self._bus.publish(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


class Sent(msgspec.Struct, eq=False):
    """A request of the workload."""

    cm: CmPeer
    request: Request
    e164: str
    at_seconds: float


class Workload(Watcher):
    """One platform's. Its actions are methods; `WEIGHTS` says how often each is taken.

    @ivar factor: how many times the usual rate (fault 23).
    """

    def __init__(self, world: World, site: Site) -> None:
        self.world = world
        self.site = site
        self.factor = 1.0
        self.sent: list[Sent] = []
        self._on_their_way: dict[str, str] = {}
        self._random: Random = world.random
        count = self._random.choice(NUMBERS)
        self._mean_seconds = world.shape.request_seconds
        self._numbers = [f"0{world.shape.platforms.index(site.moid)}60{number:03d}" for number in range(count)]
        self._running = False
        for cm in site.cms:
            cm.bus = cast("IBus", AnonymousBus(cm.bus, self._random))
        self._actions = [(action, getattr(self, f"do_{action}")) for action in WEIGHTS]
        self._weights = list(WEIGHTS.values())

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._next()

    def stop(self) -> None:
        """Do nothing new."""
        self._running = False

    def do_create(self) -> None:
        """A CM wants a conference."""
        random = self._random
        users = self.site.users
        moid = random.choices(
            [users["free"], users["limited"], users["toggled"], users["stopped"], "nobody"], [10, 4, 3, 1, 1]
        )[0]
        more = {
            "maxjoinmt": random.choice([2, 8, 9, 200]),
            "priority": random.randrange(10),
            "record": random.randrange(2),
            "legacy": int(random.random() < 0.1),
            "duration": random.choice(DURATIONS),
        }
        fields = {"confname": "周例会", "moid": moid, **more}
        self._ask(CREATE, random.choice(self._numbers), fields)

    def do_release(self) -> None:
        """A CM ends a conference, often one that exists."""
        self._ask(RELEASE, self._number_in_use(), {})

    def do_control(self) -> None:
        """A CM controls a conference, often one that exists."""
        self._ask(A_CONTROL, self._number_in_use(), {"n": self._random.randrange(1000)}, TO_MCU)

    def do_delay(self) -> None:
        """A CM moves a conference's end, of many that have none."""
        self.delay(self._number_in_use())

    def do_delay_on_mcu(self) -> None:
        """The MCU that runs a conference moves its end."""
        running = self._running_here()
        if running:
            host, e164 = self._random.choice(running)
            host.process_of(e164).ask_for_delay(e164, self._random.randint(1, 3))

    def do_rename(self) -> None:
        """A conference gets another name on its MCU, at times only if the CM agrees."""
        running = self._running_here()
        if running:
            host, e164 = self._random.choice(running)
            name, process = f"会议{self._random.randrange(100)}", host.process_of(e164)
            if self._random.random() < 0.5:
                process.ask_for_name(e164, name)
            else:
                process.change(e164, confname=name)

    def _running_here(self) -> list[tuple[CmuHost, str]]:
        return [(host, e164) for host in self.site.hosts.values() for e164 in host.conferences]

    def do_repeat(self) -> None:
        """A CM sends a request once more, byte for byte."""
        recent = self.recent()
        if recent:
            sent = self._random.choice(recent)
            self.world.history.note("repeat", sent.request.message_id)
            self._repeat(sent)

    def do_end_on_mcu(self) -> None:
        """A conference ends on its MCU by itself."""
        running = self._running_here()
        if running:
            host, e164 = self._random.choice(running)
            self.world.history.note("mcu_end", f"{host.ip} {e164}")
            host.end(e164)

    def do_toggle_domain(self) -> None:
        """The BMC stops a user domain, or lets it go on."""
        self.site.set_used(self.site.users["toggled"], self._random.randrange(2))

    def do_poison(self) -> None:
        """A vandal sends what is no message."""
        self._vandalise(self._random.choice(POISONED), self._random.choice(POISON))

    def do_stray(self) -> None:
        """An answer that nobody awaits: of RMS, for a placement that never was."""
        body = msgspec.json.encode({"type": RESOURCES, "roommoid": "r", "mcu": [{"ip": "10.9.9.9"}]})
        cm = self._random.choice(self.site.cms)
        correlation = f"{self.site.moid}/{self._random.choice(self._numbers)}/{self._random.randrange(1 << 50)}"
        cm.track(cm.send_raw(body, ("", to.RMS_REPLY_QUEUE), correlation_id=correlation))

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """See `Watcher.published`."""
        if self._on_their_way:
            self._on_their_way.pop(message.correlation_id, None)

    def on_their_way(self) -> list[str]:
        """Requests that no broker has seen yet."""
        return [f"I1 {e164}: a request is still to be sent" for e164 in self._on_their_way.values()]

    def recent(self) -> list[Sent]:
        """Requests that may be repeated."""
        since = self.world.timeline.now - REPEATED_WITHIN_SECONDS
        return [sent for sent in self.sent[-LAST_REQUESTS:] if sent.at_seconds > since]

    def repeat_unanswered(self) -> None:
        """CMs ask again for what they have no answer to."""
        for sent in self.recent():
            if not sent.request.answers:
                self._repeat(sent)

    def delay(self, e164: str) -> None:
        """Move a conference's end."""
        self._ask(DELAY, e164, {"delay": self._random.randint(1, 3)})

    def release_all(self, numbers: list[str]) -> None:
        """End these conferences, as a CM of their own platform can wherever they run."""
        for e164 in numbers:
            self._ask(RELEASE, e164, {}, cm=self._random.choice(self.site.cms))

    def _ask(
        self, kind: str, e164: str, fields: dict[str, Any], place: Place = TO_CSS, cm: CmPeer | None = None
    ) -> None:
        cm = cm or self._cm()
        request = cm.request(kind, place, confE164=e164, **fields)
        _ = request.answer.addErrback(lambda _: None)  # no queue of CSS: the CM is told by its broker
        self.world.history.note("ask", f"{cm.name} {kind} {e164} {request.message_id}")
        self._on_their_way[request.correlation_id] = e164
        self.sent.append(Sent(cm, request, e164, self.world.timeline.now))

    def _cm(self) -> CmPeer:
        """One of the platform's own, or of a backup's: more often while its platform is in trouble."""
        backups, chance = self.site.backups, OTHER_CM_IN_TROUBLE if self.site.in_trouble else OTHER_CM
        abroad = backups and self._random.random() < chance
        return self._random.choice(self._random.choice(backups).cms if abroad else self.site.cms)

    def _repeat(self, sent: Sent) -> None:
        sent.cm.track(sent.cm.repeat(sent.request))

    def _number_in_use(self) -> str:
        if self._random.random() < 0.15:
            return self._random.choice(self._numbers)
        keys = sorted(self.site.redis.store.server.keyspace.keys_with("confex/"))
        return self._random.choice(keys).partition("/")[2] if keys else self._random.choice(self._numbers)

    def _vandalise(self, place: Place, body: bytes) -> None:
        cm = self._random.choice(self.site.cms)
        cm.track(cm.send_raw(body, place))

    def _next(self) -> None:
        seconds = self._random.expovariate(self.factor / self._mean_seconds)
        self.world.timeline.at(self.world.timeline.now + seconds, self._act)

    def _act(self) -> None:
        if not self._running:
            return
        _, action = self._random.choices(self._actions, self._weights)[0]
        action()
        self._next()


WEIGHTS: dict[str, float] = {
    "create": 10,
    "release": 6,
    "control": 4,
    "delay": 1,
    "delay_on_mcu": 0.5,
    "rename": 0.7,
    "repeat": 4,
    "end_on_mcu": 2,
    "toggle_domain": 0.5,
    "poison": 0.7,
    "stray": 0.5,
}
"""How often each action is taken, against the others."""
