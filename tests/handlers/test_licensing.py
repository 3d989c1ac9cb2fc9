"""What MS and PAS are told: the own licence with everybody's resources, on request and after changes (seed 4.3-4.5)."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet
from twisted.internet.defer import Deferred

from css.adapters.crypto.fernet import FernetCipher, NoCipher
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher, merge
from css.handlers.licences import Licences
from css.handlers.licensing import LicenceUsers
from css.ports.bus import Binding, Queue, Topology, TryLater
from css.ports.licence import ILicenceCipher
from tests.handlers.site import SiteCase

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
USERS, REPLIES = "platform.license.q:ms", "ms.reply.q"
ALL_OF_A = {"smallconfnum": 20, "largeconfnum": 2, "softwarenumlimit": 100, "hardwarenumlimit": 7}
ALL_OF_B = {"smallconfnum": 5, "softwarenumlimit": 50, "mediaportnumlimit": 9}
TOGETHER = {**ALL_OF_A, "softwarenumlimit": 150, "mediaportnumlimit": 9}


class LicensingCase(SiteCase):
    """Both families of licences; no licence is known, and a media server listens."""

    def setUp(self) -> None:
        super().setUp()
        binding = Binding(USERS, *to.TO_LICENCE_USERS)
        self.site._peers.declare(Topology(queues=(Queue(USERS), Queue(REPLIES)), bindings=(binding,)))
        for store, moid in ((self.site.store, "pA"), (self.site.other, "pB")):
            self.css.run(store.write_hashes({f"domain/{moid}/license": None}))
        self.use(FernetCipher([KEY]))

    def use(self, cipher: ILicenceCipher) -> None:
        """Begin anew with a cipher."""
        site, css = self.site, self.css
        self.users = LicenceUsers(
            "pA", lambda: site.platforms, site.stores, cipher, css.clocks, css.outbox, css.post, css.tally, "s1"
        )
        licences = Licences(
            "pA",
            lambda: site.platforms,
            site.stores,
            site.domains.platform_of,
            css.bus,
            cipher,
            css.tally,
            "s1",
            self.users.changed,
            css.doubtful.keep_newest,
        )
        routes = merge(licences.routes, self.users.routes)
        css.dispatcher = Dispatcher(css.bus, routes, css.tally, css.liveness.notice, css.probe)

    def receive(self, moid: str, numbers: dict[str, Any], **delivery: Any) -> Deferred[None]:
        """The BMC sends a licence."""
        token = Fernet(KEY).encrypt(json.dumps(numbers).encode()).decode()
        return self.css.begin({"type": "LICENSE_NTF", "moid": moid, "license": token}, to.BMC_QUEUE, **delivery)

    def know(self) -> None:
        """Both platforms' licences are known, and what was told of that is gone."""
        self.css.take({"type": "LICENSE_NTF", "moid": "pB", "license": self.token(ALL_OF_B)}, to.BMC_QUEUE)
        self.css.take({"type": "LICENSE_NTF", "moid": "pA", "license": self.token(ALL_OF_A)}, to.BMC_QUEUE)

    def token(self, numbers: dict[str, Any], key: str = KEY) -> str:
        """A licence as the BMC seals it."""
        return Fernet(key).encrypt(json.dumps(numbers).encode()).decode()

    def ms_asks(self, moid: str = "pA", reply_to: str = REPLIES, **delivery: Any) -> Deferred[None]:
        """A media server asks."""
        request = {"type": "GET_LICENSE_REQ", "moid": moid}
        return self.css.begin(request, to.LICENCE_QUEUE, reply_to=reply_to, correlation_id="c-1", **delivery)

    def opened(self, message: dict[str, Any]) -> Any:
        """What is in the ciphertext of a message."""
        return json.loads(Fernet(KEY).decrypt(message["license"].encode()))


