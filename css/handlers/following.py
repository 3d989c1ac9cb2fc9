"""A request that comes again is decided where it was handed the first time, by whoever is there to know of it."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from css.domain.conference import Requester
from css.handlers.doubtful import Doubtful, Refusal
from css.handlers.forwarding import Forwarding
from css.handlers.requests import Answers
from css.handlers.trails import HandedOn, Trails
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError


class Following:
    """Finds the one store that decides on a request, and sees to those that are decided elsewhere.

    @param stores: the stores of the own and the possible platforms, by moid.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        trails: Trails,
        answers: Answers,
        forwarding: Forwarding,
        doubtful: Doubtful,
    ) -> None:
        self._own = own
        self._stores = stores
        self.trails = trails
        self._answers = answers
        self._forwarding = forwarding
        self._doubtful = doubtful

    async def decider(
        self, e164: str, refusal: Refusal, delivery: Delivery, *, look: bool = False
    ) -> IConferenceStore | None:
        """The store in which a request is to be decided, be it by a refusal. Fails with `StoreError`.

        None: there is nothing left to do. Its answer was repeated; or the platform that it was handed to has it once
        more; or the store that would know of it is away, and it is kept until that is back.

        @param refusal: what its requester is told if the platform that it was handed to is not reached in time.
        @param look: whether the own store's memory is asked also of a request that was not handed on.
        """
        own, requester = self._own_store(), refusal.requester
        if not refusal.certain:
            return own
        trail = await self.trails.of(requester)
        if trail is None and not look:
            return own
        known = (await own.load("", requester.request_key)).request
        if known is not None:
            await self._answers.repeat(own, known, requester)
            return None
        if trail is None:
            return own
        if trail.to_css:
            await self._forwarding.again(delivery, e164, trail, refusal)
            return None
        return await self._knowing(e164, trail.platform, refusal, delivery)

    async def refuse(self, e164: str, refusal: Refusal, delivery: Delivery) -> None:
        """Refuse a request because the own platform is abnormal, whatever is away then, unless it is known.

        Fails with `HandedOn`, and with `BusError` where the answer can neither be delivered nor kept.
        """
        answer = (refusal.requester, refusal.certain, refusal.message)
        try:
            store = await self.decider(e164, refusal, delivery)
        except HandedOn:
            raise
        except StoreError:
            store = self._stores.get(self._own)
            self.log.info("{e164}: no store can tell whether the request was answered", e164=e164)
        else:
            if store is None:
                return
        if store is None or store.platform == self._own:
            await self._answers.say(self._own, *answer)
            return
        try:
            await self._answers.give(store, e164, *answer)
        except StoreError:
            await self._wait(e164, store.platform, refusal.requester, delivery)

    async def _knowing(self, e164: str, platform: str, refusal: Refusal, delivery: Delivery) -> IConferenceStore | None:
        """Another platform's store, if it does not know the request yet."""
        store, requester = self._stores.get(platform), refusal.requester
        try:
            if store is None or not store.available:
                raise StoreError(f"the store of {platform} is away")
            known = (await store.load("", requester.request_key)).request
        except StoreError:
            await self._wait(e164, platform, requester, delivery)
            return None
        if known is None:
            return store
        await self._answers.repeat(store, known, requester)
        return None

    async def _wait(self, e164: str, platform: str, requester: Requester, delivery: Delivery) -> None:
        """Not in the queue: what waits there holds up others."""
        if not (delivery.message_id or delivery.correlation_id or requester.mtreqid):
            # Only the broker's flag tells what it is: published again it could not be told from another one.
            raise StoreError(f"{e164}: the store of {platform}, in which it was begun, is away")
        await self._doubtful.keep_here(e164, platform, delivery)

    def _own_store(self) -> IConferenceStore:
        store = self._stores.get(self._own)
        if store is None:
            raise StoreError(f"no store of {self._own}")
        return store
