"""The service tree of one instance: read from top to bottom it is the architecture."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from css.config import Settings
from css.connections import ServerConnector, cipher_of
from css.core import World
from css.dependencies import dependencies
from css.domain.platforms import Change, Platforms
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher, Routes
from css.handlers.domains import DomainCache
from css.handlers.links import Connector, Links
from css.handlers.pms import PmsClient
from css.handlers.probes import Probe
from css.handlers.startup import Phase, Startup
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.watch import Pace, PlatformWatch, RoomList
from css.ports.bus import Handler, IBus
from css.ports.ledger import ILedger
from css.ports.licence import ILicenceCipher
from css.ports.planned import ILocatorBook
from css.ports.store import IPlatformState, StoreError
from css.timers.ticker import Ticker
from css.web.health import Dependency
from css.work import Work

DOMAIN_TICK_SECONDS = 1.0


class CssService(Service):
    """One instance. It starts with the PMS's consent, serves, and stops in order.

    @param reactor: provides `IReactorTime`.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        own_bus: IBus,
        connector: Connector,
        cipher: ILicenceCipher,
        probe: Probe,
        random: Random,
        session: str,
    ) -> None:
        self.setName(f"css {settings.instance.name}")  # type: ignore[no-untyped-call]
        own, poll_seconds, tally = settings.platform.moid, settings.timers.state_poll_seconds, Tally()
        self._settings, self._bus, self._tracker = settings, own_bus, Tracker()
        self._said_abnormal = False
        client = _pms_client(reactor, settings, own_bus, session, tally)
        links = self._links = Links(reactor, own, connector, poll_seconds, self._tracker)
        rooms = RoomList(lambda: links.state)
        pace = Pace(poll_seconds, settings.timers.state_refresh_seconds)
        self._watch = PlatformWatch(reactor, own, own_bus, client, rooms, pace, self._tracker)
        self._domains = DomainCache(own, self.platforms, links.stores, lambda: links.database, self._tracker, tally)
        self.startup = Startup(
            reactor, own, own_bus, client, self._watch, links, self._domains, self._tracker, self._handler_of
        )
        self.work = Work(settings, self._world(reactor, random, cipher, session, probe), tally, self._domains.routes)
        self._domain_ticker = Ticker(reactor, "domains", DOMAIN_TICK_SECONDS, self._domains.tick)
        self._room_ticker = Ticker(reactor, "rooms", DOMAIN_TICK_SECONDS, rooms.catch_up)
        self.startup.on_phase(self._phase_changed)
        self.startup.on_change(self._platforms_changed)

    def _world(self, reactor: Any, random: Random, cipher: ILicenceCipher, session: str, probe: Probe) -> World:
        """What the work is done with: what the start finds, and finds again."""
        return World(
            reactor=reactor,
            random=random,
            own_bus=self._bus,
            platforms=self.platforms,
            stores=self._links.stores,
            state=self._state,
            ledger=self._ledger,
            planned=self._links.planned,
            book=self._book,
            peers=self._links.peers,
            database=lambda: self._links.database,
            domains=self._domains,
            cipher=cipher,
            session=session,
            probe=probe,
        )

    def platforms(self) -> Platforms:
        """The platforms as they are known now."""
        return self.startup.platforms()

    def phase(self) -> tuple[str, bool]:
        """What it is doing, and whether it takes all work: not before it serves, and not while its platform is
        abnormal."""
        phase = self.startup.phase
        if phase is Phase.SERVING and self.platforms().own_abnormal:
            phase = Phase.ABNORMAL
        return phase.value, phase is Phase.SERVING

    def dependencies(self) -> list[Dependency]:
        """What it works with, as it is known now: for `/readyz`."""
        return dependencies(self._settings.platform.moid, self._bus, self._links, self._watch)

    def knows_domains(self, *moids: str) -> bool:
        """Whether all of these are in the directory that creates are checked by."""
        directory, _ = self._domains.current()
        return all(directory.get(moid) is not None for moid in moids)

    def _handler_of(self, routes: Routes) -> Handler:
        return Dispatcher(self._bus, routes, self.work.tally, lambda message: None, self.work.probe)

    def _state(self) -> IPlatformState:
        if self._links.state is None:
            raise StoreError("the own Redis is not known yet")
        return self._links.state

    def _ledger(self) -> ILedger:
        if self._links.ledger is None:
            raise StoreError("the own Redis is not known yet")
        return self._links.ledger

    def _book(self) -> ILocatorBook:
        if self._links.book is None:
            raise StoreError("the own Redis is not known yet")
        return self._links.book

    def startService(self) -> None:
        """Connect, and ask the PMS; all else follows from its answer (seed 2.2)."""
        super().startService()  # type: ignore[no-untyped-call]
        self._bus.declare(to.OWN_TOPOLOGY)
        self._bus.start()
        self.startup.start()

    def stopService(self) -> Deferred[None]:
        """Stop in order. @return: fires when nothing is under way any more."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.startup.stop()
        await self.work.end()
        await self._domain_ticker.stop()
        await self._room_ticker.stop()
        await self._tracker.drained()
        await self._bus.stop()
        await self._links.close()
        self.log.info("{name} has stopped", name=self._settings.instance.name)

    def _phase_changed(self, phase: Phase) -> None:
        if phase is Phase.ABNORMAL:
            self._say_abnormal()
            self.work.refuse()
        elif phase is Phase.SERVING:
            self._domain_ticker.start()
            self._room_ticker.start()
            self._tracker.run(self._serve(), "the beginning of service")

    async def _serve(self) -> None:
        await self.work.begin()
        self.log.info(
            "{name} serves platform {moid}", name=self._settings.instance.name, moid=self._settings.platform.moid
        )

    def _platforms_changed(self, platforms: Platforms, change: Change) -> None:
        if change.own_became_abnormal:
            self._say_abnormal()
            self.work.duty.suspended()
        for moid in change.entered:
            self.log.warn("platform {moid} is abnormal: creates and restores of it are taken here", moid=moid)
        for moid in change.left:
            self.log.warn("platform {moid} is normal again: it is no longer served here", moid=moid)
        if change.own_became_normal:
            if self._said_abnormal:
                self._said_abnormal = False
                self.log.warn("own platform {moid} is normal again: requests are served", moid=platforms.own)
            self.work.resume()

    def _say_abnormal(self) -> None:
        self._said_abnormal = True
        moid = self._settings.platform.moid
        self.log.warn(
            "own platform {moid} is abnormal: every request is refused, and what its MCUs run is released", moid=moid
        )


def _pms_client(reactor: Any, settings: Settings, own_bus: IBus, session: str, tally: Tally) -> PmsClient:
    timers = settings.timers
    return PmsClient(
        reactor,
        own_bus,
        settings.platform.moid,
        settings.instance.name,
        session,
        timers.request_timeout_seconds,
        timers.state_poll_seconds,
        tally,
    )


def real_service(reactor: Any, settings: Settings, probe: Probe) -> CssService:
    """One instance on real servers.

    @raise ValueError: the configuration does not fit real servers.
    """
    connector = ServerConnector(reactor, settings)
    return CssService(
        reactor,
        settings,
        connector.make_own_bus(),
        connector,
        cipher_of(settings),
        probe,
        Random(),
        f"{settings.instance.name}.{uuid.uuid4()}",
    )
