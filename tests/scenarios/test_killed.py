"""kill -9, and what others are told over it: UPU, the BMC, network management (seed 7, 11, 12).

On memory in a simulated world, whose real service trees die at any instruction; as processes on real servers in the
soak, as an operator runs them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from css.handlers.startup import Phase
from css.peers.upu import UpuEntry
from css.ports.planned import CHANNEL, FAMILIES
from css.simulation.instances import Instance
from css.simulation.world import Shape, Site, World
from tests.scale import scaled
from tests.scenarios.case import NAME, pause, within
from tests.scenarios.days import HOSTS, USERS, prepare
from tests.scenarios.ground import ServerGround, reactor, until
from tests.scenarios.processes import PLATFORM, Scene

TRUE_WITHIN_SECONDS = 10
SETTLED_SECONDS = 120
STATUS_SECONDS = 20.0
PROBES = 14
"""Points of a release or create at which a process dies, one after the other."""

Table = dict[tuple[str, int], UpuEntry]


class KilledWorld(SynchronousTestCase):
    """A and B back each other up, two instances of each; nothing happens but what a test does."""

    timers: ClassVar[dict[str, float]] = {"status_interval_seconds": STATUS_SECONDS}

    def setUp(self) -> None:
        shape = Shape(
            platforms=("A", "B"), backs_up={"A": ("B",), "B": ("A",)}, licence={}, hosts=2, timers=self.timers
        )
        self.world = World(11, shape)
        self.world.faulty = False
        self.world.start()
        self.a, self.b = self.world.sites["A"], self.world.sites["B"]
        self.addCleanup(self.bury)
        self.planned: dict[str, tuple[str, str]] = {}
        self.running: list[str] = []
        every = self.world.instances()
        self.until(lambda: all(self.serves(each) and each.service.work.licences.complete for each in every), 60)

    def bury(self) -> None:
        """The world is over."""
        for instance in self.world.instances():
            instance.bury()

    def serves(self, instance: Instance) -> bool:
        """Whether an instance takes requests."""
        return instance.running and instance.service.startup.phase is Phase.SERVING

    def until(self, condition: Any, seconds: int = TRUE_WITHIN_SECONDS) -> None:
        """Let time pass until something holds, which must be so in time."""
        self.assertTrue(self.world.run_until(condition, seconds), self.world.violations or "not in time")

    def plan(self, kind: str, e164: str, name: str) -> None:
        """The CM writes a hash of A, none if the name is empty, and tells whoever listens."""
        server = self.a.redis.store.server
        server.keyspace.delete(f"{kind}/{e164}")
        self.planned.pop(e164, None)
        if name:
            server.keyspace.update_hash(f"{kind}/{e164}", {"confname": name, "moid": self.a.users["free"]})
            self.planned[e164] = (kind, name)
        server.channels.publish(CHANNEL, msgspec.json.encode({"op": "mod", "kind": kind, "e164": e164}))

    def create(self, e164: str) -> None:
        """A conference runs on A."""
        answer = self.asked(self.a.cms[0].create(e164, NAME, self.a.users["free"]))
        self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK", answer)
        self.running.append(e164)

    def asked(self, answer: Deferred[Any], seconds: int = SETTLED_SECONDS) -> Any:
        """What somebody gets for an answer, in time."""
        got: list[Any] = []
        _ = answer.addCallback(got.append)
        self.until(lambda: bool(got), seconds)
        return got[0]

    def truth(self) -> Table:
        """What the locator of A should know."""
        user = self.a.users["free"]
        planned = {(e164, 0): UpuEntry(name, FAMILIES[kind], user, "A") for e164, (kind, name) in self.planned.items()}
        return planned | {(e164, 1): UpuEntry(NAME, 1, user, "A") for e164 in self.running}

    def true(self, site: Site, table: Table) -> None:
        """A locator knows the truth within ten seconds, and for a minute."""
        self.until(lambda: site.upu.table() == table)
        self.world.run(60.0)
        self.assertEqual(site.upu.table(), table)

    def kill(self, site: Site) -> None:
        """kill -9 of every instance of a platform; each is started again after a second."""
        for instance in site.instances:
            instance.kill()

    def served(self, site: Site) -> bool:
        """Whether all instances of a platform serve."""
        return all(self.serves(each) for each in site.instances)


class Locator(KilledWorld):
    """Seed 7: UPU's table is the truth ten seconds after."""

    def setUp(self) -> None:
        super().setUp()
        for n, kind in enumerate(FAMILIES):
            self.plan(kind, f"0{n}", f"{kind} 会议")
        for e164 in ("0660", "0661"):
            self.create(e164)
        self.true(self.a, self.truth())

    def test_7_1_every_instance_is_killed(self) -> None:
        """What the CM planned while nobody lived is told, and nothing else."""
        before = len(self.a.upu.inbox.all())
        self.kill(self.a)
        self.plan("reserve", "07", "没人听见")
        self.plan("vroom", "02", "")
        self.plan("template", "01", "新的名字")
        self.until(lambda: self.served(self.a))
        self.true(self.a, self.truth())
        told = Counter(each.type for each in self.a.upu.inbox.all()[before:])
        self.assertEqual(told, {"UPU_ADD_CONF_REQ": 1, "UPU_DEL_CONF_REQ": 1, "UPU_MOD_CONF_REQ": 1})

    def test_7_1_killed_while_one_compares(self) -> None:
        """What it had begun for all is begun anew by another one, soon enough."""
        self.kill(self.a)
        self.plan("reserve", "07", "没人听见")
        keys = self.a.redis.store.server.keyspace
        begun = keys.string("css/turn/planned/A")
        for _ in range(20_000):
            self.world.run(0.001)
            if keys.string("css/turn/planned/A") != begun:
                break
        self.assertNotIn(b" 0 ", keys.string("css/turn/planned/A") or b"")
        self.kill(self.a)
        self.until(lambda: self.served(self.a))
        self.true(self.a, self.truth())

    def test_7_1_killed_with_changes_under_way(self) -> None:
        """Some have been heard of and not told, some told and not noted; ends and creates as well."""
        for n in range(20):
            self.plan("reserve", f"1{n:02}", f"预约 {n}")
            self.world.run(0.002)
        released = self.a.cms[0].release("0660")
        self.kill(self.a)
        self.assertEqual(self.asked(released)["type"], "MAU_CM_RELEASECONF_ACK")
        self.running.remove("0660")
        self.until(lambda: self.served(self.a))
        self.true(self.a, self.truth())

    def test_7_2_killed_after_it_was_cleared(self) -> None:
        """The platform is abnormal, UPU is cleared, everybody dies; it is normal before, or after, they live again."""
        for late in (False, True):
            for site in (self.a, self.b):
                site.hear("A", "abnormal")
            self.until(lambda: self.a.upu.table() == {})
            self.kill(self.a)
            if late:
                self.world.run(15.0)
                self.assertEqual(self.a.upu.table(), {})
            for site in (self.a, self.b):
                site.hear("A", "normal")
            self.plan("reserve", "08", f"改 {late}")
            self.until(lambda: self.served(self.a))
            self.until(lambda: self.planned_part(self.a) == self.planned_truth())
            self.until(lambda: self.running_part() == {("0660", 1), ("0661", 1)}, SETTLED_SECONDS)
            self.world.run(60.0)
            self.assertEqual(self.planned_part(self.a), self.planned_truth())
            self.assertEqual(self.planned_part(self.b), {})

    def planned_part(self, site: Site) -> Table:
        """What a locator knows of plans."""
        return {key: entry for key, entry in site.upu.table().items() if key[1] == 0}

    def planned_truth(self) -> Table:
        """What it should know."""
        return {key: entry for key, entry in self.truth().items() if key[1] == 0}

    def running_part(self) -> set[tuple[str, int]]:
        """What runs by either platform's locator: a conference that was taken over stays there until it ends."""
        return {key for site in (self.a, self.b) for key in site.upu.table() if key[1] == 1}


