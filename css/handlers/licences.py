"""Licences: asked from the BMC, verified, stored in their platform's Redis (seed 4.2 to 4.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.logger import Logger

from css.domain.licence import Licence, parse_licence, to_fields
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.dispatch import Routes
from css.handlers.tally import Tally
from css.messages.codec import encode
from css.messages.licences import LicenseNotice, LicenseRequest
from css.ports.bus import BusError, Delivery, IBus, Outgoing
from css.ports.licence import BadLicence, ILicenceCipher
from css.ports.store import IConferenceStore, StoreError


class Licences:
    """Keeps the licences of the own and the possible platforms, and of their user domains, up to date.

    @param platform_of: gives a user domain's platform, None if unknown.
    @param session: a text that no other run of any instance has; begins the ids of its requests.
    @param changed: called after each platform's licence that was stored.
    @param wait: has a delivery wait outside its queue for a platform's store: see `Doubtful.keep_newest`.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        platform_of: Callable[[str], Awaitable[str | None]],
        bus: IBus,
        cipher: ILicenceCipher,
        tally: Tally,
        session: str,
        changed: Callable[[Delivery], Awaitable[None]],
        wait: Callable[[str, str, Delivery], Awaitable[None]],
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._platform_of = platform_of
        self._bus = bus
        self._cipher = cipher
        self._tally = tally
        self._known: set[str] = set()
        self._session = session
        self._changed = changed
        self._wait = wait
        self._asked = 0
        self._questions: set[str] = set()

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {LicenseNotice: self.received}

    @property
    def complete(self) -> bool:
        """Whether each of the own and the possible platforms has given its licence."""
        return not self._missing()

    def _missing(self) -> list[str]:
        return [moid for moid in self._platforms().possible_and_own if moid not in self._known]

    def store_emptied(self, moid: str) -> None:
        """A store had lost everything: its platform's licence is asked for again."""
        self._known.discard(moid)

    def ask_again(self) -> None:
        """The own platform is normal again: what the BMC changed meanwhile may have been missed."""
        self._known.clear()
        self._questions.clear()

    async def try_to_ask(self) -> None:
        """The same as `ask`, but never fails: a broker that is away leaves it to the next round."""
        try:
            await self.ask()
        except BusError as error:
            self.log.info("licences are asked for in the next round: {error}", error=str(error))

    async def ask(self) -> None:
        """Ask the BMC for every platform's licence that is not known yet. Fails with `BusError`.

        The answer may have come to another instance: after the first question it is looked for in Redis, too.
        """
        for moid in self._missing():
            if moid in self._questions and await self._need_not_ask(moid):
                continue
            self._questions.add(moid)
            self._asked += 1  # a new question each time: it has an id of its own
            body = encode(LicenseRequest(moid=moid))
            identity = f"{self._session}.{self._asked}"
            try:
                await self._bus.publish(Outgoing(*to.TO_BMC, body, identity, reply_to=to.BMC_QUEUE))
            except BusError:
                # Not asked: what is stored is no answer to it.
                self._questions.discard(moid)
                raise

    async def _need_not_ask(self, moid: str) -> bool:
        """Whether the answer has come, if only to the queue: while its Redis is away it waits there."""
        store = self._stores.get(moid)
        try:
            stored = store is not None and bool((await store.read_hash(f"domain/{moid}/license")).get("license"))
        except StoreError:
            return True
        if stored:
            self._known.add(moid)
        return stored

    async def received(self, notice: LicenseNotice, delivery: Delivery) -> None:
        """The BMC has sent a licence. One that does not verify is refused, and the last good one stays.

        @raise StoreError: it can't be stored yet, nor kept elsewhere; it waits in its queue.
        """
        if self._own not in self._stores:
            raise StoreError("the own Redis is not known yet")
        store = await self._store_of(notice.moid)
        if store is None:
            self._tally.count("licences_ignored")
            self.log.info("a licence of {moid}, which is not ours to keep: ignored", moid=notice.moid)
            return
        licence = self._opened(notice)
        if licence is None:
            return
        is_platforms = notice.moid in self._platforms().possible_and_own
        try:
            await store.write_hashes({f"domain/{notice.moid}/license": to_fields(licence, notice.license)})
        except StoreError:
            if is_platforms or store.platform == self._own:
                raise
            # Of user domains there may be many: in the queue they would hold up the own platform's.
            await self._wait(notice.moid, store.platform, delivery)
            return
        self._tally.count("licences_stored")
        self.log.info("licence of {moid} stored", moid=notice.moid)
        if is_platforms:
            self._note(notice.moid, delivery)
            await self._changed(delivery)

    def _opened(self, notice: LicenseNotice) -> Licence | None:
        """What a licence says; None: it does not verify."""
        try:
            return parse_licence(self._cipher.open(notice.license))
        except (BadLicence, ValueError) as error:
            self._tally.count("licences_refused")
            self.log.error(
                "ALERT: the licence of {moid} is refused, the last good one stays: {error}",
                moid=notice.moid,
                error=str(error),
            )
            return None

    def _note(self, moid: str, delivery: Delivery) -> None:
        """It is known now; but what comes again may be older than what came since: the BMC is asked for the newest."""
        if delivery.redelivered:
            self._known.discard(moid)
            self._questions.discard(moid)
        else:
            self._known.add(moid)

    async def _store_of(self, moid: str) -> IConferenceStore | None:
        kept = self._platforms().possible_and_own
        if moid in kept:
            return self._stores.get(moid)
        platform = await self._platform_of(moid)
        return self._stores.get(platform) if platform is not None and platform in kept else None
