"""Servers and instances that go away in a stream of creates: nothing is lost, and service comes back by itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.scale import scaled
from tests.scenarios.case import pause
from tests.scenarios.days import end_state
from tests.scenarios.ground import reactor
from tests.scenarios.processes import PLATFORM, CssProcess, Scene
from tests.scenarios.stream import HOSTS, PATIENT, USER, PrivateGround, Stream
from tests.servers import servers
from tests.servers.process import Server, free_port

SETTLE_SECONDS = 2 * PATIENT["creating_timeout_seconds"] + 30.0
"""A place that is booked as its server dies, in the step that is never committed, is kept for the booking's lease."""
STOP_SECONDS = 8.0


class OutageCase(TestCase):
    """A platform, an instance, a stream."""

    timeout = 400

    async def private(self, start: Callable[[], Server]) -> Any:
        """Start a server of this test's own."""
        server = await deferToThread(start)
        self.addCleanup(deferToThread, server.close)
        return server

    async def scene(self, ground: PrivateGround, **timers: float) -> Scene:
        """A platform with its peers."""
        scene = Scene(ground, **{**PATIENT, **timers})
        self.addCleanup(scene.close)
        await scene.open(HOSTS, [USER])
        return scene

    async def stream(self, scene: Scene) -> Stream:
        """Begin a stream, as soon as creates can succeed."""
        await scene.ready(USER)
        stream = Stream(scene).start()
        self.addCleanup(stream.stop)
        await stream.answered()
        return stream

    async def nothing_lost(self, scene: Scene, stream: Stream) -> None:
        """Demand one ACK for each create, and everything else in agreement with that."""
        requests = await stream.finish()
        self.assertEqual(stream.outcomes(), {"MAU_CM_CREATECONF_ACK": len(requests)})
        numbers = sorted(request.answers[0].e164 for request in requests)
        give_up_at = reactor.seconds() + SETTLE_SECONDS
        while late := _late(state := await end_state(scene), numbers):
            if reactor.seconds() > give_up_at:
                self.fail(f"not so of {len(numbers)} conferences: {late}")
            await pause(0.2)
        self.assertEqual((state["faults"], state["placed twice or nowhere"]), ([], []))
        self.assertEqual(set(state["running"].values()), {1})

    def says(self, process: CssProcess, *texts: str) -> None:
        """Demand lines in the log."""
        log = process.log()
        for text in texts:
            self.assertIn(text, log)


def _late(state: dict[str, Any], numbers: list[str]) -> dict[str, Any]:
    """What of a state has not come yet, or is still under way, if these conferences have been created."""
    found = {part: sorted(state[part]) for part in ("rows", "records", "running", "booked")}
    found["upu"] = sorted(e164 for e164, _ in state["upu"])
    late = {part: here for part, here in found.items() if here != numbers}
    return late | {part: state[part] for part in ("outbox", "pending requests") if state[part]}