class Bills(KilledWorld):
    """Seed 12: one a conference that ran, whenever a process dies."""

    def test_12_one_bill_a_conference_over_kill_9(self) -> None:
        """The instance that ends it dies at each of its steps: its CM's release, its MCU's end notice."""
        for number in range(1, PROBES):
            e164 = f"07{number:02}"
            self.create(e164)
            for instance in self.a.instances:
                instance.kill_at_probe(number)
            if number % 2:
                self.asked(self.a.cms[0].release(e164))
            else:
                host = next(host for host in self.a.hosts.values() if e164 in host.conferences)
                host.process_of(e164).end(e164)
            self.until(lambda e164=e164: len(self.a.bmc.bills(e164)) == 1, SETTLED_SECONDS)
        deaths = sum(instance.lives - 1 for instance in self.a.instances)
        self.assertGreater(deaths, PROBES)
        self.world.run(60.0)
        self.assertEqual(Counter(bill.e164 for bill in self.a.bmc.bills()), Counter(self.running))
        reasons = {bill.fields["reason"] for bill in self.a.bmc.bills()}
        self.assertEqual((reasons, self.b.bmc.bills()), ({"released"}, []))

    def test_12_none_for_one_that_never_ran(self) -> None:
        """Killed at each step of a create that its MCUs refuse."""
        for host in self.a.hosts.values():
            host.mood.reject("MCU_FULL")
        for number in range(1, PROBES):
            for instance in self.a.instances:
                instance.kill_at_probe(number)
            answer = self.asked(self.a.cms[0].create(f"08{number:02}", NAME, self.a.users["free"]))
            self.assertIn("errcode", answer)
        self.world.run(60.0)
        self.assertEqual(self.a.bmc.bills(), [])

    def test_11_one_status_report_an_interval_over_kill_9(self) -> None:
        """One at each start, then one an interval; none is told twice."""
        self.world.run(STATUS_SECONDS / 2)
        for _ in range(3):
            self.kill(self.a)
            self.until(lambda: self.served(self.a), SETTLED_SECONDS)
            before = Counter(each.fields["instance"] for each in self.statuses())
            self.world.run(2 * STATUS_SECONDS)
            after = Counter(each.fields["instance"] for each in self.statuses())
            self.assertEqual(after - before, {instance.name: 2 for instance in self.a.instances})
        lives = {instance.name: instance.lives for instance in self.a.instances}
        self.assertEqual(lives, dict.fromkeys(lives, 4))
        self.assertEqual({each.fields["nu"] for each in self.statuses()}, {0})

    def statuses(self) -> list[Any]:
        """What network management got."""
        return self.a.nms.inbox.all("CSS_STATUS_NTF")


