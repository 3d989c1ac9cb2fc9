"""A CM's create request, and RMS's answer to what it causes (seed 1.1, 2.3.2, 4.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from twisted.logger import Logger

from css.domain import creation
from css.domain.conference import Conference, Requester, Situation, parse_placement
from css.domain.epochs import EpochSource
from css.domain.errors import ErrCode
from css.domain.events import CreateAsked, Event, ResourcesGiven, ResourcesRefused
from css.domain.platforms import Platforms
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import Routes
from css.handlers.domains import DomainCache
from css.handlers.doubtful import Refusal
from css.handlers.following import Following
from css.handlers.others import OthersAnswers
from css.handlers.placing import Placing, StepBookings
from css.handlers.requests import Answers, pending, requester_of
from css.handlers.steps import Steps, reservations
from css.handlers.tally import Tally
from css.handlers.trails import Trail
from css.messages.create import CreateNack, CreateRequest, ResourceAck, ResourceNack
from css.ports.bus import Delivery
from css.ports.store import Commit, CommitResult, IConferenceStore, Outcome, StoreError

Guards = tuple[tuple[str, str], ...]

ATTEMPTS = 10
"""How often a create begins anew as its domain or its number's last placement turns out to be other than was read."""

ASKING = (Situation.ASKING_RMS, Situation.RESTORE_ASKING_RMS)
_REFUSALS = {Outcome.CONFLICT: ErrCode.CONF_EXISTS, Outcome.LIMIT: ErrCode.LICENSE_LIMIT}


