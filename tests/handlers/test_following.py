"""A request that comes again is decided where it was handed the first time, and answered once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.domain.conference import Requester
from css.handlers import addresses as to
from css.handlers.trails import HandedOn, Trail, Trails
from css.ports.bus import TryLater
from css.ports.store import Commit, CommitResult, StoreError
from tests.handlers.controlcase import E164, PEER_CSS, ControlCase
from tests.handlers.site import CM_REPLIES, Instance, SiteCase, create, done, release


class HandedOver(ControlCase):
    """To the CSS of the platform where the conference ran then."""

    def setUp(self) -> None:
        super().setUp()
        self.move(platformmoid="pB")
        self.control()

    def ids_there(self) -> list[str]:
        """What the other platform has had, one after the other."""
        return [each.message_id for each in self.there(PEER_CSS)]

    def test_it_runs_here_meanwhile(self) -> None:
        """The other platform has it again, and repeats its answer; the MCU here has it not."""
        self.move(platformmoid="pA")
        self.control()
        self.assertEqual((self.ids_there(), self.passed(), self.answers()), (["control-1"] * 2, [], []))

    def test_it_has_ended_meanwhile(self) -> None:
        self.css.take(release(E164), message_id="r", reply_to="elsewhere")
        self.move(platformmoid="pA")
        self.css.take(release(E164), message_id="r2", reply_to="elsewhere")
        self.control()
        self.assertEqual((self.ids_there(), self.answers()), (["control-1", "r", "control-1"], []))

    def test_the_own_platform_is_abnormal(self) -> None:
        """Not refused: it has its answer from there. Another one is."""
        self.site.set_states(pA="abnormal")
        self.control()
        self.control(message_id="control-2")
        self.assertEqual((self.ids_there(), self.answers()), (["control-1"] * 2, [self.nack("PLATFORM_ABNORMAL")]))

    def test_no_link(self) -> None:
        """It got there: however long there is no link, nothing else is said."""
        self.site.other_broker.stop()
        self.control()
        self.site.pass_seconds(61)
        self.css.run(self.css.doubtful.tick())
        self.assertEqual((self.answers(), [key for key in self.left() if "doubtful" in key]), ([], []))

    def test_no_word_of_it(self) -> None:
        """The other broker has lost the queue of its CSS: refused, and once only."""
        self.site.other_broker.delete_queue(PEER_CSS)
        self.control(message_id="control-2")
        self.control(message_id="control-2")
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")] * 2)

    def test_a_release(self) -> None:
        """The same for what ends it."""
        self.css.take(release(E164), message_id="r", reply_to=CM_REPLIES)
        self.move(platformmoid="pA")
        self.css.take(release(E164), message_id="r", reply_to=CM_REPLIES)
        self.assertEqual((self.ids_there(), self.answers()), (["control-1", "r", "r"], []))
        self.assertEqual(self.site.record(E164)["state"], "ongoing")


class BegunInAnotherStore(SiteCase):
    """Of platform pB, which is served here. Its store decides."""

    def setUp(self) -> None:
        super().setUp()
        self.site.declare(to.CM_QUEUE)

    def again(self, css: Instance | None = None, **delivery: Any) -> Any:
        """A create of pB."""
        body = create("7", moid="uB")
        return (css or self.css).begin(body, message_id="create-7", reply_to=CM_REPLIES, **delivery)

    def begin_in_vain(self) -> None:
        """The link to pB's Redis is lost in the middle: nobody knows what became of the commit."""

        async def lose(commit: Commit) -> CommitResult:
            raise StoreError("the link was lost")

        lost = self.patch(self.site.other, "commit", lose)
        self.failureResultOf(self.again(), TryLater)
        lost.restore()

    def waiting(self) -> list[str]:
        """What has been put into the queue again."""
        return [each.message_id for each in self.site.broker.messages(to.CM_QUEUE)]

    def tick(self) -> None:
        """Look for what may go on."""
        self.site.pass_seconds(1)
        self.css.run(self.css.doubtful.tick())

    def test_it_waits_outside_the_queue(self) -> None:
        """However often it comes meanwhile; another one is refused."""
        self.begin_in_vain()
        self.site.other.fail()
        self.successResultOf(self.again(redelivered=True))
        self.successResultOf(self.again(Instance(self.site, slot=2)))
        self.tick()
        self.css.take(create("8", moid="uB"), message_id="another", reply_to=CM_REPLIES)
        self.assertEqual((self.errcodes(), self.waiting()), (["INTERNAL"], []))
        self.site.other.recover()
        self.tick()
        self.assertEqual(self.waiting(), ["create-7"])
        self.successResultOf(self.again())
        self.assertEqual(self.site.record("7", self.site.other)["state"], "creating")
        self.assertEqual([key for key in self.site.store.dump() if "doubtful" in key], [])

    def test_it_waits_once_more_before_that_is_noted(self) -> None:
        """It comes out of the queue, and the other store is away again, before what kept it has forgotten it."""
        self.begin_in_vain()
        self.site.other.fail()
        self.successResultOf(self.again(redelivered=True))
        self.site.other.recover()
        commit = self.site.store.commit

        async def slow(each: Commit) -> CommitResult:
            slowed.restore()
            self.site.other.fail()
            self.successResultOf(self.again(Instance(self.site, slot=2)))
            return await commit(each)

        slowed = self.patch(self.site.store, "commit", slow)
        self.tick()
        self.site.other.recover()
        self.tick()
        self.assertEqual(self.waiting(), ["create-7"] * 2)

    def test_known_by_its_mtreqid(self) -> None:
        """As from a CM that sets no properties of messages: it waits outside the queue, too."""
        asked = create("7", moid="uB", mtreqid="m")
        self.css.take(asked)
        self.site.other.fail()
        self.css.take(asked)
        self.tick()
        self.assertEqual(self.site.letters(to.CM_QUEUE), [])
        self.site.other.recover()
        self.tick()
        (waited,) = self.site.letters(to.CM_QUEUE)
        self.css.take(waited.body)
        self.assertEqual((self.errcodes(), self.css.tally["request_repeated"]), ([], 1))

    def test_nothing_tells_it_from_others(self) -> None:
        """But the broker's flag: it can't be put into the queue again, and stays there."""
        asked = create("7", moid="uB", mtreqid="")
        self.css.take(asked, redelivered=True)
        self.site.other.fail()
        self.failureResultOf(self.css.begin(asked, redelivered=True), TryLater)

    def test_the_own_platform_is_abnormal(self) -> None:
        """What may have been begun is not refused until the store that knows can be asked; and it remembers that."""
        self.begin_in_vain()
        self.site.other.fail()
        self.site.set_states(pA="abnormal")
        self.successResultOf(self.again(redelivered=True))
        self.assertEqual(self.answers(), [])
        self.site.other.recover()
        self.tick()
        self.assertEqual(self.waiting(), ["create-7"])
        self.successResultOf(self.again())
        self.site.set_states(pA="normal")
        self.successResultOf(self.again())
        self.assertEqual((self.errcodes(), self.site.record("7", self.site.other)), (["PLATFORM_ABNORMAL"] * 2, {}))

    def test_a_frozen_instance_goes_on(self) -> None:
        """It was about to begin the conference when another one refused: there is one answer, and no conference."""
        commit, other = self.site.other.commit, Instance(self.site, slot=2)

        async def late(each: Commit) -> CommitResult:
            frozen.restore()
            self.site.set_states(pA="normal", pB="normal")
            self.successResultOf(self.again(other, redelivered=True))
            return await commit(each)

        frozen = self.patch(self.site.other, "commit", late)
        self.successResultOf(self.again())
        self.assertEqual(self.errcodes(), ["PLATFORM_NOT_SERVED"] * 2)
        self.assertEqual(self.site.record("7", self.site.other), {})

    def test_the_store_never_comes_back(self) -> None:
        """After ten minutes it is a new request."""
        self.begin_in_vain()
        self.site.other.fail()
        self.successResultOf(self.again(redelivered=True))
        self.site.pass_seconds(545)
        self.tick()
        self.assertEqual(self.waiting(), ["create-7"])
        self.site.pass_seconds(60)
        self.successResultOf(self.again())
        self.assertEqual(self.errcodes(), ["INTERNAL"])


