"""When service discovery is asked, and what becomes of its answers."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from css.adapters.memory.running import MemoryRunning
from css.adapters.memory.server import MemoryServer
from css.messages.pms import RedisAddress
from css.npp.sources import CONNECT_SECONDS, LOOK_REST, LOST_SECONDS, REFRESH_SECONDS, UNKNOWN_SECONDS
from css.ports.running import IRunningConferences
from css.ports.store import StoreError
from tests.npp.world import MemoryLink, NppCase


class Asked(NppCase):
    """As often as need be, no more."""

    def test_at_start_and_then_rarely(self) -> None:
        """All is well: every half minute."""
        self.sources.start()
        self.assertEqual(self.asked, 1)
        self.pass_seconds(REFRESH_SECONDS - 1)
        self.assertEqual(self.asked, 1)
        self.pass_seconds(3)
        self.assertEqual(self.asked, 2)
        self.stop()

    def test_until_it_answers(self) -> None:
        """Often; one question at a time."""
        self.error = "no"
        self.sources.start()
        self.pass_seconds(10 * LOST_SECONDS)
        self.assertEqual(self.asked, 11)
        self.pending = Deferred()
        self.pass_seconds(20)
        self.assertEqual(self.asked, 12)
        self.pending.callback(None)
        self.stop()

    def test_at_once_when_a_redis_is_lost(self) -> None:
        """And as long as it is."""
        self.sources.start()
        self.servers["10.0.0.2"].fail()
        self.assertEqual(self.asked, 2)
        self.pass_seconds(5 * LOST_SECONDS)
        self.assertEqual(self.asked, 7)
        self.servers["10.0.0.2"].recover()
        self.pass_seconds(REFRESH_SECONDS / 2)
        self.assertEqual(self.asked, 7)
        self.stop()

    def test_for_an_unknown_platform(self) -> None:
        """It may be new; but strangers can't make us ask all the time."""
        self.sources.start()
        self.pass_seconds(UNKNOWN_SECONDS)
        self.addresses.append(RedisAddress("10.0.0.3", 6379, 0, "C"))
        self.assertEqual(self.json("platformmoid=C")[0], 200)
        for _ in range(10):
            self.assertEqual(self.json("platformmoid=D")[0], 404)
        self.assertEqual(self.asked, 2)
        self.stop()

    def test_two_readers_one_question(self) -> None:
        """The second joins the first."""
        self.pending = Deferred()
        self.sources.start()
        self.pass_seconds(UNKNOWN_SECONDS)
        waiting = [self.begin("platformmoid=A") for _ in range(2)]
        self.pending.callback(None)
        self.http.flush()
        self.assertEqual([self.successResultOf(each).code for each in waiting], [200, 200])
        self.assertEqual(self.asked, 1)
        self.stop()


class Answered(NppCase):
    """Links follow what it says."""

    def test_moved(self) -> None:
        """A lost Redis that has another address now: connected there, the old link closed."""
        self.sources.start()
        self.fill("7", ip="10.0.0.3")
        self.addresses[0] = RedisAddress("10.0.0.3", 6379, 0, "A")
        self.servers["10.0.0.1"].fail()
        self.assertEqual([link.stopped for _, link in self.links], [True, False, False])
        self.assertEqual([each["confE164"] for each in self.json("platformmoid=A")[1]["conferences"]], ["7"])
        self.stop()
        self.assertEqual([link.stopped for _, link in self.links], [True, True, True])

    def test_gone(self) -> None:
        """A platform that is not named any more is unknown."""
        self.sources.start()
        del self.addresses[1]
        self.pass_seconds(REFRESH_SECONDS + LOST_SECONDS)
        self.assertEqual(self.json("platformmoid=B")[0], 404)
        self.assertEqual([link.stopped for _, link in self.links], [False, True])
        self.stop()

    def test_an_error_is_no_empty_list(self) -> None:
        """What was known stays."""
        self.sources.start()
        self.error = "no"
        self.pass_seconds(2 * REFRESH_SECONDS)
        self.assertEqual(self.json("platformmoid=A")[0], 200)
        self.assertEqual(self.json("platformmoid=C")[0], 404)
        self.stop()


class Connecting(NppCase):
    """A service that has only just started is not yet without its Redis."""

    def test_a_new_link_is_waited_for(self) -> None:
        """Whoever asks before it is there."""
        self.servers["10.0.0.1"].fail()
        self.sources.start()
        waiting = self.begin("platformmoid=A")
        self.pass_seconds(1)
        self.assertNoResult(waiting)
        self.servers["10.0.0.1"].recover()
        self.pass_seconds(0.25)
        self.assertEqual(self.successResultOf(waiting).code, 200)
        self.stop()

    def test_not_for_long(self) -> None:
        """And never again for one that was up, or that did not come."""
        self.servers["10.0.0.1"].fail()
        self.sources.start()
        waiting = self.begin("platformmoid=A")
        self.pass_seconds(CONNECT_SECONDS + 0.5)
        self.assertEqual(self.successResultOf(waiting).code, 503)
        self.assertEqual(self.json("platformmoid=A")[0], 503)
        self.servers["10.0.0.2"].fail()
        self.assertEqual(self.json("platformmoid=B")[0], 503)
        self.stop()


