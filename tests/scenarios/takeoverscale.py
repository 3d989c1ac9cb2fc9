"""A platform with very many conferences dies, its backup takes over; the platform returns, and goes on to control them
where they run (seed 2.3.1, 2.3.3, 5): the phases, real servers, two nodes of each, instances as processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.trial.unittest import TestCase

from css.peers.cm import REQUESTS, TO_CSS, TO_MCU, Request
from css.peers.cmu_process import CmuProcess
from css.peers.inbox import Received
from tests.scale import scaled
from tests.scenarios.case import pause
from tests.scenarios.crowd import Crowd, restored
from tests.scenarios.figures import note
from tests.scenarios.ground import finished, reactor
from tests.scenarios.pair import TwoNodeGround
from tests.scenarios.pair_processes import PairScene
from tests.scenarios.remains import leftovers

MAIN, BACKUP = "A", "B"
HOSTS = {MAIN: ["10.4.1.1", "10.4.1.2", "10.4.1.3"], BACKUP: ["10.4.2.1", "10.4.2.2", "10.4.2.3", "10.4.2.4"]}
USERS = {MAIN: "u-main", BACKUP: "u-backup"}
MOST_SECONDS = 30.0
AT_ONCE = 50
DURATION, DELAY = 60, 30
"""Minutes."""
SETTLE_SECONDS = 90.0
CONTROL = "CM_CMU_MUTEMT_REQ"
DEFAULTS = {
    "state_poll_seconds": 5.0,
    "request_timeout_seconds": 5.0,
    "creating_timeout_seconds": 30.0,
    "restore_interval_seconds": 5.0,
    "mcu_timeout_seconds": 15.0,
    "sync_grace_seconds": 20.0,
    "unroutable_seconds": 60.0,
    "outbox_lease_seconds": 5.0,
}


class TakeoverScaleCase(TestCase):
    """Two instances on the backup, one on the main platform."""

    timeout = 900
    count: ClassVar[int]
    """How many conferences."""
    most_seconds: ClassVar[float] = MOST_SECONDS
    """In which all are restored."""
    staying_seconds: ClassVar[float] = scaled(3.0, 30.0)
    """How long it is watched that nothing moves back."""
    restored_once: ClassVar[bool] = True
    """Whether no restore may be asked for again."""

    async def crowded(self, ground: TwoNodeGround | None = None) -> tuple[PairScene, Crowd]:
        """Everything on the main platform."""
        scene = PairScene(ground, **DEFAULTS)
        self.addCleanup(scene.close)
        await scene.open(HOSTS, USERS)
        await gatherResults([Deferred.fromCoroutine(scene.run(moid)) for moid in (MAIN, BACKUP, BACKUP)])
        await scene.ready()
        crowd = Crowd(scene.ground, [scene.peers(MAIN), scene.peers(BACKUP)], USERS[MAIN])
        await crowd.create(self.count, HOSTS[MAIN], duration=DURATION)
        await self.eventually(lambda: self.row_hosts(crowd), self.homes(crowd))
        return scene, crowd

    async def taken_over(self, scene: PairScene, crowd: Crowd) -> None:
        """The platform dies: all of its conferences run on the backup, each once, in time."""
        began = reactor.seconds()
        for process in scene.processes[MAIN]:
            process.kill()
        await gatherResults([scene.peers(MAIN).hosts[ip].crash() for ip in HOSTS[MAIN]])
        scene.say(MAIN, "abnormal")
        await self.meanwhile(crowd)
        await crowd.all_restored(2 * self.most_seconds)
        took = restored(crowd, began)
        again = sum(times - 1 for times in crowd.restores_asked().values())
        counts = crowd.counts(HOSTS[BACKUP])
        figures = {**msgspec.structs.asdict(took), "most": max(counts.values()), "asked_again": again}
        note(f"takeover, {type(self).__name__}", conferences=self.count, **figures)
        self.assertLessEqual(took.last, self.most_seconds)
        if self.restored_once:
            self.assertEqual(Counter(crowd.restores_asked().values()), {1: self.count}, "each was asked for once")
        else:
            # A host that was asked in vain, as it seemed, may have it as well until its next list.
            await self.eventually(lambda: max(map(len, crowd.running().values())), 1)
        await self.runs_on_backup(crowd)

    async def meanwhile(self, crowd: Crowd) -> None:
        """What happens while the backup takes over: nothing."""

    async def returned(self, scene: PairScene, crowd: Crowd) -> None:
        """The platform returns: what runs on the backup stays there."""
        before = await crowd.places()
        for ip in HOSTS[MAIN]:
            scene.peers(MAIN).hosts[ip].restart()
        scene.say(MAIN, "normal")
        await self.main_returns(scene)
        await pause(self.staying_seconds)
        self.assertEqual(await crowd.places(), before)
        await self.runs_on_backup(crowd)

    async def main_returns(self, scene: PairScene) -> None:
        """The main platform's CSS is started again, and serves."""
        await scene.run(MAIN)

    async def runs_on_backup(self, crowd: Crowd) -> None:
        """Each once, on the backup, and rows and records say so."""
        homes = self.homes(crowd)
        self.assertEqual(sorted(homes), crowd.numbers)
        self.assertLessEqual(set(homes.values()), set(HOSTS[BACKUP]))
        places = await crowd.places()
        self.assertEqual({e164: (state, ip) for e164, (state, ip, *_) in places.items()}, _ongoing(homes))
        await self.eventually(lambda: self.row_hosts(crowd), homes)

    async def controlled(self, scene: PairScene, numbers: list[str]) -> None:
        """Control through the main platform: the MCU's own answer, once, to the requester's own queue."""
        requests = await self.requests(scene, [control(e164) for e164 in numbers])
        self.answered(scene, requests, "CMU_CM_MUTEMT_ACK", numbers)

    async def renamed(self, scene: PairScene, crowd: Crowd, numbers: list[str]) -> None:
        """MCUs on the backup ask for names: the main platform's CM is asked, and its answer reaches the very MCU."""
        self.ask_for_names(crowd, numbers)
        await self.names_taken(scene, crowd, numbers)

    def ask_for_names(self, crowd: Crowd, numbers: list[str]) -> None:
        """Have the MCUs ask."""
        for e164 in numbers:
            self.process_of(crowd, e164).ask_for_name(e164, f"新名 {e164}")

    async def names_taken(self, scene: PairScene, crowd: Crowd, numbers: list[str]) -> None:
        """Each was asked for once, at the main platform's CM, and answered once; MCU and Redis have it."""
        names = {e164: f"新名 {e164}" for e164 in numbers}

        def known() -> dict[str, str]:
            return {e164: self.process_of(crowd, e164).conferences[e164].confname for e164 in numbers}

        async def kept() -> dict[str, str]:
            store = scene.ground.stores[MAIN]
            return {e164: (await store.load(e164)).conf["confname"] for e164 in numbers}

        await self.eventually(known, names)
        await self.eventually(kept, names)
        asked = scene.peers(MAIN).cm.inbox.all("CMU_CM_MODIFYCONFNAME_REQ")
        self.assertEqual(sorted((got.e164, got.queue) for got in asked), sorted((e164, REQUESTS) for e164 in numbers))
        self.assertEqual(scene.peers(BACKUP).cm.inbox.all("CMU_CM_MODIFYCONFNAME_REQ"), [])
        answers = [got for e164 in numbers for got in self.told(crowd, e164, "CM_CMU_MODIFYCONFNAME_ACK")]
        # A CM that is asked again, since a confirm was lost, answers once more, in a message of its own.
        again = Counter(got.e164 for got in answers) - Counter(numbers)
        self.assertEqual({got.e164 for got in answers}, set(numbers))
        self.assertLessEqual(again.total(), scene.peers(MAIN).cm.inbox.repeats)
        self.assertEqual({got.fields["confname"] for got in answers}, set(names.values()))

    async def delayed(self, scene: PairScene, crowd: Crowd, numbers: list[str]) -> None:
        """The main platform moves their ends; the MCU on the backup and the CM are told."""
        await self.ends_moved(scene, crowd, numbers, await self.requests(scene, [delay(e164) for e164 in numbers]))

    async def ends_moved(self, scene: PairScene, crowd: Crowd, numbers: list[str], requests: list[Request]) -> None:
        """Each request was answered; rows and MCUs have the new ends; the CM was told."""
        self.answered(scene, requests, "CM_MAU_DELAYCONF_ACK", numbers)
        ends = {request.answers[0].e164: request.answers[0].fields["endtime"] for request in requests}
        rows = await crowd.rows()
        self.assertEqual(ends, {e164: rows[e164][1] + 60 * (DURATION + DELAY) for e164 in numbers})

        def known() -> dict[str, int]:
            return {e164: self.process_of(crowd, e164).conferences[e164].endtime for e164 in numbers}

        def told() -> list[str]:
            return sorted(got.e164 for got in scene.peers(MAIN).cm.notices("CM_MAU_CONFDURATION_NTF"))

        await self.eventually(known, ends)
        await self.eventually(told, sorted(numbers))

    async def ended(self, scene: PairScene, crowd: Crowd, released: set[str]) -> None:
        """The CM releases some through the main platform, the others end by themselves: nothing is left of any."""
        wanted = [{"type": "CM_MAU_RELEASECONF_REQ", "place": TO_CSS, "confE164": each} for each in sorted(released)]
        requests = await self.requests(scene, wanted)
        self.answered(scene, requests, "MAU_CM_RELEASECONF_ACK", sorted(released))
        for e164 in sorted(set(crowd.numbers) - released):
            self.process_of(crowd, e164).end(e164)
        await self.eventually(lambda: len(scene.peers(MAIN).cm.notices("MAU_CM_RELEASECONF_NTF")), self.count)
        for host in crowd.hosts.values():
            host.mute()
        await self.eventually(lambda: leftovers(scene.stage), [])
        bills = [got.e164 for moid in HOSTS for got in scene.peers(moid).bmc.bills()]
        self.assertEqual(sorted(bills), crowd.numbers)
        told = [got.e164 for moid in HOSTS for got in scene.peers(moid).cm.notices("MAU_CM_RELEASECONF_NTF")]
        self.assertEqual(sorted(told), crowd.numbers)
        await self.eventually(lambda: {moid: scene.peers(moid).upu.table() for moid in HOSTS}, {MAIN: {}, BACKUP: {}})
        for moid in HOSTS:
            added = Counter(got.e164 for got in scene.peers(moid).upu.inbox.all("UPU_ADD_CONF_REQ"))
            self.assertEqual(sorted(added), crowd.numbers)
            if self.restored_once:
                self.assertEqual(set(added.values()), {1}, "each was reported once where it ran")
        self.assertEqual([fault for moid in HOSTS for fault in scene.peers(moid).faults()], [])

    async def requests(self, scene: PairScene, wanted: Sequence[dict[str, Any]]) -> list[Request]:
        """The main platform's CM asks. @return: its requests, answered."""
        cm, gate, sent = scene.peers(MAIN).cm, DeferredSemaphore(AT_ONCE), []

        def send(fields: dict[str, Any]) -> Deferred[dict[str, Any]]:
            request = cm.request(**fields)
            sent.append(request)
            return request.answer

        await finished([gate.run(send, fields) for fields in wanted]).addTimeout(SETTLE_SECONDS, reactor)
        return sent

    def answered(self, scene: PairScene, requests: list[Request], kind: str, numbers: list[str]) -> None:
        """Demand one answer each, of a kind, at the CM's own queue."""
        found = sorted((got.type, got.e164, got.queue) for request in requests for got in request.answers)
        self.assertEqual(found, sorted((kind, e164, scene.peers(MAIN).cm.reply_queue) for e164 in numbers))

    def process_of(self, crowd: Crowd, e164: str) -> CmuProcess:
        """The MCU process that runs it."""
        return next(host for host in crowd.hosts.values() if e164 in host.conferences).process_of(e164)

    def told(self, crowd: Crowd, e164: str, kind: str) -> list[Received]:
        """What its MCU process was told."""
        return self.process_of(crowd, e164).inbox.all(kind, e164)

    def homes(self, crowd: Crowd) -> dict[str, str]:
        """The one host of each number that runs; of one that runs twice, both."""
        return {e164: "+".join(ips) for e164, ips in crowd.running().items()}

    async def row_hosts(self, crowd: Crowd) -> dict[str, str]:
        """The host of each open row."""
        return {e164: ip for e164, (ip, _) in (await crowd.rows()).items()}

    async def eventually(self, read: Callable[[], Any], wanted: Any) -> None:
        """Wait until what `read` gives (awaited if need be) equals something."""
        give_up_at = reactor.seconds() + SETTLE_SECONDS
        while (got := await _value(read())) != wanted and reactor.seconds() < give_up_at:
            await pause(0.2)
        self.assertEqual(got, wanted)


def control(e164: str) -> dict[str, Any]:
    """A CM's request that an MCU answers."""
    return {"type": CONTROL, "place": TO_MCU, "confE164": e164}


def delay(e164: str) -> dict[str, Any]:
    """A CM's request to move an end."""
    return {"type": "CM_MAU_DELAYCONF_REQ", "place": TO_CSS, "confE164": e164, "delay": DELAY}


async def _value(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value


def _ongoing(homes: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {e164: ("ongoing", ip) for e164, ip in homes.items()}
