"""Planted bugs of what two platforms do for each other: takeover, handback, forwarding, locators."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from css.adapters.memory import commit as commits
from css.adapters.memory.keys import index_key
from css.adapters.memory.store import MemoryStore
from css.domain import machine, recovery, sync
from css.domain.conference import Situation, legacy_index
from css.domain.effects import ReportGone
from css.domain.events import PlatformLost
from css.domain.losses import AbnormalPlatform
from css.domain.platforms import Platforms
from css.handlers import effects, forwarding, requests, takeover
from css.handlers.following import Following
from css.handlers.locator import LocatorReports
from css.handlers.trails import Trails
from css.ports.bus import Delivery
from css.simulation.plant import Mutations, Plant


def _handback_voids(m: Mutations) -> None:
    """What runs on a backup is taken off it as soon as its own platform is normal."""
    m.set(Platforms, "lost", property(lambda self: tuple((source, p) for source in self.service for p in self.peers)))


def _legacy_taken_over(m: Mutations) -> None:
    async def take(self: Any, store: Any, platform: str) -> None:
        await real(self, store, platform)
        m.set(AbnormalPlatform, "index", property(lambda loss: legacy_index(loss.platform)))
        try:
            await real(self, store, platform)
        finally:
            AbnormalPlatform.index = live  # type: ignore[method-assign]

    live = inspect.getattr_static(AbnormalPlatform, "index")

    def leave(c: Any, event: Any, rules: Any) -> Any:
        return recovery._without_placement(c, event, "its platform is abnormal")

    real = m.set(takeover.Takeover, "_take", take)
    m.put(machine.TABLE, (Situation.ONGOING, PlatformLost), leave)


def _forwarded_twice(m: Mutations) -> None:
    """The second time under another name."""

    async def forward(self: Any, delivery: Delivery, *more: Any) -> Any:
        reached = await real(self, delivery, *more)
        if reached:
            await real(self, msgspec.structs.replace(delivery, message_id=f"{delivery.message_id}-again"), *more)
        return reached

    real = m.set(forwarding.Forwarding, "forward", forward)


def _answered_on_the_wrong_broker(m: Mutations) -> None:
    m.set(requests, "origin_of", lambda delivery: "")


def _lower_epoch_wins(m: Mutations) -> None:
    m.set(sync, "_wins", lambda c, event: event.epoch is not None and event.epoch < c.epoch)


def _epoch_kept_at_takeover(m: Mutations) -> None:
    def leave(c: Any, event: Any, rules: Any) -> Any:
        return real(c, msgspec.structs.replace(event, epoch=c.epoch), rules)

    real = m.put(machine.TABLE, (Situation.ONGOING, PlatformLost), leave)


def _both_restore(m: Mutations) -> None:
    """What a backup restores its own platform, which is normal again, restores as well: nobody's claim counts, and no
    record's version."""

    async def claim(self: Any, lease_ms: int, limit: int) -> list[str]:
        return list(self._keys.sorted_set(index_key(f"ready/{self.platform}")).scores)[:limit]

    m.set(MemoryStore, "claim_restores", claim)
    m.set(commits, "_is_expected", lambda record, expected: bool(record) == (expected is not None))


def _gone_not_reported(m: Mutations) -> None:
    m.put(effects._WRITERS, ReportGone, lambda sheet, effect: None)


async def _not_done(*_: object) -> None:
    """In the place of work."""


def _locator_not_filled(m: Mutations) -> None:
    m.set(LocatorReports, "_fill", _not_done)


async def _no_trail(*_: object) -> None:
    """Nothing is left, and nothing is found."""


def _trails_not_left(m: Mutations) -> None:
    """What was handed on is forgotten."""
    m.set(Trails, "leave", _no_trail)
    m.set(Trails, "of", _no_trail)


def _refused_though_begun(m: Mutations) -> None:
    """A platform that is abnormal refuses whatever is asked."""

    async def refuse(self: Any, e164: str, refusal: Any, delivery: Any) -> None:
        await self._answers.say(self._own, refusal.requester, refusal.certain, refusal.message)

    m.set(Following, "refuse", refuse)
    m.set(requests, "without_trail", lambda requester, certain: ())


def _refused_without_memory(m: Mutations) -> None:
    """A refusal goes out and is forgotten."""

    async def say(self: Any, platform: str, requester: Any, certain: bool, message: Any) -> None:
        kind, outgoing = self._answer_to(requester, certain, message)
        await self._deliver(kind, outgoing, platform, requester.origin)

    m.set(requests.Answers, "say", say)


_LOSSES = ("18", "20")

PLANTED_ABROAD: dict[str, Plant] = {
    "handback-voids": Plant(_handback_voids, _LOSSES, 2),
    "legacy-taken-over": Plant(_legacy_taken_over, _LOSSES, 2),
    "forwarded-twice": Plant(_forwarded_twice, _LOSSES, 2),
    "answered-on-the-wrong-broker": Plant(_answered_on_the_wrong_broker, _LOSSES, 2),
    "lower-epoch-wins": Plant(_lower_epoch_wins, ("20s", "18"), 2),
    "epoch-kept-at-takeover": Plant(_epoch_kept_at_takeover, ("20s", "18", "20"), 2),
    "both-restore": Plant(_both_restore, ("20s", "18", "20"), 2),
    "gone-not-reported": Plant(_gone_not_reported, (*_LOSSES, "17a", "19c"), 2),
    "locator-not-filled": Plant(_locator_not_filled, _LOSSES, 2),
    "trails-not-left": Plant(_trails_not_left, platforms=2),
    "refused-though-begun": Plant(_refused_though_begun, platforms=2),
    "refused-without-memory": Plant(_refused_without_memory, _LOSSES, 2),
}
