"""A create that is refused before anything is begun: domain, platform, licence, number, schema (contract section 3)."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from css.handlers.startup import Phase
from tests.scenarios.case import E164, NAME, PLATFORM, USER, OnMemory, OnServers, Scenario, until, within
from tests.scenarios.ground import has_database


class DomainRefusals(Scenario):
    """Who may create is told by the directory of domains (seed 3)."""

    async def _refused_and_nothing_left(self, errcode: str, **more: Any) -> None:
        await self.refused(errcode, **more)
        self.assertEqual(self.site.peers.rms.requests(), 0)
        await self.nothing_left()

    async def test_an_unknown_domain(self) -> None:
        await self.begin()
        await self._refused_and_nothing_left("UNKNOWN_DOMAIN", moid="nobody")

    async def test_a_platform_domain(self) -> None:
        await self.begin()
        await self._refused_and_nothing_left("UNKNOWN_DOMAIN", moid=PLATFORM)

    async def test_a_service_domain(self) -> None:
        await self.begin()
        self.site.peers.bmc.send_domain("add", "s1", level=2, uplevelmoid=PLATFORM, used=1)
        await until(lambda: self.service.knows_domains("s1"))
        await self._refused_and_nothing_left("UNKNOWN_DOMAIN", moid="s1")

    async def test_a_domain_below_no_platform(self) -> None:
        await self.begin()
        self.site.peers.bmc.send_domain("add", "u9", level=0, uplevelmoid="lost", used=1)
        await until(lambda: self.service.knows_domains("u9"))
        await self._refused_and_nothing_left("UNKNOWN_DOMAIN", moid="u9")

    async def test_a_domain_that_is_stopped_while_css_runs(self) -> None:
        await self.begin()
        await self.created("1")
        await self._set_used(0)
        await self.refused("UNKNOWN_DOMAIN")
        self.assertEqual(await self.state_of("1"), "ongoing")
        await self.release("1")
        await self._set_used(1)
        await self.created()
        await self.release()
        await self.nothing_left()

    async def _set_used(self, used: int) -> None:
        fields = {"level": 0, "uplevelmoid": PLATFORM, "used": used}
        self.site.peers.bmc.send_domain("mod", USER, **fields)
        await self.eventually(self._used, str(used))

    async def _used(self) -> str:
        return (await self.key(f"domain/{USER}/info"))["used"]

    async def test_a_domain_that_is_deleted_while_css_runs(self) -> None:
        await self.begin()
        self.site.peers.bmc.send_domain("del", USER)
        await self.eventually(lambda: self.key(f"domain/{USER}/info"), {})
        await self._refused_and_nothing_left("UNKNOWN_DOMAIN")

    async def test_a_platform_that_is_not_served(self) -> None:
        await self.begin()
        bmc = self.site.peers.bmc
        bmc.send_domain("add", "B", level=1, used=1)
        bmc.send_domain("add", "u2", level=0, uplevelmoid="B", used=1)
        await until(lambda: self.service.knows_domains("B", "u2"))
        await self._refused_and_nothing_left("PLATFORM_NOT_SERVED", moid="u2")


class TwoInstanceDomainRefusals(DomainRefusals):
    """Each instance hears of every change, whichever took it."""

    instances = 2


class LicenceRefusals(Scenario):
    """Limits on conferences: per size, on the user domain and on its platform (seed 4.6)."""

    async def _limit(self, moid: str, **numbers: int) -> None:
        self.site.peers.bmc.update_licence(moid, numbers)
        await self.eventually(lambda: self._numbers(moid, *numbers), {name: str(n) for name, n in numbers.items()})

    async def _numbers(self, moid: str, *names: str) -> dict[str, str]:
        licence = await self.key(f"domain/{moid}/license")
        return {name: licence.get(name, "") for name in names}

    async def _fill(self, moid: str) -> None:
        """Three small ones and one large one fit below a limit of these numbers; what ends gives its place back."""
        await self._limit(moid, smallconfnum=3, largeconfnum=1)
        for number in ("1", "2", "3"):
            await self.created(number, maxjoinmt=8)
        await self.refused("LICENSE_LIMIT", "4")
        await self.created("5", maxjoinmt=9)
        await self.refused("LICENSE_LIMIT", "6", maxjoinmt=200)
        await self.release("2")
        await self.created("4", maxjoinmt=0)
        await self.refused("LICENSE_LIMIT", "2")
        await self.release("5")
        await self.created("6", maxjoinmt=200)
        for number in ("1", "3", "4", "6"):
            await self.release(number)
        await self.nothing_left()

    async def test_of_the_user_domain(self) -> None:
        await self.begin()
        await self._fill(USER)

    async def test_of_the_platform(self) -> None:
        await self.begin()
        await self._fill(PLATFORM)

    async def test_one_domains_limit_is_not_anothers(self) -> None:
        await self.begin()
        await self.stage.user_domain(PLATFORM, "u2")
        await self._limit(USER, smallconfnum=1)
        await self.created("1")
        await self.refused("LICENSE_LIMIT", "2")
        await self.created("2", moid="u2")
        for number in ("1", "2"):
            await self.release(number)
        await self.nothing_left()

    async def test_a_place_is_given_back_after_a_failure(self) -> None:
        await self.begin()
        await self._limit(PLATFORM, smallconfnum=1)
        self.site.peers.rms.refuse("", "NOTHING")
        for _ in range(3):
            await self.refused("RMS_NACK")
        await self.nothing_left()

    async def test_a_lowered_limit_ends_nothing(self) -> None:
        await self.begin()
        for number in ("1", "2"):
            await self.created(number)
        await self._limit(PLATFORM, smallconfnum=1)
        await self.refused("LICENSE_LIMIT", "3")
        await self.release("1")
        await self.refused("LICENSE_LIMIT", "3")
        self.assertEqual(await self.state_of("2"), "ongoing")
        await self.release("2")
        await self.created("3")

    async def test_a_limit_of_none(self) -> None:
        await self.begin()
        await self._limit(PLATFORM, smallconfnum=0)
        await self.refused("LICENSE_LIMIT")
        await self.created("2", maxjoinmt=9)

    async def test_a_platform_without_a_licence(self) -> None:
        del self.site.peers.bmc.licences[PLATFORM]
        self.stage.instance(PLATFORM, "css-1", **self.timers)
        await until(lambda: self.service.startup.phase is Phase.SERVING, what="it serves")
        await self.stage.user_domain(PLATFORM, USER)
        await self.refused("LICENSE_LIMIT")
        self.site.peers.bmc.licences[PLATFORM] = {}
        await self.stage.served(PLATFORM)
        await self.created()
        await self.release()
        await self.nothing_left()

    async def test_creates_at_once_do_not_exceed_it(self) -> None:
        await self.begin()
        await self._limit(PLATFORM, smallconfnum=7)
        waits = [self.cm.create(f"1{number:02}", NAME, USER) for number in range(30)]
        answers = [await within(answer) for answer in waits]
        codes = sorted(answer.get("errcode", "ACK") for answer in answers)
        self.assertEqual(codes, ["ACK"] * 7 + ["LICENSE_LIMIT"] * 23)


class OwnPlatformRefusals(Scenario):
    """The PMS says that the own platform is abnormal: all is refused, and service begins when it is normal."""

    async def _begin_abnormal(self) -> None:
        self.site.peers.pms.set_state(PLATFORM, "abnormal")
        service = self.stage.instance(PLATFORM, "css-1", **self.timers)
        await until(lambda: service.startup.phase is Phase.ABNORMAL, what="it has heard of that")
        await self.refused("PLATFORM_ABNORMAL")
        await until(lambda: has_database(service), what="its tables are there, though nothing is served")

    async def test_abnormal_at_the_start(self) -> None:
        await self._begin_abnormal()
        answer = await within(self.cm.release(E164, mtreqid="1"))
        self.assertEqual((answer["type"], answer["errcode"]), ("MAU_CM_RELEASECONF_NACK", "PLATFORM_ABNORMAL"))
        self.assertEqual(self.site.peers.rms.requests(), 0)
        await self.nothing_left()
        self.site.peers.pms.broadcast_platform(PLATFORM, "normal")
        await self.stage.served(PLATFORM)
        await self.stage.user_domain(PLATFORM, USER)
        await self.created()
        await self.release()
        await self.nothing_left()

    async def test_abnormal_and_normal_again_without_a_broadcast(self) -> None:
        await self._begin_abnormal()
        self.site.peers.pms.set_state(PLATFORM, "normal")
        await self.stage.served(PLATFORM)
        await self.stage.user_domain(PLATFORM, USER)
        await self.created()

    async def test_abnormal_while_it_serves(self) -> None:
        await self.begin()
        self.site.peers.pms.broadcast_platform(PLATFORM, "abnormal")
        await until(lambda: self.service.platforms().own_abnormal)
        await self.refused("PLATFORM_ABNORMAL")
        self.site.peers.pms.broadcast_platform(PLATFORM, "normal")
        await until(lambda: not self.service.platforms().own_abnormal)
        await self.created()


class BadRequests(Scenario):
    """What fails its schema is parked unchanged, and a request gets its NACK all the same."""

    GOOD: ClassVar[dict[str, Any]] = {
        "type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER, "mtreqid": "m"
    }  # fmt: skip

    def _bad(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [
            {"confE164": ""}, {"confE164": "12a"}, {"confE164": "1" * 33}, {"confE164": "１２"}, {"confname": 1},
            {"confname": "x" * 257}, {"moid": ""}, {"moid": "a/b"}, {"duration": -1}, {"duration": "5"},
            {"duration": 1.5}, {"record": 2}, {"record": True}, {"conftype": 0}, {"conftype": 5}, {"priority": 10},
            {"maxjoinmt": -1}, {"legacy": "1"}, {"password": None}, {"mtreqid": "m" * 129}, {"mtreqid": [1]},
            {"confE164": 660175}, {"confE164": None}, {"duration": 2**60},
        ]  # fmt: skip
        missing = [{key: value for key, value in self.GOOD.items() if key != name} for name in ("confE164", "moid")]
        return [{**self.GOOD, **change} for change in changes] + missing

    async def test_each_is_parked_and_refused(self) -> None:
        await self.begin()
        bystander = await self.bystander("MAU.PARK.Q", "mine")
        bad = self._bad()
        for number, body in enumerate(bad):
            properties = {"reply_to": "mine", "correlation_id": str(number), "message_id": f"bad-{number}"}
            await bystander.to_cm_queue(body, **properties)
        parked, answers = bystander.got["MAU.PARK.Q"], bystander.got["mine"]
        await until(lambda: (len(parked), len(answers)) == (len(bad), len(bad)), what="all parked and answered")
        by_number = {int(answer.correlation_id): msgspec.json.decode(answer.body) for answer in answers}
        self.assertEqual(by_number, {number: _nack_of(body) for number, body in enumerate(bad)})
        self.assertEqual([each.body for each in parked], [msgspec.json.encode(body) for body in bad])
        self.assertEqual({each.headers["x-css-queue"] for each in parked}, {"MAU.CM.Q"})
        for each in parked:
            self.assertTrue(each.headers["x-css-reason"].startswith("bad_fields"), each.headers)
        self.assertEqual(self.tally("parked"), len(bad))
        await self.created()
        await self.release()
        await self.nothing_left()

    async def test_without_reply_to_the_refusal_is_a_notice(self) -> None:
        await self.begin()
        bystander = await self.bystander("MAU.PARK.Q")
        await bystander.to_cm_queue({**self.GOOD, "duration": -1, "mtreqid": 5})
        await until(lambda: self.cm.notices("MAU_CM_CREATECONF_NACK"), what="the NACK")
        (notice,) = self.cm.notices("MAU_CM_CREATECONF_NACK")
        self.assertEqual(notice.fields, _nack_of({**self.GOOD, "mtreqid": "5"}))

    async def test_a_bad_release(self) -> None:
        await self.begin()
        bystander = await self.bystander("MAU.PARK.Q", "mine")
        await bystander.to_cm_queue(
            {"type": "CM_MAU_RELEASECONF_REQ", "confE164": "x", "mtreqid": "7"}, reply_to="mine"
        )
        await until(lambda: bystander.got["mine"] and bystander.got["MAU.PARK.Q"], what="parked and answered")
        wanted = {"type": "MAU_CM_RELEASECONF_NACK", "confE164": "x", "mtreqid": "7", "errcode": "BAD_REQUEST"}
        self.assertEqual(msgspec.json.decode(bystander.got["mine"][0].body), wanted)

    async def test_a_bad_request_is_bad_before_all_else(self) -> None:
        await self.begin()
        await self.created()
        bystander = await self.bystander("MAU.PARK.Q", "mine")
        await bystander.to_cm_queue({**self.GOOD, "moid": "nobody", "record": 7}, reply_to="mine")
        await until(lambda: bystander.got["mine"], what="the NACK")
        self.assertIn(b"BAD_REQUEST", bystander.got["mine"][0].body)


def _nack_of(body: dict[str, Any]) -> dict[str, Any]:
    """The NACK of a bad create: what can be told of it, where it was a string."""
    told = {name: body[name] for name in ("confE164", "mtreqid") if isinstance(body.get(name), str)}
    return {"type": "MAU_CM_CREATECONF_NACK", **told, "errcode": "BAD_REQUEST"}


class DomainRefusalsOnMemory(DomainRefusals, OnMemory):
    """All of it in this process."""


class DomainRefusalsOnServers(TwoInstanceDomainRefusals, OnServers):
    """All of it on real servers, with two instances."""


class LicenceRefusalsOnMemory(LicenceRefusals, OnMemory):
    """All of it in this process."""


class LicenceRefusalsOnServers(LicenceRefusals, OnServers):
    """All of it on real servers."""


class OwnPlatformRefusalsOnMemory(OwnPlatformRefusals, OnMemory):
    """All of it in this process."""


class OwnPlatformRefusalsOnServers(OwnPlatformRefusals, OnServers):
    """All of it on real servers."""


class BadRequestsOnMemory(BadRequests, OnMemory):
    """All of it in this process."""


class BadRequestsOnServers(BadRequests, OnServers):
    """All of it on real servers."""
