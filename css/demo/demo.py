"""The life of a demo: start, events and commands, an end in order with an account."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from css.demo.changes import Changes
from css.demo.commands import Command, Commands
from css.demo.errors import DemoError
from css.demo.layout import PLATFORMS, TIMERS
from css.demo.ledger import Ledger, Line, Summary
from css.demo.plans import ARGUMENTS as PLAN_ARGUMENTS
from css.demo.plans import Plans
from css.demo.records import stored, verified, waiting
from css.demo.recoveries import Recoveries
from css.demo.screen import Screen, Tone
from css.demo.story import Story
from css.demo.traffic import Traffic
from css.demo.trouble import Trouble
from css.demo.world import World
from css.domain.conference import Conference
from css.handlers.tracker import Tracker
from css.ports.store import StoreError
from css.timers.ticker import Ticker

ANSWER_PATIENCE_SECONDS = TIMERS["creating_timeout_seconds"] + 2
"""How long the end waits for creates that are still unanswered: by then CSS owes the answer."""
WATCH_SECONDS = 0.5
_POLL_SECONDS = 0.05


class Demo:
    """Runs a world, from `run` until `finish` or a fault.

    @param valkey_runs: whether Valkey is still there.
    @param seconds: after that time it ends by itself; None: it does not.
    @ivar status: the exit status.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        world: World,
        screen: Screen,
        random: Random,
        valkey_runs: Callable[[], bool],
        seconds: float | None,
    ) -> None:
        self.status = 0
        self._reactor = reactor
        self._world = world
        self._screen = screen
        self._valkey_runs = valkey_runs
        self._seconds = seconds
        self._ledger = Ledger()
        self._story = Story(screen, self._ledger)
        cms = {moid: peers.cm for moid, peers in world.peers.items()}
        away: set[str] = set()
        self._traffic = Traffic(reactor, random, cms, self._ledger, screen, away)
        self._tracker = Tracker()
        self._trouble = Trouble(reactor, world.peers, screen, self._tracker, away)
        self._changes = Changes(world.peers, self._ledger, screen, away)
        self._plans = Plans(world, screen, self._tracker)
        self._recoveries = Recoveries(world.ledgers, screen)
        self._telling = Ticker(reactor, "recoveries", WATCH_SECONDS, self._recoveries.tick)
        self._watching = LoopingCall(self._watch)
        self._watching.clock = reactor
        self._finished: Deferred[None] = Deferred()
        self._starting: Deferred[list[Conference]] | None = None
        self._served = False
        self._held: list[str] = []
        """Lines that were typed before the demo was in service."""
        self.commands = Commands(self._table(), screen.say)

    def take(self, line: str) -> None:
        """Do what a line asks for; before the demo is in service only what ends or explains it, the rest then."""
        if self._served or line.strip().lower() in ("", "help", "quit"):
            self.commands.take(line)
        else:
            self._held.append(line)

    def _table(self) -> dict[str, Command]:
        changes, trouble = self._changes, self._trouble
        return {
            "create": Command("[NAME]", "ask for a conference", self._create),
            "release": Command("NUMBER", "end a conference", self._release),
            "rename": Command("NUMBER NAME", "its MCU asks the CM for another name", changes.rename),
            "delay": Command("NUMBER MINUTES", "it ends later", changes.delay),
            "control": Command("NUMBER WHAT", "its CM asks its MCU for something, as in: mute", changes.control),
            "list": Command("", "show the conferences as the stores have them", self._list),
            "plan": Command(PLAN_ARGUMENTS, "what would happen: a dry run", self._plans.plan),
            "kill-mcu": Command("IP [PID]", "an MCU dies; it comes back, empty", trouble.kill_mcu),
            "room-down": Command("ROOM", "a room becomes abnormal", trouble.room_down),
            "room-up": Command("ROOM", "it is normal again", trouble.room_up),
            "platform-down": Command("A|B", "a platform becomes abnormal; the other takes over", trouble.platform_down),
            "platform-up": Command("A|B", "it is normal again", trouble.platform_up),
            "quit": Command("", "end in order; what runs goes on at the next start", self._quit),
        }

    async def run(self) -> None:
        """Start, live, end. Never fails; see `status`."""
        if self._seconds is not None:
            _ = self._reactor.callLater(self._seconds, self.finish, f"{self._seconds:g} s are over")
        _ = self._watching.start(WATCH_SECONDS, now=False)
        try:
            await self._begin()
            await self._finished
        except CancelledError:
            self._screen.say("It had not begun yet.")
        except DemoError as error:
            self._fail(str(error))
        except Exception:
            self.log.failure("the demo failed")
            self._fail("the demo failed: its log says why")
        await self._end()

    def finish(self, why: str, status: int = 0) -> None:
        """End in order; repeated calls are fine."""
        if not self._finished.called:
            self.status = self.status or status
            self._screen.say(f"Ending: {why}")
            self._finished.callback(None)
            if self._starting is not None:
                self._starting.cancel()

    def _fail(self, why: str) -> None:
        self.status = 1
        self._screen.warn(why)
        if not self._finished.called:
            self._finished.callback(None)

    async def _begin(self) -> None:
        for peers in self._world.peers.values():
            self._story.follow(peers)
        self._starting = Deferred.fromCoroutine(self._world.start())
        earlier = await self._starting
        self._starting, self._served = None, True
        for c in earlier:
            self._ledger.found(Line(c.e164, c.source, c.confname))
        await self._recoveries.begin()
        self._telling.start()
        self._greet(earlier)
        self._traffic.start()
        for line in self._held:
            self.commands.take(line)

    def _greet(self, earlier: list[Conference]) -> None:
        for platform in PLATFORMS:
            hosts = ", ".join(f"{ip} ({room})" for ip, room in zip(platform.hosts, platform.rooms, strict=True))
            self._screen.say(f"{platform.moid} is in service: {', '.join(platform.instances)}; MCUs {hosts}")
        if earlier:
            self._screen.say(f"Still running since an earlier start: {len(earlier)}")
        for c in earlier:
            self._screen.event(c.source, c.e164, f"goes on at MCU {c.ip}: {c.confname}", Tone.GOOD)
        self._screen.say("Type help for what can be done here.")

    def _watch(self) -> None:
        if not self._valkey_runs():
            self.finish("Valkey has ended by itself: its log, valkey/valkey.log, says why", status=1)

    def _create(self, name: str) -> None:
        self._traffic.create(name)

    def _release(self, e164: str) -> None:
        if not (e164.isascii() and e164.isdigit() and len(e164) <= 32):
            raise ValueError("give the conference's number, as in: release 0123456")
        self._traffic.release(e164)

    def _list(self, _: str) -> None:
        self._tracker.run(self._show_list(), "list")

    async def _show_list(self) -> None:
        try:
            conferences = await stored(self._world.stores)
        except StoreError as error:
            self._screen.warn(f"the stores can't be read: {error}")
            return
        for c in conferences.values():
            place = f"{c.state.value} on {c.platformmoid}, MCU {c.ip or '(none yet)'}"
            self._screen.event(c.source, c.e164, f"{place}: {c.confname}")
        self._screen.say(f"{len(conferences)} conferences")

    def _quit(self, _: str) -> None:
        self.finish("as you wish")

    async def _end(self) -> None:
        self._traffic.stop()
        if self._watching.running:
            self._watching.stop()
        try:
            await self._answers_arrive()
            await self._recoveries_end()
            self._trouble.stop()
            await self._world.stop_services()
            await self._tracker.drained()
            await self._telling.stop()
            if self._served and self._valkey_runs():
                await self._recoveries.tick()
            summary = await self._account() if self._served else None
            await self._world.stop_rest()
        except Exception:
            self.log.failure("the end was not in order")
            self.status = 1
            return
        if summary is not None:
            self._screen.say(summary.text(), Tone.BAD if summary.lost else Tone.GOOD)
            self.status = self.status or (1 if summary.lost else 0)

    async def _answers_arrive(self) -> None:
        """Wait for the answers that CSS still owes."""
        give_up_at = self._reactor.seconds() + ANSWER_PATIENCE_SECONDS
        while self._ledger.unanswered and self._reactor.seconds() < give_up_at and self._valkey_runs():
            await deferLater(self._reactor, _POLL_SECONDS)

    async def _recoveries_end(self) -> None:
        """Wait for the restores that CSS still owes. What finds no MCU goes on waiting; the next start has it."""
        give_up_at = self._reactor.seconds() + ANSWER_PATIENCE_SECONDS
        while self._served and self._reactor.seconds() < give_up_at and self._valkey_runs():
            conferences = await stored(self._world.stores)
            if len(verified(conferences.values(), self._world.hosts)) == len(conferences):
                return
            await deferLater(self._reactor, WATCH_SECONDS)

    async def _account(self) -> Summary | None:
        """Compare what the CMs believe with the records and the MCUs."""
        try:
            conferences = await stored(self._world.stores)
        except StoreError as error:
            self._screen.warn(f"no account is possible, the stores can't be read: {error}")
            self.status = 1
            return None
        running = verified(conferences.values(), self._world.hosts)
        return self._ledger.summary(running, waiting(conferences.values()))