class Creating:
    """Takes create requests, and RMS's answers.

    @param platforms: gives the platforms as they are known now.
    @param stores: the stores of the own and the possible platforms, by moid.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        domains: DomainCache,
        clocks: StoreClocks,
        epochs: EpochSource,
        steps: Steps,
        answers: Answers,
        following: Following,
        placing: Placing,
        tally: Tally,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._domains = domains
        self._clocks = clocks
        self._epochs = epochs
        self._steps = steps
        self._answers = answers
        self._following = following
        self._placing = placing
        self._tally = tally
        self._others = OthersAnswers(own, stores, steps.clocks, tally)

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {
            CreateRequest: self.create,
            ResourceAck: self._others.guarded(self.resources_given),
            ResourceNack: self._others.guarded(self.resources_refused),
        }

    async def create(self, request: CreateRequest, delivery: Delivery) -> None:
        """Check a create request, record it, ask RMS; or refuse it.

        Order of checks: own platform, domain, platform served, number free, limits.
        """
        e164 = request.confE164
        requester, certain = requester_of(request, delivery, e164, request.mtreqid)
        if self._platforms().own_abnormal:
            refusal = Refusal(requester, certain, _nack(request, ErrCode.PLATFORM_ABNORMAL))
            await self._following.refuse(e164, refusal, delivery)
            return
        source = await self._domains.platform_of(request.moid)
        # Taken in one breath with the look at the directory: by the time of the commit a newer one may have been read.
        guards = self._domains.guards(source) if source else ()
        decider: IConferenceStore | None = self._stores[self._own]
        if certain and (source != self._own or delivery.redelivered):
            # Else the commit in the own store tells. Its domain may have been another platform's the first time.
            refusal = Refusal(requester, certain, _nack(request, ErrCode.INTERNAL))
            decider = await self._following.decider(e164, refusal, delivery, look=True)
        if decider is None:
            return
        error = self._objection(source)
        if error is not None or source is None:
            await self._refuse(decider, request, requester, certain, error or ErrCode.UNKNOWN_DOMAIN)
            return
        if certain and source != self._own:
            await self._following.trails.leave(requester, Trail(source))
        await self._begin(self._stores[source], source, request, requester, certain, guards)

    def _objection(self, source: str | None) -> ErrCode | None:
        """Why a conference of a platform is not begun."""
        if source is None:
            return ErrCode.UNKNOWN_DOMAIN
        if not self._platforms().serves(source):
            return ErrCode.PLATFORM_NOT_SERVED
        store = self._stores.get(source)
        # Its Redis does not answer at the address that the PMS gave: the own store still works.
        return ErrCode.INTERNAL if store is None or (source != self._own and not store.available) else None

    async def _begin(
        self,
        store: IConferenceStore,
        source: str,
        request: CreateRequest,
        requester: Requester,
        certain: bool,
        guards: Guards,
    ) -> None:
        e164, above = request.confE164, 0
        for _ in range(ATTEMPTS):
            result = await self._attempt(store, source, request, requester, certain, guards, above)
            if result.outcome is Outcome.GUARD:
                if not await self._is_still_in(source, request):
                    await self._refuse(store, request, requester, certain, ErrCode.UNKNOWN_DOMAIN)
                    return
                guards = self._domains.guards(source)
            elif result.outcome is Outcome.OLD_EPOCH:
                above = int(result.loaded.tombstone["epoch"]) if result.loaded else 0
            else:
                await self._begun(store, request, requester, certain, result)
                return
        raise StoreError(f"create of {e164}: the directory or the tombstone changed {ATTEMPTS} times in a row")

    def _attempt(
        self,
        store: IConferenceStore,
        source: str,
        request: CreateRequest,
        requester: Requester,
        certain: bool,
        guards: Guards,
        above: int,
    ) -> Awaitable[CommitResult]:
        """Commit a record, under an epoch above one, while the domain is as the guards say. Fails with `StoreError`."""
        now_ms = self._clocks.now_ms(source)
        epoch = self._epochs.next(now_ms, above)
        decision = creation.begin(_event(request, source, self._own, requester, epoch, now_ms), self._steps.rules)
        record = decision.record
        assert record is not None  # a beginning always writes one

        def extras(commit: Commit) -> Commit:
            return msgspec.structs.replace(
                commit,
                reserve=reservations(record),
                request=pending(requester, certain),
                above_tombstone=str(epoch),
                guards=guards,
            )

        return self._steps.start(store, request.confE164, "create", decision, now_ms, extras)

    async def _is_still_in(self, source: str, request: CreateRequest) -> bool:
        """Whether the user domain is still there, by a directory read anew. Fails with `StoreError` if it has moved."""
        await self._domains.refresh()
        now_in = await self._domains.platform_of(request.moid)
        if now_in not in (None, source):
            raise StoreError(f"create of {request.confE164}: its domain has just moved to another platform")
        return now_in is not None

    async def _begun(
        self,
        store: IConferenceStore,
        request: CreateRequest,
        requester: Requester,
        certain: bool,
        result: CommitResult,
    ) -> None:
        if result.outcome is Outcome.DONE:
            self._tally.count("creates_accepted")
        elif result.outcome is Outcome.DUPLICATE:
            await self._answers.repeat(store, result.loaded.request if result.loaded else None, requester)
        else:
            await self._refuse(store, request, requester, certain, _REFUSALS[result.outcome])

    async def _refuse(
        self, store: IConferenceStore, request: CreateRequest, requester: Requester, certain: bool, error: ErrCode
    ) -> None:
        self._tally.count(f"creates_refused_{error}")
        self.log.info("{e164}: create refused: {error}", e164=request.confE164, error=error)
        await self._answers.give(store, request.confE164, requester, certain, _nack(request, error))

    async def resources_given(self, answer: ResourceAck, delivery: Delivery) -> None:
        """RMS has named hosts: the least loaded one is booked and asked."""
        target = self._awaited(delivery)
        if target is None:
            return
        store, e164, epoch = target
        hosts = tuple(dict.fromkeys(server.ip for server in answer.mcu))
        bookings = StepBookings(self._placing)

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None or c.situation not in ASKING or c.epoch != epoch:
                return None
            placement = await bookings.book(c, hosts, answer.roommoid, now_ms)
            wants_recorder = self._placing.wants_recorder(c)
            return ResourcesGiven(
                now_ms=now_ms,
                epoch=epoch,
                roommoid=answer.roommoid,
                mcus=hosts,
                vrs=answer.vrs[0].ip if answer.vrs and wants_recorder else "",
                xmpu=bool(answer.mps),
                placement=placement,
                served=self._placing.serves(c.source),
            )

        decision = await self._steps.take(store, e164, "place", prepare)
        bookings.settle(decision)
        if decision is None:
            self._tally.count("answers_not_awaited")

    async def resources_refused(self, answer: ResourceNack, delivery: Delivery) -> None:
        """RMS has refused: the create fails."""
        target = self._awaited(delivery)
        if target is None:
            return
        store, e164, epoch = target

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None or c.situation not in ASKING or c.epoch != epoch:
                return None
            return ResourcesRefused(now_ms=now_ms, epoch=epoch)

        if await self._steps.take(store, e164, "refuse_resources", prepare) is None:
            self._tally.count("answers_not_awaited")

    def _awaited(self, delivery: Delivery) -> tuple[IConferenceStore, str, int] | None:
        """Store, number and epoch that an answer of RMS is for; None, and counted, if nobody awaits it."""
        placement = parse_placement(delivery.correlation_id)
        store = self._stores.get(placement[0]) if placement else None
        if placement is None or store is None:
            self._tally.count("answers_not_awaited")
            self.log.info("an answer of RMS that nobody awaits: dropped")
            return None
        return store, placement[1], placement[2]


def _nack(request: CreateRequest, error: ErrCode) -> CreateNack:
    return CreateNack(confE164=request.confE164, mtreqid=request.mtreqid, errcode=error.value)


def _event(request: CreateRequest, source: str, own: str, requester: Requester, epoch: int, now_ms: int) -> CreateAsked:
    return CreateAsked(
        now_ms=now_ms,
        e164=request.confE164,
        moid=request.moid,
        source=source,
        served_by=own,
        confname=request.confname,
        password=request.password,
        conftype=request.conftype,
        duration=request.duration,
        terminals=request.maxjoinmt,
        legacy=bool(request.legacy),
        priority=request.priority,
        create=request.original.decode(),
        requester=requester,
        epoch=epoch,
    )
