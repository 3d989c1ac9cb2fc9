"""From power-on to service, in the order of seed 2.2; and the platforms as the handlers may see them.

`Startup(...)`: give it `on_phase` and `on_change` listeners, then `start()`. Phases: `ASKING` (the PMS has not
answered: consume nothing) → `ABNORMAL` (only the own broker is needed: consume, answer `PLATFORM_ABNORMAL`, release
what MCUs list) or `CONNECTING` (own Redis and domains are awaited) →
`SERVING`, which stays, whatever becomes of the own platform later.
`platforms()` is for the handlers: while an instance cannot serve, its own platform counts as abnormal. While serving,
a timer calls `RoomList.catch_up` and `DomainCache.tick`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from css.domain.platforms import Change, Platforms, PlatformState
from css.handlers.dispatch import Routes
from css.handlers.domains import DomainCache
from css.handlers.links import Links
from css.handlers.pms import PmsClient
from css.handlers.tracker import Tracker
from css.handlers.watch import PlatformWatch
from css.ports.bus import Handler, IBus, IConsumer
from css.ports.store import StoreError

FIRST_RETRY_SECONDS = 0.05
"""Pause between attempts to reach the own Redis while its link, begun a moment ago, may still be coming up."""
RETRY_SECONDS = 1.0
"""For how long that is no news; from then on, pause between attempts."""
DATABASE_WAIT_SECONDS = 3.0
"""For how long a database is waited for that neither answers nor refuses. What it holds is wanted from the first
create on: on a new Redis it alone has the domains. One that is known to be down is not waited for."""


class Phase(enum.Enum):
    """How far an instance has come."""

    ASKING = "asking the PMS"
    ABNORMAL = "own platform abnormal"
    CONNECTING = "connecting"
    SERVING = "serving"


class Startup:
    """Brings an instance into service.

    @param dispatcher: makes a bus handler of routes: decoding, parking of what is bad.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        own: str,
        bus: IBus,
        client: PmsClient,
        watch: PlatformWatch,
        links: Links,
        domains: DomainCache,
        tracker: Tracker,
        dispatcher: Callable[[Routes], Handler],
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._bus = bus
        self._client = client
        self._watch = watch
        self._links = links
        self._domains = domains
        self._tracker = tracker
        self._dispatcher = dispatcher
        self.phase = Phase.ASKING
        self._phase_listeners: list[Callable[[Phase], None]] = []
        self._change_listeners: list[Callable[[Platforms, Change], None]] = []
        self._seen = self.platforms()
        self._consumers: list[IConsumer] = []
        self._retry: IDelayedCall | None = None
        self._trying = False
        self._waiting_since: float | None = None
        self._database_since: float | None = None
        self._told = False
        self._stopped = False
        watch.on_round(self._after_round)
        watch.on_platforms(lambda before: self._publish())

    def platforms(self) -> Platforms:
        """The platforms as they are known now; the own one is abnormal until this instance serves."""
        known = self._watch.platforms
        return known if self.phase is Phase.SERVING else known.with_own_state(PlatformState.ABNORMAL)

    def on_phase(self, listener: Callable[[Phase], None]) -> None:
        """Have `listener(phase)` called at each change of phase."""
        self._phase_listeners.append(listener)

    def on_change(self, listener: Callable[[Platforms, Change], None]) -> None:
        """Have `listener(platforms, change)` called when `platforms()` differs: entered or left service, own state."""
        self._change_listeners.append(listener)

    def start(self) -> None:
        """Listen to the PMS, then ask it. The bus may be started before or after."""
        self._bus.declare(self._client.topology)
        broadcasts, replies = self._dispatcher(self._watch.routes), self._dispatcher(self._client.routes)
        self._consumers = [self._bus.consume(self._client.broadcast_queue, broadcasts)]
        self._consumers += [self._bus.consume(queue, replies) for queue in self._client.reply_queues]
        self._watch.start()

    async def stop(self) -> None:
        """Ask and listen no more. The links stay, for those who are still at work; close them last."""
        self._stopped = True
        self._watch.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        consumers, self._consumers = self._consumers, []
        for consumer in consumers:
            await consumer.cancel()

    def _after_round(self) -> None:
        platforms = self._watch.platforms
        if self._stopped or not platforms.answered:
            return
        if self.phase is not Phase.SERVING and platforms.own_state is not PlatformState.NORMAL:
            self._enter(Phase.ABNORMAL)
            # Nothing waits for these links; what runs here and must not be released is read from the own Redis.
            self._links.take(platforms, self._watch.configs)
            return
        self._links.take(platforms, self._watch.configs)
        if self.phase is Phase.SERVING:
            return
        if self.phase is Phase.ASKING:
            self._enter(Phase.CONNECTING)
        self._try_to_serve()

    def _try_to_serve(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._trying and not self._stopped and self.phase is not Phase.SERVING:
            self._trying = True
            self._tracker.run(self._serve(), "the start")

    async def _serve(self) -> None:
        """Own Redis and the domains are needed; what else is away keeps connecting meanwhile."""
        try:
            store = self._links.stores.get(self._own)
            if store is None:
                self.log.warn("waiting: the PMS has not told where the own Redis is")
                return
            await store.now_ms()
            await self._watch.rooms.catch_up()
            if self._is_database_coming():
                self._retry_in(FIRST_RETRY_SECONDS)
                return
            await self._domains.load()
        except StoreError as error:
            self._wait_for_store(error)
            return
        finally:
            self._trying = False
        self._waiting_since, self._told = None, False
        if not self._stopped and self._watch.platforms.own_state is PlatformState.NORMAL:
            self._enter(Phase.SERVING)

    def _wait_for_store(self, error: StoreError) -> None:
        now = self._reactor.seconds()
        if self._waiting_since is None:
            self._waiting_since = now
        is_new = now - self._waiting_since < RETRY_SECONDS
        if not is_new and not self._told:
            self._told = True
            self.log.warn("waiting for the own Redis: {error}", error=str(error))
        self._retry_in(FIRST_RETRY_SECONDS if is_new else RETRY_SECONDS)

    def _is_database_coming(self) -> bool:
        now = self._reactor.seconds()
        if self._database_since is None:
            self._database_since = now
        return not self._links.database_tried and now - self._database_since < DATABASE_WAIT_SECONDS

    def _retry_in(self, seconds: float) -> None:
        if not self._stopped:
            self._retry = self._reactor.callLater(seconds, self._retried)

    def _retried(self) -> None:
        self._retry = None
        if self._watch.platforms.own_state is PlatformState.NORMAL:
            self._try_to_serve()

    def _enter(self, phase: Phase) -> None:
        if phase is self.phase:
            return
        self.log.info("{before} -> {after}", before=self.phase.value, after=phase.value)
        self.phase = phase
        self._publish()
        for listener in list(self._phase_listeners):
            listener(phase)

    def _publish(self) -> None:
        """Tell of what the handlers will now see."""
        before, self._seen = self._seen, self.platforms()
        change = self._seen.change_from(before)
        if change and self._watch.platforms.answered:
            self._domains.platforms_changed(self._seen, change)
            for listener in list(self._change_listeners):
                listener(self._seen, change)
