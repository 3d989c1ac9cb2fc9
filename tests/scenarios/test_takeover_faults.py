"""A platform dies and returns, and CSS, a broker, the links between the platforms fail in the middle of it: figures of
issue 4 (real servers)."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from css.peers.cm import Request
from css.peers.cmu_process import CmuProcess
from tests.scale import scaled
from tests.scenarios.case import pause
from tests.scenarios.crowd import Crowd
from tests.scenarios.figures import note
from tests.scenarios.ground import finished, reactor, until
from tests.scenarios.pair import TwoNodeGround
from tests.scenarios.pair_processes import PairScene
from tests.scenarios.takeoverscale import (
    BACKUP,
    CONTROL,
    DEFAULTS,
    HOSTS,
    MAIN,
    MOST_SECONDS,
    SETTLE_SECONDS,
    TakeoverScaleCase,
    control,
    delay,
)
from tests.servers import RabbitMQServer, servers

CUT_SECONDS = scaled(2.0, 20.0)
LATE_SECONDS = scaled(0.5, 1.0)
"""How long MCUs think about a request: then there is a middle of the takeover, and of forwarding."""
LONGEST_RESTART_SECONDS = 30.0
"""In which a broker is back, on a busy machine."""


class FaultCase(TakeoverScaleCase):
    count: ClassVar[int] = scaled(40, 2000)
    staying_seconds: ClassVar[float] = scaled(1.0, 30.0)

    def some(self, crowd: Crowd) -> list[str]:
        """The conferences that are controlled."""
        return Random(5).sample(crowd.numbers, scaled(self.count // 2, self.count // 5))

    def processes(self, crowd: Crowd) -> list[CmuProcess]:
        """All MCU processes."""
        return [process for host in crowd.hosts.values() for process in host.processes.values()]

    def asked_of_mcus(self, crowd: Crowd) -> Counter[str]:
        """How often MCUs were asked to control each conference, repeats of a message left out."""
        return Counter(got.e164 for process in self.processes(crowd) for got in process.inbox.all(CONTROL))


class CssOfTheMainPlatform(FaultCase):
    """It is killed as soon as it serves again, and once more while it forwards."""

    async def test_killed_in_the_handback(self) -> None:
        """The limits are those without a fault: what runs on the backup needs nothing of the main platform's CSS."""
        scene, crowd = await self.crowded()
        await self.taken_over(scene, crowd)
        await self.returned(scene, crowd)
        numbers = self.some(crowd)
        for process in self.processes(crowd):
            process.controls.late(LATE_SECONDS)
        await gatherResults([_deferred(self.controlled(scene, numbers)), _deferred(self.killed_again(scene, crowd))])
        self.assertEqual(self.asked_of_mcus(crowd), Counter(numbers), "no MCU was asked twice")
        await self.renamed(scene, crowd, numbers)
        await self.delayed(scene, crowd, numbers)
        await self.ended(scene, crowd, set(numbers))

    async def main_returns(self, scene: PairScene) -> None:
        """See `TakeoverScaleCase.main_returns`."""
        (await scene.run(MAIN)).kill()
        await scene.run(MAIN)

    async def killed_again(self, scene: PairScene, crowd: Crowd) -> None:
        """When the first control request has reached its MCU, which has not answered yet."""
        await until(lambda: self.asked_of_mcus(crowd), SETTLE_SECONDS, "an MCU is asked")
        scene.processes[MAIN][-1].kill()
        answered = scene.peers(MAIN).cm.inbox.count("CMU_CM_MUTEMT_ACK")
        note("the main CSS was killed", forwarded=self.asked_of_mcus(crowd).total(), answered=answered)
        await scene.run(MAIN)


