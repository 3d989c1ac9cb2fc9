"""Licences: asked for, verified, kept; a bad one is refused and the last good one stays (seed 4.2 to 4.4)."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet
from twisted.internet.defer import Deferred

from css.adapters.crypto.fernet import FernetCipher, NoCipher
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher
from css.handlers.licences import Licences
from css.ports.bus import Binding, Delivery, NotConnected, Queue, Topology, TryLater
from css.ports.licence import ILicenceCipher
from tests.handlers.site import SiteCase, create

OLD_KEY, KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
BMC = "BMC.REQ.Q"


class LicenceCase(SiteCase):
    """The family beside the others."""

    def setUp(self) -> None:
        super().setUp()
        self.site._peers.declare(Topology(queues=(Queue(BMC),), bindings=(Binding(BMC, *to.TO_BMC),)))
        self.site.clock.advance(0)
        self.changes: list[Delivery] = []
        self.use(FernetCipher([KEY, OLD_KEY]))

    async def note(self, delivery: Delivery) -> None:
        """What follows each licence of a platform."""
        self.changes.append(delivery)

    def use(self, cipher: ILicenceCipher, session: str = "s1") -> None:
        """Begin anew with a cipher."""
        site = self.site
        self.licences = Licences(
            "pA",
            lambda: site.platforms,
            site.stores,
            site.domains.platform_of,
            self.css.bus,
            cipher,
            self.css.tally,
            session,
            self.note,
            self.css.doubtful.keep_newest,
        )
        self.css.dispatcher = Dispatcher(
            self.css.bus, self.licences.routes, self.css.tally, self.css.liveness.notice, self.css.probe
        )

    def token(self, key: str = KEY, **numbers: int) -> str:
        """A licence as the BMC seals it."""
        return Fernet(key).encrypt(json.dumps(numbers).encode()).decode()

    def receive(self, token: str, moid: str = "pA", **delivery: Any) -> Deferred[None]:
        """The BMC sends a licence."""
        return self.css.begin({"type": "LICENSE_NTF", "moid": moid, "license": token}, to.BMC_QUEUE, **delivery)

    def stored(self, moid: str = "pA", platform: str = "pA") -> dict[str, str]:
        """`domain/<moid>/license` in a platform's Redis."""
        store = {"pA": self.site.store, "pB": self.site.other}[platform]
        fields: dict[str, str] = store.dump().get(f"domain/{moid}/license", {})
        return fields