class SlowRunning(MemoryRunning):
    """Needs some seconds to look through its records.

    @ivar looks: how often it has done so.
    """

    def __init__(self, clock: Clock, server: MemoryServer, platform: str) -> None:
        super().__init__(server, platform)
        self._clock = clock
        self.seconds = 0.0
        self.looks = 0

    async def prepare(self) -> None:
        if self.seconds:
            await deferLater(self._clock, self.seconds)
        await super().prepare()
        self.looks += 1


class Prepared(NppCase):
    """The index is made before the first page, and what it lacks is looked for again at the beginning of each walk."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = SlowRunning(self.clock, self.servers["10.0.0.1"], "A")

    def connect(self, address: RedisAddress) -> tuple[MemoryLink, IRunningConferences]:
        link, running = super().connect(address)
        return link, self.slow if address.ip == "10.0.0.1" else running

    def walk(self) -> list[str]:
        """The numbers on the first page."""
        return [each["confE164"] for each in self.json("platformmoid=A")[1]["conferences"]]

    def test_before_the_first_page(self) -> None:
        """Records that the index does not know are found, whoever wrote them."""
        self.slow.seconds = 3
        self.sources.start()
        self.fill("1", "2", indexed=False)
        waiting = self.begin("platformmoid=A")
        self.assertNoResult(waiting)
        self.pass_seconds(3)
        self.assertEqual(self.successResultOf(waiting).code, 200)
        self.assertEqual(self.walk(), ["1", "2"])
        self.stop()

    def test_again_where_it_is_quick(self) -> None:
        """A walk finds what was written before it began; only its first page looks."""
        self.sources.start()
        self.assertEqual(self.walk(), [])
        self.fill("1", "2", indexed=False)
        self.assertEqual(self.walk(), ["1", "2"])
        looks = self.slow.looks
        self.assertEqual(self.json("platformmoid=A&cursor=after-1")[0], 200)
        self.assertEqual(self.slow.looks, looks)
        self.stop()

    def test_again_where_it_takes_long(self) -> None:
        """Nobody waits for it, and it is done for a small part of the time only."""
        self.slow.seconds = 2
        self.sources.start()
        waiting = self.begin("platformmoid=A")
        self.pass_seconds(2)
        self.assertEqual(self.successResultOf(waiting).code, 200)
        self.fill("1", indexed=False)
        self.assertEqual(self.walk(), [])
        self.pass_seconds(2 * LOOK_REST - 1)
        self.assertEqual((self.walk(), self.slow.looks), ([], 1))
        self.pass_seconds(1)
        self.assertEqual(self.walk(), [])
        self.pass_seconds(2)
        self.assertEqual((self.walk(), self.slow.looks), (["1"], 2))
        self.stop()

    def test_a_look_that_fails(self) -> None:
        """A walk that waits for it is told; what the index knows stays."""
        self.sources.start()
        self.fill("1")
        self.assertEqual(self.walk(), ["1"])
        broken = self.patch(self.slow, "prepare", self._broken)
        self.assertEqual(self.json("platformmoid=A")[0], 503)
        self.assertEqual(len(self.json("platformmoid=A&cursor=after-0")[1]["conferences"]), 1)
        broken.restore()
        self.assertEqual(self.walk(), ["1"])
        self.stop()

    async def _broken(self) -> None:
        raise StoreError("a look that fails")

    def test_again_if_it_was_emptied(self) -> None:
        """What is lost and comes back may have lost the index, too."""
        self.sources.start()
        self.fill("1")
        self.json("platformmoid=A")
        server = self.servers["10.0.0.1"]
        server.fail()
        for key in server.keyspace.all_keys():
            server.keyspace.delete(key)
        server.recover()
        self.fill("2", indexed=False)
        self.assertEqual([each["confE164"] for each in self.json("platformmoid=A")[1]["conferences"]], ["2"])
        self.stop()

    def test_readers_wait_for_it_together(self) -> None:
        """And are refused together when it can't be made."""
        self.sources.start()
        self.servers["10.0.0.1"].hang()
        waiting = [self.begin("platformmoid=A") for _ in range(3)]
        self.pass_seconds(3)
        self.assertEqual([self.successResultOf(each).code for each in waiting], [503] * 3)
        self.servers["10.0.0.1"].recover()
        self.assertEqual(self.json("platformmoid=A")[0], 200)
        self.stop()