class BrokerOfTheBackup(FaultCase):
    """It is restarted when a quarter of the restores has been asked for."""

    most_seconds: ClassVar[float] = MOST_SECONDS + LONGEST_RESTART_SECONDS + DEFAULTS["creating_timeout_seconds"]
    """A restore whose request, or answer, is lost in the restart is tried again after its time-out."""
    restored_once: ClassVar[bool] = False

    async def test_restarted_in_the_takeover(self) -> None:
        self.rabbitmq: RabbitMQServer = await deferToThread(servers().private_rabbitmq)
        self.addCleanup(deferToThread, self.rabbitmq.close)
        scene, crowd = await self.crowded(TwoNodeGround(self.rabbitmq))
        for ip in HOSTS[BACKUP]:
            crowd.hosts[ip].mood.late(LATE_SECONDS)
        await self.taken_over(scene, crowd)
        await self.returned(scene, crowd)
        numbers = self.some(crowd)
        await self.controlled(scene, numbers)
        await self.renamed(scene, crowd, numbers)
        await self.delayed(scene, crowd, numbers)
        await self.ended(scene, crowd, set(numbers))

    async def meanwhile(self, crowd: Crowd) -> None:
        """See `TakeoverScaleCase.meanwhile`."""
        await until(lambda: 4 * crowd.restores_asked().total() >= self.count, MOST_SECONDS, "a quarter is asked for")
        restored, began = len(crowd.restored_at), reactor.seconds()
        await deferToThread(self.rabbitmq.restart)
        away = reactor.seconds() - began
        note("the backup's broker restarted", restored_before=restored, away_seconds=away)
        self.assertLess(restored, self.count, "it was in the middle of it")
        self.assertLess(away, LONGEST_RESTART_SECONDS)


class LinkBetweenThePlatforms(FaultCase):
    """It is cut, both ways, while requests are forwarded; they go on meanwhile."""

    async def test_cut_in_the_middle_of_forwarding(self) -> None:
        """What is asked while there is no link is refused at once, what had been handed over is answered when it is
        back: each once. Restores have the limits that they have without a fault."""
        scene, crowd = await self.crowded()
        await self.taken_over(scene, crowd)
        await self.returned(scene, crowd)
        numbers = self.some(crowd)
        controls, delays = await self.asked_through_a_cut(scene, crowd, numbers)
        refused = self.each_answered_once(controls)
        note("control through a cut", seconds=CUT_SECONDS, asked=len(controls), refused=len(refused))
        self.assertTrue(refused, "some were asked while the link was cut")
        self.assertLess(len(refused), len(controls), "some were asked while it was not")
        self.assertEqual(self.asked_of_mcus(crowd), Counter(set(numbers) - set(refused)))
        await self.names_taken(scene, crowd, numbers)
        await self.ends_moved(scene, crowd, numbers, delays)
        await self.controlled(scene, refused)
        await self.ended(scene, crowd, set(numbers))

    async def asked_through_a_cut(
        self, scene: PairScene, crowd: Crowd, numbers: list[str]
    ) -> tuple[list[Request], list[Request]]:
        """@return: control requests, and delays, answered."""
        cm, half = scene.peers(MAIN).cm, len(numbers) // 2
        controls = [cm.request(**control(e164)) for e164 in numbers[:half]]
        self.ask_for_names(crowd, numbers)
        await until(lambda: any(each.answers for each in controls), SETTLE_SECONDS, "control is answered")
        await gatherResults([_deferred(scene.ground.cut(*way)) for way in ((MAIN, BACKUP), (BACKUP, MAIN))])
        answered = sum(bool(each.answers) for each in controls)
        controls += [cm.request(**control(e164)) for e164 in numbers[half:]]
        delays = [cm.request(**delay(e164)) for e164 in numbers]
        await pause(CUT_SECONDS)
        waiting = sum(not each.answers for each in controls)
        note("the link was cut", answered_before=answered, unanswered_while_cut=waiting)
        await gatherResults([_deferred(scene.ground.mend(*way)) for way in ((MAIN, BACKUP), (BACKUP, MAIN))])
        await finished([each.answer for each in (*controls, *delays)]).addTimeout(SETTLE_SECONDS, reactor)
        await pause(1.0)  # for an answer too many
        return controls, delays

    def each_answered_once(self, requests: list[Request]) -> list[str]:
        """Demand one answer for each request, the MCU's or that there is no link. @return: numbers of the latter."""
        self.assertEqual(Counter(len(each.answers) for each in requests), {1: len(requests)})
        answers = [each.answers[0] for each in requests]
        self.assertEqual({each.queue for each in answers}, {requests[0].reply_to})
        outcomes = Counter(each.fields.get("errcode", each.type) for each in answers)
        self.assertLessEqual(set(outcomes), {"CMU_CM_MUTEMT_ACK", "UNREACHABLE_PLATFORM"}, outcomes)
        return sorted(each.e164 for each in answers if "errcode" in each.fields)


def _deferred(work: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)