class Received(LicenceCase):
    """What the BMC sends."""

    def test_stored(self) -> None:
        """Each platform's in its own Redis, each user domain's in its platform's."""
        token = self.token(smallconfnum=3, largeconfnum=0)
        self.successResultOf(self.receive(token))
        self.assertEqual(self.stored(), {"license": token, "smallconfnum": "3", "largeconfnum": "0"})
        self.successResultOf(self.receive(token, "pB"))
        self.assertEqual(self.stored("pB", "pB")["smallconfnum"], "3")
        self.successResultOf(self.receive(token, "uB"))
        self.assertEqual(self.stored("uB", "pB")["smallconfnum"], "3")
        self.assertEqual(self.css.tally["licences_stored"], 3)
        self.assertEqual(len(self.changes), 2, "that of a user domain is nobody else's affair")

    def test_its_end_is_kept(self) -> None:
        """Beside the numbers, for the limit check; a licence without an end has no such field."""
        self.successResultOf(self.receive(self.token(expires=1_900_000_000)))
        self.assertEqual(self.stored()["expires"], "1900000000")
        self.successResultOf(self.receive(self.token()))
        self.assertNotIn("expires", self.stored())

    def test_one_that_comes_again_may_be_old(self) -> None:
        """It is stored, and the BMC is asked for the newest; its answer ends that."""
        self.successResultOf(self.receive(self.token(smallconfnum=3)))
        self.successResultOf(self.receive(self.token(), "pB"))
        self.css.run(self.licences.ask())
        self.assertEqual(self.site.bodies(BMC), [])
        self.successResultOf(self.receive(self.token(smallconfnum=2), redelivered=True))
        self.css.run(self.licences.ask())
        self.assertEqual(self.site.bodies(BMC), [{"type": "GET_LICENSE_REQ", "moid": "pA"}])
        self.successResultOf(self.receive(self.token(smallconfnum=3)))
        self.css.run(self.licences.ask())
        self.assertEqual(len(self.site.bodies(BMC)), 1)

    def test_replaced(self) -> None:
        """A number that the next one lacks is no limit any more."""
        self.successResultOf(self.receive(self.token(smallconfnum=3)))
        token = self.token(largeconfnum=1)
        self.successResultOf(self.receive(token))
        self.assertEqual(self.stored(), {"license": token, "largeconfnum": "1"})

    def test_refused(self) -> None:
        """Another key, a changed token, no token, no licence in it, a negative number: the last good one stays."""
        good = self.token(smallconfnum=3)
        self.successResultOf(self.receive(good))
        bad = [
            self.token(key=Fernet.generate_key().decode(), smallconfnum=9),
            good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
            "x",
            "会",
            Fernet(KEY).encrypt(b"[1]").decode(),
            Fernet(KEY).encrypt(b"no json").decode(),
            self.token(smallconfnum=-1),
        ]
        for token in bad:
            self.successResultOf(self.receive(token))
            self.assertEqual(self.stored(), {"license": good, "smallconfnum": "3"})
        self.assertEqual(self.css.tally["licences_refused"], len(bad))
        self.assertEqual(len(self.changes), 1)

    def test_before_the_own_redis_is_known(self) -> None:
        """One that starts while its platform is abnormal takes licences before the PMS has told where to keep them."""
        stores = dict(self.site.stores)
        self.site.stores.clear()
        for moid in ("pA", "uA"):
            self.failureResultOf(self.receive(self.token(smallconfnum=3), moid), TryLater)
        self.site.stores.update(stores)
        for moid in ("pA", "uA"):
            self.successResultOf(self.receive(self.token(smallconfnum=3), moid, redelivered=True))
            self.assertEqual(self.stored(moid)["smallconfnum"], "3")

    def test_first_one_refused(self) -> None:
        """It is not known then, and is asked for again."""
        self.successResultOf(self.receive("x"))
        self.assertFalse(self.licences.complete)
        self.css.run(self.licences.ask())
        self.assertIn({"type": "GET_LICENSE_REQ", "moid": "pA"}, self.site.bodies(BMC))

    def test_two_keys(self) -> None:
        """While keys are changed both are good."""
        for key in (OLD_KEY, KEY):
            token = self.token(key=key, smallconfnum=1)
            self.successResultOf(self.receive(token))
            self.assertEqual(self.stored()["license"], token)

    def test_without_a_key(self) -> None:
        """Nothing is taken."""
        self.use(NoCipher())
        self.successResultOf(self.receive(self.token(smallconfnum=9)))
        self.assertEqual(self.stored(), {"license": "x"})

    def test_not_ours(self) -> None:
        """A platform that this one does not back up, and its user domains: ignored and counted."""
        for moid in ("pC", "uC", "nobody"):
            self.successResultOf(self.receive(self.token(), moid))
        self.assertEqual(self.css.tally["licences_ignored"], 3)

    def test_store_away(self) -> None:
        """Given back, not lost."""
        token = self.token(smallconfnum=3)
        self.site.store.fail()
        self.failureResultOf(self.receive(token), TryLater)
        self.site.store.recover()
        self.successResultOf(self.receive(token, redelivered=True))
        self.assertEqual(self.stored()["license"], token)

    def test_user_domains_of_a_store_away(self) -> None:
        """However many: they wait outside the queue, so that the own domains' changes come through. Of one domain the
        newest waits: what came before must not be stored after it."""
        self.site.declare(to.BMC_QUEUE)
        self.site.other.fail()
        tokens = [self.token(smallconfnum=number) for number in range(30)]
        for number, token in enumerate(tokens):
            self.successResultOf(self.receive(token, "uB", message_id=f"l-{number}"))
        self.site.pass_seconds(1)
        self.css.run(self.css.doubtful.tick())
        self.assertEqual(self.site.letters(to.BMC_QUEUE), [])
        self.back()
        (waited,) = self.site.letters(to.BMC_QUEUE)
        self.assertEqual(waited.message_id, "l-29")
        self.css.take(waited.body, to.BMC_QUEUE, message_id=waited.message_id)
        self.assertEqual(self.stored("uB", "pB")["license"], tokens[-1])

    def test_user_domains_while_nobody_is_there(self) -> None:
        """The BMC does not send them again: they outlast an hour in which no instance runs, and further waits."""
        self.site.declare(to.BMC_QUEUE)
        self.site.other.fail()
        self.successResultOf(self.receive(self.token(), "uB", message_id="l"))
        self.site.pass_seconds(3_600, 10)
        self.css.run(self.css.doubtful.tick())
        self.assertEqual(self.site.letters(to.BMC_QUEUE), [])
        self.back()
        self.assertEqual([each.message_id for each in self.site.letters(to.BMC_QUEUE)], ["l"])

    def back(self) -> None:
        """The other platform's Redis is there again, and one round is made."""
        self.site.other.recover()
        self.site.pass_seconds(1)
        self.css.run(self.css.doubtful.tick())

    def test_it_limits(self) -> None:
        """A create is counted against it."""
        self.successResultOf(self.receive(self.token(smallconfnum=0)))
        self.css.dispatcher = Dispatcher(
            self.css.bus, self.css.creating.routes, self.css.tally, self.css.liveness.notice, self.css.probe
        )
        self.css.take(create(), message_id="x", reply_to="cm.reply.q")
        self.assertEqual(self.errcodes(), ["LICENSE_LIMIT"])


