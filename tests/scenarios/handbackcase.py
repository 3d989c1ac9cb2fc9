"""Conferences of platform A that run on its backup B while A is normal: how they get there, and who does what then."""

from __future__ import annotations

from typing import Any

from css.peers.cmu_process import CmuProcess
from css.peers.rms import Resources
from tests.scenarios.pair import PAIR_HOSTS
from tests.scenarios.takeovercase import TakeoverCase


class HandbackCase(TakeoverCase):
    """A was lost, and is back."""

    async def handed_back(self, count: int, **more: int) -> list[str]:
        """A was lost, B has taken over, and A is normal again. @return: the numbers."""
        numbers = await self.start_with(count, **more)
        await self.lost("A")
        await self.run_on("B", numbers)
        await self.back("A")
        await self.eventually(lambda: self.running_on("A"), {})
        return numbers

    async def left_on_the_backup(self, e164: str, **more: Any) -> dict[str, str]:
        """One created on B while A was abnormal, which is sooner done. @return: its record, now that A is normal."""
        await self.begin()
        await self.lost("A")
        answer = await self.create_at("B", e164, **more)
        self.assertEqual((answer["type"], answer["platformmoid"]), ("MAU_CM_CREATECONF_ACK", "B"), answer)
        await self.back("A")
        return await self.record(e164)

    def home(self, e164: str) -> str:
        """The host of B that runs it."""
        (ip,) = self.running_on("B")[e164]
        return ip

    def process(self, e164: str) -> CmuProcess:
        """The process of B that runs it."""
        return self.hosts_of("B")[self.home(e164)].process_of(e164)

    def nothing_at_home(self) -> None:
        """A's RMS has no capacity: what is to be restored there waits."""
        self.peers("A").rms.refuse("", "FULL")

    def capacity_at_home(self) -> None:
        """It has some again."""
        self.peers("A").rms.answer("", Resources("A-room", PAIR_HOSTS["A"]))

    def speechless(self, moid: str) -> None:
        """A platform's MCUs do what they are asked, and say nothing: no ACK, no list, no heartbeat."""
        for host in self.hosts_of(moid).values():
            host.mood.lose_answers()
            host.mute()

    def speaking(self, moid: str) -> None:
        """They speak again, by their lists first."""
        for host in self.hosts_of(moid).values():
            host.mood.resume()
            host.unmute()
