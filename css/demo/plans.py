"""Dry runs on demand: what would happen, on the stores as they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from css.ctl import plan as plans
from css.ctl import planview
from css.ctl.control import NotFound
from css.ctl.plan import Plan
from css.demo.layout import PLATFORMS
from css.demo.screen import Screen
from css.demo.trouble import platform_named
from css.demo.world import World
from css.handlers.tracker import Tracker
from css.ports.store import StoreError

ARGUMENTS = "mcu-down IP [PID] | room-down ROOM | takeover A|B | handback A|B"


class Plans:
    """Makes the plans, on the platform that would act.

    @param tracker: waits for what it begins.
    """

    def __init__(self, world: World, screen: Screen, tracker: Tracker) -> None:
        self._world = world
        self._screen = screen
        self._tracker = tracker

    def plan(self, text: str) -> None:
        """Print one. @raise ValueError: with words for the user, if that can't be planned."""
        kind, _, subject = text.partition(" ")
        makers = {
            "mcu-down": self._mcu,
            "room-down": self._room,
            "takeover": self._platform,
            "handback": self._platform,
        }
        if kind not in makers or not subject.strip():
            raise ValueError(f"give what is to happen: {ARGUMENTS}")
        work = makers[kind](kind, subject.split())
        self._tracker.run(self._show(work), "a plan")

    async def _show(self, work: Callable[[], Awaitable[Plan]]) -> None:
        try:
            self._screen.say(planview.text(await work()))
        except (NotFound, StoreError) as error:
            self._screen.warn(f"plan: {error}")

    def _mcu(self, kind: str, words: list[str]) -> Callable[[], Awaitable[Plan]]:
        scene = self._world.scene(next((each.moid for each in PLATFORMS if words[0] in each.hosts), PLATFORMS[0].moid))
        return lambda: plans.mcu_down(scene, words[0], " ".join(words[1:]))

    def _room(self, kind: str, words: list[str]) -> Callable[[], Awaitable[Plan]]:
        scene = self._world.scene(next((each.moid for each in PLATFORMS if words[0] in each.rooms), PLATFORMS[0].moid))
        return lambda: plans.room_down(scene, words[0])

    def _platform(self, kind: str, words: list[str]) -> Callable[[], Awaitable[Plan]]:
        moids = [each.moid for each in PLATFORMS]
        lost = platform_named(words[0], moids)
        scene = self._world.scene(next(moid for moid in moids if moid != lost))
        work = plans.takeover if kind == "takeover" else plans.handback
        return lambda: work(scene, lost)