class Asked(LicensingCase):
    """`GET_LICENSE_REQ`."""

    def test_answered(self) -> None:
        """In the clear and sealed, with each platform's own numbers, own first."""
        self.know()
        self.successResultOf(self.ms_asks())
        (letter,), (answer,) = self.site.letters(REPLIES), self.site.bodies(REPLIES)
        self.assertEqual(letter.correlation_id, "c-1")
        sealed = self.opened(answer)
        platforms = [{"moid": "pA", **ALL_OF_A}, {"moid": "pB", **ALL_OF_B}]
        token = answer.pop("license")
        self.assertEqual(answer, {"type": "GET_LICENSE_ACK", "moid": "pA", "platforms": platforms, **TOGETHER})
        self.assertEqual(sealed, TOGETHER)
        self.assertNotIn(token, json.dumps(self.site.store.dump(), default=str))

    def test_of_a_possible_platform(self) -> None:
        """The licence that holds here is the own one."""
        self.know()
        self.successResultOf(self.ms_asks("pB"))
        self.assertEqual(self.site.bodies(REPLIES)[0]["moid"], "pA")

    def test_of_another_platform(self) -> None:
        """Refused at once, whether the own licence is known or not: nobody waits for what will never come."""
        refusal = {"type": "GET_LICENSE_NACK", "moid": "pC", "errcode": "UNKNOWN_DOMAIN"}
        self.successResultOf(self.ms_asks("pC"))
        (letter,) = self.site.letters(REPLIES)
        self.assertEqual((self.site.bodies(REPLIES), letter.correlation_id), ([refusal], "c-1"))
        self.know()
        before = len(self.site.bodies(USERS))
        self.successResultOf(self.ms_asks("pC", reply_to=""))
        self.assertEqual(self.site.bodies(USERS)[before:], [refusal])
        self.assertEqual(self.css.tally["licence_requests_refused"], 2)

    def test_without_a_platform(self) -> None:
        """Parked, and refused: to whoever asked, else to all media and access servers."""
        refusal = {"type": "GET_LICENSE_NACK", "errcode": "BAD_REQUEST"}
        for reply_to, queue in ((REPLIES, REPLIES), ("", USERS)):
            self.css.take({"type": "GET_LICENSE_REQ"}, to.LICENCE_QUEUE, reply_to=reply_to, correlation_id="c-1")
            (letter,) = self.site.letters(queue)
            self.assertEqual((self.site.bodies(queue), letter.correlation_id), ([refusal], "c-1"))
        self.assertEqual(self.css.tally["parked"], 2)

    def test_without_reply_to(self) -> None:
        """To all media and access servers, with the correlation id."""
        self.know()
        before = len(self.site.bodies(USERS))
        self.successResultOf(self.ms_asks(reply_to=""))
        answer, letter = self.site.bodies(USERS)[before], self.site.letters(USERS)[before]
        self.assertEqual((answer["type"], letter.correlation_id), ("GET_LICENSE_ACK", "c-1"))

    def test_before_the_own_licence_is_known(self) -> None:
        """The request waits in its queue, and is answered then; a possible platform's licence is not waited for."""
        self.failureResultOf(self.ms_asks(), TryLater)
        self.successResultOf(self.receive("pB", ALL_OF_B))
        self.failureResultOf(self.ms_asks(redelivered=True), TryLater)
        self.assertEqual(self.site.bodies(REPLIES), [])
        self.successResultOf(self.receive("pA", ALL_OF_A))
        self.successResultOf(self.ms_asks(redelivered=True))
        self.assertEqual(self.site.bodies(REPLIES)[0]["softwarenumlimit"], 150)

    def test_only_the_own_one_is_known(self) -> None:
        """The other platform is not listed: without numbers it would look unlimited."""
        self.successResultOf(self.receive("pA", ALL_OF_A))
        self.successResultOf(self.ms_asks())
        answer = self.site.bodies(REPLIES)[0]
        self.assertEqual([each["moid"] for each in answer["platforms"]], ["pA"])
        self.assertEqual(answer["softwarenumlimit"], 100)

    def test_the_same_request_again(self) -> None:
        """The answer has the same id."""
        self.know()
        for _ in range(2):
            self.successResultOf(self.ms_asks(message_id="m-1"))
        self.successResultOf(self.ms_asks(message_id="m-2"))
        ids = [letter.message_id for letter in self.site.letters(REPLIES)]
        self.assertEqual((ids[0] == ids[1], ids[0] == ids[2]), (True, False))

    def test_all_else_in_the_licence_is_kept(self) -> None:
        """Its end, and what this CSS does not know."""
        more = {"expires": 1_900_000_000, "customer": "某公司"}
        self.successResultOf(self.receive("pA", ALL_OF_A | more))
        self.successResultOf(self.ms_asks())
        self.assertEqual(self.opened(self.site.bodies(REPLIES)[0]), ALL_OF_A | more)

    def test_its_key_has_gone(self) -> None:
        """What it said when it was verified stands, sealed with the key that is there."""
        token = self.token({"expires": 1_900_000_000, **ALL_OF_A}, OTHER_KEY)
        self.use(FernetCipher([KEY, OTHER_KEY]))
        self.css.take({"type": "LICENSE_NTF", "moid": "pA", "license": token}, to.BMC_QUEUE)
        self.use(FernetCipher([KEY]))
        self.successResultOf(self.ms_asks())
        self.assertEqual(self.opened(self.site.bodies(REPLIES)[0]), {"expires": 1_900_000_000, **ALL_OF_A})

    def test_no_key_at_all(self) -> None:
        """In the clear only."""
        self.know()
        self.use(NoCipher())
        self.successResultOf(self.ms_asks())
        answer = self.site.bodies(REPLIES)[0]
        self.assertEqual((answer["license"], answer["softwarenumlimit"]), ("", 150))

    def test_own_platform_abnormal_and_its_redis_gone(self) -> None:
        """As this instance last read them; one that never did leaves the request where it is."""
        self.know()
        self.site.set_states(pA="abnormal", pB="normal")
        self.site.store.fail()
        self.site.other.fail()
        self.successResultOf(self.ms_asks())
        self.assertEqual(self.site.bodies(REPLIES)[0]["softwarenumlimit"], 150)
        self.use(FernetCipher([KEY]))
        self.failureResultOf(self.ms_asks(), TryLater)

    def test_another_platforms_redis_is_away(self) -> None:
        """It is not waited for."""
        self.know()
        self.use(FernetCipher([KEY]))
        self.site.other.fail()
        self.successResultOf(self.ms_asks())
        self.assertEqual(self.site.bodies(REPLIES)[0]["softwarenumlimit"], 100)

    def test_the_asker_has_gone(self) -> None:
        """Dropped and counted."""
        self.know()
        self.successResultOf(self.ms_asks(reply_to="nobody"))
        self.assertEqual(self.css.tally["unroutable_dropped"], 1)

    def test_broker_away(self) -> None:
        """Given back."""
        self.know()
        self.site.broker.stop()
        asked = self.ms_asks()
        self.site.pass_seconds(6)
        self.failureResultOf(asked, TryLater)