class TrailsTests(SiteCase):
    """What is remembered of a request that is handed on."""

    def setUp(self) -> None:
        super().setUp()
        self.trails = Trails("pA", self.site.stores, {})
        self.requester = Requester("m", CM_REPLIES, "c", "a" * 40)

    def leave(self, trail: Trail) -> None:
        """It is about to be handed on."""
        done(self.trails.leave(self.requester, trail))

    def known(self) -> Trail | None:
        """What is remembered."""
        found: Trail | None = done(self.trails.of(self.requester))
        return found

    def refuses(self, trail: Trail) -> None:
        """Demand that it is not handed on."""
        self.failureResultOf(Deferred.fromCoroutine(self.trails.leave(self.requester, trail)), HandedOn)

    def test_to_another_css(self) -> None:
        """Only to that one from then on."""
        self.assertIsNone(self.known())
        for _ in range(2):
            self.leave(Trail("pB", True))
        self.refuses(Trail("pC", True))
        self.refuses(Trail("pB"))
        self.assertEqual(self.known(), Trail("pB", True))
        done(self.trails.reached(self.requester, "pB"))
        self.assertEqual(self.known(), Trail("pB", True, True))

    def test_from_another_store(self) -> None:
        """That store knows nothing of it: it may go on."""
        for trail in (Trail("pB"), Trail("pB"), Trail("pC"), Trail("pC", True)):
            self.leave(trail)
            self.assertEqual(self.known(), trail)

    def test_answered_meanwhile(self) -> None:
        """It is not handed on."""
        self.css.take(release("1"), message_id="m1", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["CONF_NOT_FOUND"])
        (key,) = (each for each in self.site.store.dump() if each.startswith("css/req/"))
        self.requester = Requester("m", CM_REPLIES, "c", key.removeprefix("css/req/"))
        self.refuses(Trail("pB", True))

    def test_taken_back(self) -> None:
        """Unless it got there."""
        for reached in (False, True):
            self.leave(Trail("pB", True))
            if reached:
                done(self.trails.reached(self.requester, "pB"))
            done(self.trails.take_back(self.requester, Trail("pB", True)))
            self.assertEqual(self.known() is not None, reached)

    def test_the_store_is_away(self) -> None:
        self.site.store.fail()
        self.fails(self.trails.leave(self.requester, Trail("pB")))
