"""Licences from the BMC to media and access servers, and their end (seed 4.3 to 4.6)."""

from __future__ import annotations

import json
import time
from typing import Any

from cryptography.fernet import Fernet

from css.handlers.startup import Phase
from tests.scenarios.case import PLATFORM, USER, OnMemory, OnServers, Scenario, within
from tests.scenarios.ground import KEY, Site

MAIN = "B"
OWN_NUMBERS = {"smallconfnum": 9, "largeconfnum": 1, "softwarenumlimit": 100, "monitornumlimit": 4}
MAIN_NUMBERS = {"smallconfnum": 3, "softwarenumlimit": 50, "currentcallnumlimit": 6}
TOGETHER = {**OWN_NUMBERS, "softwarenumlimit": 150, "currentcallnumlimit": 6}


class LicenceCases(Scenario):
    """Platform A backs up B."""

    hosts = ("10.0.0.1",)

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.site: Site = await self.stage.platform("A2", ["10.0.9.1"], main=(PLATFORM,))
        self.bmc = self.site.peers.bmc
        self.bmc.licences = {"A2": OWN_NUMBERS, PLATFORM: MAIN_NUMBERS}

    async def _numbers(self) -> dict[str, Any]:
        """What a media server gets to know when it asks."""
        answer: dict[str, Any] = await within(self.site.peers.ms.ask("A2"))
        self.assertEqual(json.loads(Fernet(KEY).decrypt(answer["license"].encode())), _limits(answer))
        return answer

    async def test_4_3_from_the_bmc_to_media_servers(self) -> None:
        """4.3: asked of the BMC, stored in each platform's Redis, summed, told; 4.5: given on request."""
        self.bmc.silent()
        css = self.stage.instance("A2", "css-1", **self.timers)
        await self.eventually(lambda: css.startup.phase, Phase.SERVING)
        asked_early = self.site.peers.ms.ask("A2")
        await self.eventually(lambda: css.work.tally["licence_requests_waiting"] > 0, True)
        self.assertFalse(asked_early.called)
        self.bmc.resume()
        await self.stage.served("A2")
        self.assertIn((await within(asked_early))["softwarenumlimit"], (100, 150), "that of B may come later")
        answer = await self._numbers()
        self.assertEqual(_limits(answer), TOGETHER)
        platforms = [{"moid": "A2", **OWN_NUMBERS}, {"moid": PLATFORM, **MAIN_NUMBERS}]
        self.assertEqual(answer["platforms"], platforms)
        await self.eventually(lambda: _limits(self._last_notice()), TOGETHER)
        stored = await self.key(f"domain/{PLATFORM}/license")
        self.assertEqual({name: stored[name] for name in MAIN_NUMBERS}, {k: str(v) for k, v in MAIN_NUMBERS.items()})

    async def test_4_4_updates(self) -> None:
        """4.4: stored where it belongs, told at once; what does not verify changes nothing."""
        css = self.stage.instance("A2", "css-1", **self.timers)
        await self.stage.served("A2")
        self.bmc.update_licence(PLATFORM, {"softwarenumlimit": 1})
        await self.eventually(lambda: self._last_notice().get("softwarenumlimit"), 101)
        # On a slow machine CSS asks once more before it has the answer: that has been told, too.
        await self.eventually(lambda: css.work.tally["licences_stored"] - self.bmc.inbox.count("GET_LICENSE_REQ"), 1)
        await self.eventually(lambda: css.work.in_flight, 0)
        told = len(self.site.peers.ms.notices())
        forged = self.bmc.token({"softwarenumlimit": 9999}, Fernet.generate_key())
        self.bmc.send_token("A2", forged)
        await self.eventually(lambda: self.site.instances[0].work.tally["licences_refused"], 1)
        self.assertEqual((await self._numbers())["softwarenumlimit"], 101)
        self.assertEqual(len(self.site.peers.ms.notices()), told)

    async def test_4_4_keys_are_rotated(self) -> None:
        """4.4: while the BMC and the instances change to another key both are good; then only the new one is."""
        old, new = KEY, Fernet.generate_key()
        self.stage.keys = [old]
        first = self.stage.instance("A2", "css-1", **self.timers)
        await self.stage.served("A2")
        self._send({"softwarenumlimit": 1}, new)
        await self.eventually(lambda: first.work.tally["licences_refused"], 1)
        self.stage.keys = [new, old]
        self.stage.instance("A2", "css-2", **self.timers)
        await self.stage.served("A2")
        await self._leave_only("css-2")
        self.assertEqual((await self._known_under(new))["softwarenumlimit"], 150, "the last good one")
        for number, key in ((2, new), (3, old), (4, new)):
            self._send({"softwarenumlimit": number}, key)
            await self.eventually(lambda: self._last_notice().get("softwarenumlimit"), 50 + number)
        self.stage.keys = [new]
        last = self.stage.instance("A2", "css-3", **self.timers)
        self.bmc.key = new
        await self.stage.served("A2")
        await self._leave_only("css-3")
        self._send({"softwarenumlimit": 9}, old)
        await self.eventually(lambda: last.work.tally["licences_refused"], 1)
        self.assertEqual((await self._known_under(new))["softwarenumlimit"], 150)

    def _send(self, numbers: dict[str, Any], key: bytes) -> None:
        self.bmc.send_token("A2", self.bmc.token(numbers, key))

    async def _known_under(self, key: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = await within(self.site.peers.ms.ask("A2"))
        self.assertEqual(json.loads(Fernet(key).decrypt(answer["license"].encode())), _limits(answer))
        return answer

    async def _leave_only(self, name: str) -> None:
        """Stop all instances but one."""
        for service in list(self.site.instances):
            if service.name != f"css {name}":
                self.site.instances.remove(service)
                await service.stopService()

    async def test_4_5_a_stranger_asks(self) -> None:
        """4.5: refused at once, whether a licence is known or not."""
        self.bmc.silent()
        css = self.stage.instance("A2", "css-1", **self.timers)
        await self.eventually(lambda: css.startup.phase, Phase.SERVING)
        refusal = {"type": "GET_LICENSE_NACK", "moid": "X", "errcode": "UNKNOWN_DOMAIN"}
        self.assertEqual(await within(self.site.peers.ms.ask_in_vain("X")), refusal)
        self.assertEqual(await within(self.site.peers.ms.ask_in_vain("X", with_reply_to=False)), refusal)

    async def test_4_5_one_starts_while_its_platform_is_abnormal(self) -> None:
        """2.3.1: licences and domains stay up: asked for, stored, told, and there at once when service resumes."""
        self.site.peers.pms.set_state("A2", "abnormal")
        css = self.stage.instance("A2", "css-1", **self.timers)
        await self.eventually(lambda: css.startup.phase, Phase.ABNORMAL)
        self.assertEqual(_limits(await within(self.site.peers.ms.ask("A2"))).keys() & TOGETHER.keys(), set(TOGETHER))
        await self.eventually(lambda: _limits(self._last_notice()), TOGETHER)
        self.bmc.send_domain("add", "A2", level=1, used=1)
        self.bmc.send_domain("add", "u2", level=0, uplevelmoid="A2", used=1)
        self.bmc.update_licence("A2", {"smallconfnum": 1, "softwarenumlimit": 7})
        await self.eventually(lambda: self._last_notice().get("softwarenumlimit"), 57)
        refused = await within(self.site.peers.cm.create("7", "异常", "u2"))
        self.assertEqual(refused["errcode"], "PLATFORM_ABNORMAL")
        self.site.peers.pms.set_state("A2", "normal")
        await self.eventually(lambda: css.startup.phase, Phase.SERVING)
        answers = [await within(self.site.peers.cm.create(e164, "正常", "u2")) for e164 in ("8", "9")]
        self.assertEqual([answer.get("errcode") for answer in answers], [None, "LICENSE_LIMIT"])

    def _last_notice(self) -> dict[str, Any]:
        notices = self.site.peers.ms.notices()
        return notices[-1] if notices else {}


class LoweredCases(Scenario):
    """A limit that falls below what runs."""

    async def test_4_6_a_lowered_limit_ends_nothing(self) -> None:
        """All goes on, also over the loss of an MCU; nothing new is taken until enough has ended."""
        await self.begin(restore_interval_seconds=0.2)
        numbers = [f"60{n}" for n in range(4)]
        for e164 in numbers:
            await self.created(e164)
        self.site.peers.bmc.update_licence(PLATFORM, {"smallconfnum": 2})
        self.site.peers.bmc.update_licence(USER, {"smallconfnum": 1})
        await self.eventually(lambda: self._limits_of(PLATFORM, USER), ["2", "1"])
        await self.refused("LICENSE_LIMIT", "610")
        host = next(host for host in self.site.peers.hosts.values() if numbers[0] in host.conferences)
        moved = set(host.conferences)
        process = host.process_of(numbers[0])
        await within(process.disconnect())
        await within(process.crash())
        for e164 in moved:
            await within(self.cm.wait_for_notice("MAU_CM_RESTORECONF_NTF", e164))
        running = sorted(e164 for host in self.site.peers.hosts.values() for e164 in host.conferences)
        self.assertEqual(running, numbers)
        self.assertEqual(self.cm.notices("MAU_CM_RELEASECONF_NTF"), [])
        for e164 in numbers:
            await self.refused("LICENSE_LIMIT", "610")
            await self.release(e164)
        await self.created("611")
        await self.refused("LICENSE_LIMIT", "612")
        await self.release("611")
        await self.nothing_left()

    async def _limits_of(self, *moids: str) -> list[str]:
        return [(await self.key(f"domain/{moid}/license")).get("smallconfnum", "") for moid in moids]


class ExpiryCases(Scenario):
    """A licence with an end."""

    async def test_4_6_an_expired_one_ends_nothing_and_begins_nothing(self) -> None:
        """What runs goes on, survives the loss of its MCU and can be released; nothing new is taken."""
        await self.begin(restore_interval_seconds=0.2, mcu_timeout_seconds=3.0, sync_grace_seconds=4.0)
        await self.created("1")
        self.site.peers.bmc.update_licence(PLATFORM, {"smallconfnum": 9, "expires": int(time.time()) + 3})
        await self.eventually(lambda: self._field("smallconfnum"), "9")
        await self.eventually(self._refuses, True)
        self.assertEqual(await self.state_of("1"), "ongoing")
        host = next(host for host in self.site.peers.hosts.values() if "1" in host.conferences)
        await host.crash()
        await self.eventually(lambda: self._runs_elsewhere(host), True)
        self.site.peers.bmc.update_licence(PLATFORM, {"smallconfnum": 9})
        await self.eventually(lambda: self._field("expires"), "")
        await self.created("9000")
        for number in ("1", "9000"):
            await self.release(number)
        await self.nothing_left()

    async def _refuses(self) -> bool:
        answer = await self.create("77")
        if answer["type"] == "MAU_CM_CREATECONF_ACK":
            await self.release("77")
        return bool(answer.get("errcode") == "LICENSE_LIMIT")

    async def _runs_elsewhere(self, old: Any) -> bool:
        others = [host for host in self.site.peers.hosts.values() if host is not old]
        return await self.state_of("1") == "ongoing" and any("1" in host.conferences for host in others)

    async def _field(self, name: str) -> str:
        return (await self.key(f"domain/{PLATFORM}/license")).get(name, "")


def _limits(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in ("type", "moid", "license", "platforms")}


class LicencesOnMemory(LicenceCases, OnMemory):
    """All of it in this process."""


class LicencesOnServers(LicenceCases, OnServers):
    """All of it on real servers."""


class LoweredOnMemory(LoweredCases, OnMemory):
    """All of it in this process."""


class LoweredOnServers(LoweredCases, OnServers):
    """All of it on real servers."""


class ExpiryOnMemory(ExpiryCases, OnMemory):
    """All of it in this process."""


class ExpiryOnServers(ExpiryCases, OnServers):
    """All of it on real servers."""