class Asked(LicenceCase):
    """What CSS asks the BMC."""

    def test_until_known(self) -> None:
        """Of the own and every possible platform, each time with an id of its own; then no more."""
        self.css.run(self.site.store.write_hashes({"domain/pA/license": None}))
        self.css.run(self.site.other.write_hashes({"domain/pB/license": None}))
        for _ in range(2):
            self.css.run(self.licences.ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB"] * 2)
        letters = self.site.letters(BMC)
        self.assertEqual(len({letter.message_id for letter in letters}), 4)
        self.assertEqual({letter.reply_to for letter in letters}, {to.BMC_QUEUE})
        for moid in ("pA", "pB"):
            self.assertFalse(self.licences.complete)
            self.successResultOf(self.receive(self.token(), moid))
        self.assertTrue(self.licences.complete)
        self.css.run(self.licences.ask())
        self.assertEqual(len(self.site.bodies(BMC)), 4)

    def test_another_instance_got_the_answer(self) -> None:
        """It is in Redis, then: no more questions. What was there before the first question is asked for even so."""
        fields = {"domain/pA/license": {"license": self.token()}}
        self.css.run(self.site.store.write_hashes(dict(fields)))
        self.css.run(self.licences.ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB"])
        self.css.run(self.site.other.write_hashes({"domain/pB/license": {"license": self.token()}}))
        self.css.run(self.licences.ask())
        self.assertTrue(self.licences.complete)
        self.assertEqual(len(self.site.bodies(BMC)), 2)

    def test_a_redis_is_away(self) -> None:
        """The answer about its platform waits in the queue: no more questions, but about the others there are."""
        for store, moid in ((self.site.store, "pA"), (self.site.other, "pB")):
            self.css.run(store.write_hashes({f"domain/{moid}/license": None}))
        self.css.run(self.licences.ask())
        self.site.store.fail()
        self.css.run(self.licences.ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB", "pB"])
        self.site.store.recover()
        self.css.run(self.licences.ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB", "pB", "pA", "pB"])

    def test_all_again_once_the_own_platform_is_normal(self) -> None:
        """What the BMC changed meanwhile may have been missed: being stored does not count."""
        for moid in ("pA", "pB"):
            self.successResultOf(self.receive(self.token(), moid))
        self.licences.ask_again()
        self.css.run(self.licences.try_to_ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB"])

    def test_normal_again_while_the_broker_is_away(self) -> None:
        """All are asked for in the next round."""
        for moid in ("pA", "pB"):
            self.successResultOf(self.receive(self.token(), moid))
        self.site.broker.stop()
        self.licences.ask_again()
        self.css.run(self.licences.try_to_ask())
        self.site.broker.start()
        self.site.clock.pump([1.0] * 10)
        self.css.run(self.licences.ask())
        self.assertEqual([body["moid"] for body in self.site.bodies(BMC)], ["pA", "pB"])

    def test_other_run_other_ids(self) -> None:
        """The BMC must not take a question of another run for a repetition."""
        self.css.run(self.licences.ask())
        self.use(FernetCipher([KEY]), "s2")
        self.css.run(self.licences.ask())
        self.assertEqual(len({letter.message_id for letter in self.site.letters(BMC)}), 4)

    def test_broker_away(self) -> None:
        """Fails; the ticker tries again."""
        self.site.broker.stop()
        self.failureResultOf(Deferred.fromCoroutine(self.licences.ask()), NotConnected)