class KilledProcesses(TestCase):
    """Two processes of one platform, real RabbitMQ, Redis and MariaDB."""

    timeout = 300

    async def setUp(self) -> None:  # type: ignore[override]
        self.scene = Scene(ServerGround(), status_interval_seconds=600.0)
        await self.scene.open(HOSTS, USERS)
        prepare(self.scene)
        self.planner = self.scene.ground.planner(PLATFORM)
        self.running: list[str] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.scene.close()

    async def start(self) -> None:
        """Both serve."""
        for process in [self.scene.run(name=f"css-{n}") for n in (1, 2)]:
            await process.serves()
        await self.scene.ready(*USERS)

    async def kill(self) -> None:
        """kill -9 of both."""
        alive = [process for process in self.scene.processes if process.running]
        for process in alive:
            process.kill()
        for process in alive:
            await process.dies()

    def truth(self) -> Table:
        """What the locator should know."""
        planned = {
            (e164, 0): UpuEntry(each.confname, each.conftype, each.moid, PLATFORM)
            for e164, each in self.planner.planned().items()
        }
        return planned | {(e164, 1): UpuEntry(NAME, 1, "u-good", PLATFORM) for e164 in self.running}

    async def true(self) -> None:
        """The locator knows the truth within ten seconds."""
        upu = self.scene.peers.upu
        give_up_at = reactor.seconds() + TRUE_WITHIN_SECONDS
        while upu.table() != self.truth() and reactor.seconds() < give_up_at:
            await pause(0.05)
        self.assertEqual(upu.table(), self.truth())

    async def test_7_11_12_every_instance_is_killed(self) -> None:
        """UPU's table, bills and status reports, over one such death; three in the soak."""
        deaths = scaled(1, 3)
        cm, bmc, nms = self.scene.peers.cm, self.scene.peers.bmc, self.scene.peers.nms
        for n, kind in enumerate(FAMILIES):
            await self.planner.add(kind, f"0{n}", f"{kind} 会议", "u-good")
        await self.start()
        for n in range(2 * deaths):
            answer = await within(cm.create(f"70{n}", NAME, "u-good"))
            self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK", answer)
            self.running.append(f"70{n}")
        await self.true()
        for n in range(deaths):
            ended = [self.running.pop(), self.running.pop()]
            released = [cm.release(e164) for e164 in ended]
            await self.kill()
            await self.planner.add("reserve", f"1{n}", "没人听见", "u-good")
            await self.planner.modify("template", "01", f"新的名字 {n}")
            await self.start()
            for answer in released:
                self.assertEqual((await within(answer, 60))["type"], "MAU_CM_RELEASECONF_ACK")
            await self.true()
        await until(lambda: len(bmc.bills()) == 2 * deaths, 30, "all bills")
        self.assertEqual(Counter(bill.e164 for bill in bmc.bills()), {f"70{n}": 1 for n in range(2 * deaths)})
        reports = Counter(each.fields["instance"] for each in nms.inbox.all("CSS_STATUS_NTF"))
        self.assertEqual(reports, dict.fromkeys(("css-1", "css-2"), deaths + 1))
        self.assertEqual(self.scene.peers.faults(), [])