class ServerOutageTests(OutageCase):
    async def test_the_broker_is_restarted_and_killed(self) -> None:
        rabbitmq = await self.private(servers().private_rabbitmq)
        scene = await self.scene(PrivateGround(rabbitmq=rabbitmq), mcu_timeout_seconds=6.0, sync_grace_seconds=7.0)
        process = scene.run()
        stream = await self.stream(scene)
        await deferToThread(rabbitmq.stop)
        await pause(5.0)  # with what a start takes, longer than an MCU may be silent
        await deferToThread(rabbitmq.start)
        await stream.answered(20)
        await deferToThread(rabbitmq.kill)
        await deferToThread(rabbitmq.start)
        await stream.answered(20)
        await self.nothing_lost(scene, stream)
        self.says(process, f"broker of {PLATFORM}: Link lost to amqp://guest@")
        self.assertTrue(process.says(f"broker of {PLATFORM}: connected to amqp://guest@", 3))

    async def test_redis_is_restarted_killed_and_frozen(self) -> None:
        redis = await self.private(servers().private_redis)
        scene = await self.scene(PrivateGround(redis=redis))
        process = scene.run()
        stream = await self.stream(scene)
        await deferToThread(redis.stop)
        await pause(scaled(1.0, 30.0))
        await deferToThread(redis.start)
        await stream.answered(20)
        await deferToThread(redis.kill)
        await deferToThread(redis.start)
        await stream.answered(20)
        redis.pause()
        await pause(4.0)
        redis.resume()
        await stream.answered(20)
        await self.nothing_lost(scene, stream)
        place = f"Redis 127.0.0.1:{redis.port}"
        self.says(process, f"{place}: connection lost", f"{place}: no answer within", f"{place}: disconnected")
        self.assertTrue(process.says(f"{place}: connected to", 4))
        self.says(process, "can't work: ", "works again", "requests are handled again")

    async def test_the_database_is_stopped(self) -> None:
        mariadb = await self.private(servers().private_mariadb)
        scene = await self.scene(PrivateGround(mariadb=mariadb))
        process = scene.run()
        stream = await self.stream(scene)
        await deferToThread(mariadb.stop)
        await pause(scaled(3.0, 30.0))
        await stream.answered(20)
        await deferToThread(mariadb.start)
        await self.nothing_lost(scene, stream)
        self.says(process, "the SQL database is away, rows wait in the outbox", "the SQL database is back")

    async def test_a_peers_broker_and_the_database_are_down_at_the_start(self) -> None:
        mariadb = await self.private(servers().private_mariadb)
        scene = await self.scene(PrivateGround(mariadb=mariadb))
        await deferToThread(mariadb.stop)
        dead = {"mq": [{"ip": "127.0.0.1", "port": free_port(), "vhost": "/"}]}
        scene.peers.pms.backup.append("platform-b")
        scene.peers.pms.configs["platform-b"] = dead
        process = scene.run()
        await process.serves()
        for moid, level in ((PLATFORM, 1), (USER, 0)):
            scene.peers.bmc.send_domain("add", moid, level=level, uplevelmoid=PLATFORM if moid == USER else "", used=1)
        stream = await self.stream(scene)
        await stream.answered(5)
        self.says(process, "broker of platform-b: Cannot connect to", "the database is not usable yet")
        await deferToThread(mariadb.start)
        await self.nothing_lost(scene, stream)
        self.says(process, "the database is there")


class InstanceOutageTests(OutageCase):
    async def test_an_instance_is_frozen_for_longer_than_its_leases(self) -> None:
        scene = await self.scene(PrivateGround(), mcu_timeout_seconds=6.0, sync_grace_seconds=7.0)
        first, second = scene.run(), scene.run(name="css-2")
        await first.serves()
        await second.serves()
        stream = await self.stream(scene)
        first.freeze()
        await pause(scaled(7.0, 70.0))
        await stream.answered(5)
        first.thaw()
        await stream.answered(40)
        await self.nothing_lost(scene, stream)
        self.assertTrue(first.running and second.running)

    async def test_a_lone_instance_is_frozen(self) -> None:
        scene = await self.scene(PrivateGround(), mcu_timeout_seconds=6.0, sync_grace_seconds=7.0)
        process = scene.run()
        stream = await self.stream(scene)
        process.freeze()
        await pause(7.0)
        process.thaw()
        await stream.answered(20)
        await self.nothing_lost(scene, stream)

    async def test_an_orderly_stop_in_the_stream(self) -> None:
        scene = await self.scene(PrivateGround())
        process = scene.run()
        stream = await self.stream(scene)
        for _ in range(2):
            await stream.answered(10)
            began = reactor.seconds()
            status = await process.stop()
            self.assertIn(status, (0, -signal.SIGTERM))
            self.assertLess(reactor.seconds() - began, STOP_SECONDS)
            self.says(process, "has stopped", "Main loop terminated")
            self.assertNotIn("Traceback", process.log())
            process = scene.run()
        await stream.answered(10)
        await self.nothing_lost(scene, stream)
