"""The platforms as the PMS tells them: asked again and again, and corrected by broadcasts (seed 1.2, 2.2, 2.3).

`PlatformWatch(...)`: `start()`, `stop()`; `platforms` and `configs` are what is known now; `on_round(listener)` is
called after each round of questions, `on_platforms(listener)` at each change of `platforms`. `routes` go with the
queue of broadcasts. Nothing here touches a store: `RoomList` keeps the rooms, and catches up when the store is back.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from css.domain.platforms import Platforms, PlatformState
from css.handlers.dispatch import Routes
from css.handlers.pms import PmsClient, PmsSilent
from css.handlers.tracker import Tracker
from css.messages.pms import DomainState, PlatformConfigNotice, PlatformStateNotice, RoomStateNotice
from css.ports.bus import Delivery, IBus
from css.ports.store import IPlatformState, StoreError


class Pace(msgspec.Struct, frozen=True):
    """How often the PMS is asked."""

    poll_seconds: float
    """While it does not answer, an address is missing, or the own platform is abnormal."""
    refresh_seconds: float
    """Otherwise."""


class RoomList:
    """The abnormal rooms, kept in the own Redis; while that is away, remembered and written later.

    @param state: the own platform's, None while there is no link to it yet.
    """

    log = Logger()

    def __init__(self, state: Callable[[], IPlatformState | None]) -> None:
        self._state = state
        self._whole: list[str] | None = None
        self._single: dict[str, RoomStateNotice] = {}
        self._heard: dict[str, RoomStateNotice] = {}
        """Broadcasts since the PMS was last asked."""
        self._listeners: list[Callable[[str, bool], None]] = []

    def on_change(self, listener: Callable[[str, bool], None]) -> None:
        """Have `listener(roommoid, abnormal)` called when a broadcast has changed a room's state."""
        self._listeners.append(listener)

    def asked(self) -> None:
        """The PMS is being asked: what is broadcast from now on may overtake its answer."""
        self._heard.clear()

    async def replace(self, rooms: list[DomainState]) -> bool:
        """The PMS has listed them: unnamed ones are normal, but for those that it has spoken of since it was asked.

        @return: whether there are such, so that it is to be asked again.
        """
        self._whole = [room.moid for room in rooms if _is_abnormal(room.state)]
        # Their numbers are known already, and would keep them from being written again.
        self._single = {moid: msgspec.structs.replace(notice, seq=None) for moid, notice in self._heard.items()}
        await self.catch_up()
        return bool(self._heard)

    async def changed(self, notice: RoomStateNotice, delivery: Delivery) -> None:
        """The PMS has told how one room is."""
        known = self._single.get(notice.roommoid)
        if known is None or known.seq is None or notice.seq is None or notice.seq >= known.seq:
            self._single[notice.roommoid] = notice
        heard = self._heard.get(notice.roommoid)
        if heard is None or heard.seq is None or notice.seq is None or notice.seq >= heard.seq:
            self._heard[notice.roommoid] = notice
        await self.catch_up()

    async def catch_up(self) -> None:
        """Write what the store does not know yet. Never fails."""
        state = self._state()
        if state is None:
            return
        try:
            if self._whole is not None:
                whole = self._whole
                await state.replace_rooms(whole)
                if self._whole is whole:
                    self._whole = None
            for roommoid, notice in list(self._single.items()):
                await self._write(state, roommoid, notice)
        except StoreError as error:
            self.log.warn("the room list is written later: {error}", error=str(error))

    async def _write(self, state: IPlatformState, roommoid: str, notice: RoomStateNotice) -> None:
        abnormal = _is_abnormal(notice.state)
        changed = await state.set_room(roommoid, abnormal, -1 if notice.seq is None else notice.seq)
        if self._single.get(roommoid) is notice:
            del self._single[roommoid]
        if changed:
            self.log.warn("room {room} is {state}", room=roommoid, state=notice.state)
            for listener in self._listeners:
                listener(roommoid, abnormal)