class Changed(LicensingCase):
    """`PLATFORM_LICENSE_NTF`."""

    def notices(self) -> list[dict[str, Any]]:
        """What media and access servers were told unasked."""
        return [body for body in self.site.bodies(USERS) if body["type"] == "PLATFORM_LICENSE_NTF"]

    def test_after_each_once_the_own_one_is_known(self) -> None:
        """Not before; then after own and possible ones, refused and user domains' ones left out."""
        self.successResultOf(self.receive("pB", ALL_OF_B))
        self.assertEqual(self.notices(), [])
        self.successResultOf(self.receive("pA", ALL_OF_A))
        self.successResultOf(self.receive("uA", {"smallconfnum": 1}))
        self.css.take({"type": "LICENSE_NTF", "moid": "pB", "license": "forged"}, to.BMC_QUEUE)
        self.successResultOf(self.receive("pB", {"softwarenumlimit": 1}))
        self.assertEqual([each["softwarenumlimit"] for each in self.notices()], [150, 101])
        for notice in self.notices():
            self.assertEqual(self.opened(notice)["softwarenumlimit"], notice["softwarenumlimit"])
        self.assertEqual([each["moid"] for each in self.notices()[0]["platforms"]], ["pA", "pB"])
        self.assertEqual(self.notices()[1]["platforms"][1], {"moid": "pB", "softwarenumlimit": 1})

    def test_the_same_one_twice(self) -> None:
        """Told twice; but one delivery that comes again has the same id."""
        notice = {"type": "LICENSE_NTF", "moid": "pA", "license": self.token(ALL_OF_A)}
        for identity in ("m-1", "m-1", "m-2"):
            self.css.take(notice, to.BMC_QUEUE, message_id=identity)
        ids = [letter.message_id for letter in self.site.letters(USERS)]
        self.assertEqual((len(ids), ids[0] == ids[1], ids[1] == ids[2]), (3, True, False))

    def test_changed_while_it_was_being_told(self) -> None:
        """Another instance has stored one meanwhile: the last word is the newest."""
        newest = {"license": "x", "softwarenumlimit": "7"}
        told: list[dict[str, Any]] = []
        carry_out = self.css.outbox.carry_out

        async def slow(*arguments: Any) -> None:
            if not told:
                told.append(newest)
                await self.site.other.write_hashes({"domain/pB/license": newest})
            await carry_out(*arguments)

        self.css.outbox.carry_out = slow  # type: ignore[method-assign,assignment]
        self.successResultOf(self.receive("pA", ALL_OF_A))
        self.assertEqual([each["softwarenumlimit"] for each in self.notices()], [100, 107])

    def test_nobody_listens(self) -> None:
        """Kept and tried again: a server that begins to listen within a minute is told."""
        self.site.broker.delete_queue(USERS)
        self.successResultOf(self.receive("pA", ALL_OF_A))
        self.css.tick()
        self.assertEqual([key.partition("?")[0] for key in self.site.outbox()], ["to/platform.license.ex/licence"])
        binding = Binding(USERS, *to.TO_LICENCE_USERS)
        self.site._peers.declare(Topology(queues=(Queue(USERS),), bindings=(binding,)))
        self.site.pass_seconds(11)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual([each["softwarenumlimit"] for each in self.notices()], [100])
        self.assertEqual(self.site.outbox(), {})

    def test_broker_away(self) -> None:
        """The outbox has it: it is told once, when the broker is back."""
        self.site.broker.stop()
        received = self.receive("pA", ALL_OF_A)
        self.site.pass_seconds(6)
        self.successResultOf(received)
        self.assertEqual(len(self.site.outbox()), 1)
        self.site.broker.start()
        self.site.pass_seconds(15)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual([each["softwarenumlimit"] for each in self.notices()], [100])
        self.assertEqual(self.site.outbox(), {})

    def test_by_a_clock_that_is_wrong(self) -> None:
        """By an instance that was started while its platform is abnormal, an hour ahead: due as soon all the same."""
        self.an_hour_ahead()
        self.test_broker_away()
