"""What MS and PAS are told of licences: on request, and after each change (seed 4.3 to 4.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.logger import Logger

from css.domain.errors import ErrCode
from css.domain.licence import NUMBERS, Licence, combined, from_fields
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import Routes
from css.handlers.effects import Parcel
from css.handlers.letters import Kind, Letter, message_id, notice_lane
from css.handlers.outbox import Outbox, Post
from css.handlers.tally import Tally
from css.messages.base import Message
from css.messages.codec import encode
from css.messages.licences import LicenseAck, LicenseNack, LicenseRequest, PlatformLicenseNotice, PlatformNumbers
from css.ports.bus import Delivery, Outgoing, TryLater
from css.ports.licence import BadLicence, ILicenceCipher
from css.ports.store import Commit, Fields, IConferenceStore, StoreError

MOST_NOTICES_IN_A_ROW = 5


class Modified(msgspec.Struct, frozen=True):
    """The own licence as this platform's media and access servers are to obey it."""

    token: str
    """As the BMC sealed it, before the change."""
    licence: Licence
    platforms: tuple[tuple[str, Licence], ...]
    """Own first; a platform whose licence is not known is not among them."""


class LicenceUsers:
    """Answers MS and PAS, and tells them of changes.

    @param session: a text that no other run of any instance has; begins the ids of what has no other.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        cipher: ILicenceCipher,
        clocks: StoreClocks,
        outbox: Outbox,
        post: Post,
        tally: Tally,
        session: str,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._cipher = cipher
        self._clocks = clocks
        self._outbox = outbox
        self._post = post
        self._tally = tally
        self._session = session
        self._told = 0
        self._last: dict[str, Fields] = {}

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {LicenseRequest: self.asked}

    async def asked(self, request: LicenseRequest, delivery: Delivery) -> None:
        """A media or access server asks. Until the own licence is known the request waits in its queue.

        @raise TryLater: for that, or since the answer could not be sent.
        """
        if request.moid not in self._platforms().possible_and_own:
            self._tally.count("licence_requests_refused")
            self.log.info("asked for the licence of {moid}, which is not ours: refused", moid=request.moid)
            await self._answer(LicenseNack(errcode=ErrCode.UNKNOWN_DOMAIN, moid=request.moid), delivery)
            return
        modified = await self._modified()
        if modified is None:
            self._tally.count("licence_requests_waiting")
            raise TryLater(f"the licence of {self._own} is not known yet")
        await self._answer(self._message(LicenseAck, modified), delivery)

    async def _answer(self, answer: Message, delivery: Delivery) -> None:
        """Where it was asked for, else to all media and access servers."""
        body, identity = encode(answer), message_id("licence-answer", self._mark(delivery))
        if not delivery.reply_to:
            await self._notify(Outgoing(*to.TO_LICENCE_USERS, body, identity, delivery.correlation_id))
            return
        await self._send(Kind.REPLY, Outgoing(to.DEFAULT, delivery.reply_to, body, identity, delivery.correlation_id))

    async def changed(self, delivery: Delivery) -> None:
        """A platform's licence has been stored: tell everybody, once the own one is known.

        What another instance stores meanwhile is told, too: whoever speaks last must not speak of what was.

        @raise TryLater: it could neither be sent nor kept. @raise StoreError: the own licence can't be read.
        """
        mark, before = self._mark(delivery), None
        for _ in range(MOST_NOTICES_IN_A_ROW):
            modified = await self._modified()
            if modified is None or modified == before:
                return
            identity = message_id("licence-notice", mark, _digest(modified))
            body = encode(self._message(PlatformLicenseNotice, modified))
            await self._notify(Outgoing(*to.TO_LICENCE_USERS, body, identity))
            self._tally.count("licence_notices")
            before = modified

    async def _modified(self) -> Modified | None:
        """None: the own licence is not known yet. Fails with `StoreError` if nobody can tell."""
        licences: list[tuple[str, Licence]] = []
        token = ""
        for moid in self._platforms().possible_and_own:
            fields = await self._read(moid)
            if moid == self._own:
                token = fields.get("license", "")
            if fields.get("license"):
                licences.append((moid, from_fields(fields)))
        if not token:
            return None
        own, *others = (licence for _, licence in licences)
        return Modified(token, combined(own, others), tuple(licences))

    async def _read(self, moid: str) -> Fields:
        """A platform's licence; while its Redis is away, as this instance last read it."""
        store = self._stores.get(moid)
        try:
            if store is None:
                raise StoreError(f"the Redis of {moid} is not known")
            self._last[moid] = await store.read_hash(f"domain/{moid}/license")
        except StoreError:
            if moid == self._own and moid not in self._last:
                raise
        return self._last.get(moid, {})

    def _message(self, kind: type[LicenseAck] | type[PlatformLicenseNotice], modified: Modified) -> Message:
        platforms = [PlatformNumbers(moid=moid, **licence.numbers) for moid, licence in modified.platforms]
        numbers: dict[str, Any] = modified.licence.numbers
        return kind(moid=self._own, license=self._sealed(modified), platforms=platforms, **numbers)

    def _sealed(self, modified: Modified) -> str:
        """The own licence with other numbers, all else in it kept; empty if there is no key to seal it with."""
        try:
            content: dict[str, Any] = msgspec.json.decode(self._cipher.open(modified.token), type=dict[str, Any])
        except (BadLicence, msgspec.MsgspecError):
            # Its key is no longer among ours: what it said when it was verified stands.
            expires = modified.licence.expires
            content = {} if expires is None else {"expires": expires}
        kept = {name: value for name, value in content.items() if name not in NUMBERS}
        try:
            return self._cipher.seal(msgspec.json.encode(kept | modified.licence.numbers))
        except BadLicence as error:
            self.log.error("ALERT: licences go out without ciphertext: {error}", error=str(error))
            return ""

    async def _notify(self, outgoing: Outgoing) -> None:
        """To all media and access servers: kept until it is published. With the own Redis away, at once or not."""
        store = self._stores.get(self._own)
        number, mark = f"licence?{outgoing.message_id}", f"0.0.{outgoing.message_id}"
        try:
            if store is None:
                raise StoreError("the own Redis is not known")
            await self._clocks.know(store)
            letter = Letter(Kind.NOTICE, self._clocks.now_ms(self._own), outgoing)
            parcels = {notice_lane(outgoing.exchange): Parcel([letter])}
            entries = self._outbox.entries(parcels, mark, letter.born_ms)
            await store.commit(Commit(e164=number, touch_record=False, outbox=entries))
        except StoreError:
            await self._send(Kind.NOTICE, outgoing)
            return
        await self._outbox.carry_out(store, number, parcels, mark, ())

    async def _send(self, kind: Kind, outgoing: Outgoing) -> None:
        letter = Letter(kind, self._clocks.now_ms(self._own), outgoing)
        if await self._post.deliver([letter], self._own):
            raise TryLater(f"{outgoing.routing_key} can't be reached")

    def _mark(self, delivery: Delivery) -> str:
        """What caused a message; the same one when the cause comes again, if it has a name."""
        if delivery.message_id:
            return delivery.message_id
        self._told += 1
        return f"{self._session}.{self._told}"


def _digest(modified: Modified) -> str:
    return hashlib.sha1(repr(modified).encode(), usedforsecurity=False).hexdigest()