class PlatformWatch:
    """Knows how the platforms are and where their servers are."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        own: str,
        bus: IBus,
        client: PmsClient,
        rooms: RoomList,
        pace: Pace,
        tracker: Tracker,
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._client = client
        self.rooms = rooms
        self._pace = pace
        self._tracker = tracker
        self._bus = bus
        self.platforms = Platforms(own)
        self.configs: dict[str, PlatformConfigNotice] = {}
        self._round_listeners: list[Callable[[], None]] = []
        self._platform_listeners: list[Callable[[Platforms], None]] = []
        self._next: IDelayedCall | None = None
        self._began = 0.0
        self._running = False
        self._again = False
        self._heard: list[PlatformStateNotice] = []
        """Broadcasts since the PMS was last asked how the platforms are."""
        self._stopped = True
        self.silent = True
        """Whether the PMS left the last round of questions without an answer; so before the first one, too."""
        bus.on_state_change(self._bus_changed)

    @property
    def routes(self) -> Routes:
        """What it handles on the queue of broadcasts."""
        return {PlatformStateNotice: self._broadcast, RoomStateNotice: self.rooms.changed}

    def on_round(self, listener: Callable[[], None]) -> None:
        """Have `listener()` called after each round of questions that was answered."""
        self._round_listeners.append(listener)

    def on_platforms(self, listener: Callable[[Platforms], None]) -> None:
        """Have `listener(before)` called when `platforms` has changed."""
        self._platform_listeners.append(listener)

    def start(self) -> None:
        """Begin to ask: at once if the broker is there, else when it is."""
        self._stopped = False
        if self._bus.connected:
            self.ask_soon()

    def stop(self) -> None:
        """Ask no more; a question under way runs to its time-out."""
        self._stopped = True
        self._cancel()

    def ask_soon(self) -> None:
        """Begin a round of questions now, or right after the one under way."""
        if self._stopped:
            return
        if self._running:
            self._again = True
            return
        self._cancel()
        self._running = True
        self._began = self._reactor.seconds()
        self._tracker.run(self._round(), "asking the PMS")

    def _bus_changed(self, connected: bool) -> None:
        if connected:
            # Broadcasts may have been missed while there was no queue for them.
            self.ask_soon()

    async def _round(self) -> None:
        complete = False
        try:
            complete = await self._ask_all()
            self.silent = False
        except PmsSilent as error:
            self.silent = True
            self.log.warn("the PMS is silent: {error}", error=str(error))
        finally:
            self._running = False
            self._schedule(complete)

    async def _ask_all(self) -> bool:
        self._heard.clear()
        self.rooms.asked()
        reply = await self._client.ask_state()
        self.log.debug("the PMS has answered: own platform {state}", state=reply.state)
        before = self.platforms
        after = before.with_reply(reply.moid, reply.state, _pairs(reply.main), _pairs(reply.backup), reply.seq)
        if self._heard:
            # A broadcast may have overtaken an answer that was given before it: it holds until the next answer.
            for notice in self._heard:
                after = after.with_broadcast(notice.moid, notice.state, notice.seq)
            self._again = True
        if after is before:
            self.log.info("an older answer of the PMS is ignored")
        else:
            self._set(after)
            if reply.rooms is not None:
                self._again = await self.rooms.replace(reply.rooms) or self._again
        await self.rooms.catch_up()
        complete = await self._ask_configs()
        for listener in list(self._round_listeners):
            listener()
        return complete

    async def _ask_configs(self) -> bool:
        """Each main, each backup, then the own platform (seed 2.2). One that stays unknown does not stop the others.

        One that starts while its platform is abnormal asks for the own one only: its Redis may tell what to spare.
        """
        if not self.platforms.answered:
            return False
        complete = True
        is_waiting = self.platforms.own_abnormal and not all(moid in self.configs for moid in self.platforms.peers)
        for moid in (self._own,) if is_waiting else (*self.platforms.peers, self._own):
            try:
                self.configs[moid] = await self._client.ask_config(moid)
            except PmsSilent as error:
                complete = complete and moid in self.configs
                self.log.warn("the PMS does not tell where {moid} is: {error}", moid=moid, error=str(error))
        return complete

    async def _broadcast(self, notice: PlatformStateNotice, delivery: Delivery) -> None:
        before = self.platforms
        if self._running:
            self._heard.append(notice)
        self._set(before.with_broadcast(notice.moid, notice.state, notice.seq))
        change = self.platforms.change_from(before)
        if change.own_became_normal:
            self.ask_soon()
        elif change.own_became_abnormal and self._next is not None:
            self._cancel()
            self._schedule(complete=False)

    def _set(self, platforms: Platforms) -> None:
        before, self.platforms = self.platforms, platforms
        if platforms == before:
            return
        change = platforms.change_from(before)
        if change:
            self.log.info(
                "platforms: own {state}, serving {service}, entered {entered}, left {left}",
                state=platforms.own_state,
                service=", ".join(platforms.service),
                entered=", ".join(change.entered) or "none",
                left=", ".join(change.left) or "none",
            )
        for listener in list(self._platform_listeners):
            listener(before)

    def _schedule(self, complete: bool) -> None:
        if self._stopped:
            return
        if self._again:
            self._again = False
            self.ask_soon()
            return
        calm = complete and not self.platforms.own_abnormal
        seconds = self._pace.refresh_seconds if calm else self._pace.poll_seconds
        # Counted from the last question: a silent PMS costs its time-out each time.
        passed = self._reactor.seconds() - self._began
        self._next = self._reactor.callLater(max(0.0, seconds - passed), self._timed)

    def _timed(self) -> None:
        self._next = None
        self.ask_soon()

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None


def _is_abnormal(state: str) -> bool:
    return PlatformState(state) is PlatformState.ABNORMAL


def _pairs(listed: list[DomainState] | None) -> list[tuple[str, str]] | None:
    return None if listed is None else [(each.moid, each.state) for each in listed]
