"""Carrying effects out after their commit, and once more what an instance left behind."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.effects import Parcel
from css.handlers.letters import ASK_LANE, Kind, Letter, is_at_home, lease_of, message_id, pack, peer_of
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.ports.bus import BusError, IBus, Outgoing, Unroutable
from css.ports.store import Commit, IConferenceStore, OutboxEntry, StoreError

ACK_WAIT_SECONDS = 5.0
"""How long a step waits for the broker to confirm its effects before the outbox alone has them."""
RETRY_PAUSE_SECONDS = 0.2
PEER_PATIENCE_MS = 600_000
"""How long a notification waits for another platform's broker."""

OnSilence = Callable[[str], None]
"""Called with the token of a request whose MCU has no queue."""


class _Fate(enum.Enum):
    """What becomes of a letter after one try."""

    DONE = "done"
    SOON = "soon"
    """Worth another try within the step."""
    LATER = "later"
    """Left to the sweep."""


class Post:
    """Publishes letters, and decides what an unroutable one means.

    @param own: the own platform's broker.
    @param peers: the other platforms' brokers by moid.
    @param unroutable_ms: how long a notification that reaches no queue is tried again.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        clocks: StoreClocks,
        own: IBus,
        peers: Mapping[str, IBus],
        tally: Tally,
        unroutable_ms: int,
    ) -> None:
        self._reactor = reactor
        self._clocks = clocks
        self._own = own
        self._peers = peers
        self._tally = tally
        self._unroutable_ms = unroutable_ms
        self.on_silence: list[OnSilence] = []
        """All are called; each knows its own tokens."""

    def reaches(self, peer: str) -> bool:
        """Whether there is a link to another platform's broker."""
        bus = self._peers.get(peer)
        return bus is not None and bus.connected

    async def deliver(self, letters: list[Letter], platform: str, peer: str = "", patient: bool = True) -> list[Letter]:
        """Publish letters in order on the own broker, or on that of `peer`.

        @param platform: whose store's clock the letters' birth is measured by.
        @param patient: try again for `ACK_WAIT_SECONDS`; else once.
        @return: those that must be tried again later.
        """
        give_up_at = self._reactor.seconds() + (ACK_WAIT_SECONDS if patient else 0.0)
        later: list[Letter] = []
        soon = await self._publish_all(letters, platform, peer, later)
        while soon and self._reactor.seconds() < give_up_at:
            await deferLater(self._reactor, RETRY_PAUSE_SECONDS)
            soon = await self._publish_all(soon, platform, peer, later)
        return soon + later

    async def _publish_all(self, letters: list[Letter], platform: str, peer: str, later: list[Letter]) -> list[Letter]:
        bus = self._peers.get(peer) if peer else self._own
        letters = [each for each in letters if not (each.until_ms and self._is_useless(each, platform))]
        if not letters:
            return []
        if bus is None:
            later += [each for each in letters if not await self._overdue(each, platform)]
            return []
        publishes = [bus.publish(each.outgoing) for each in letters]
        failed: list[tuple[Letter, Exception]] = []
        for letter, publish in zip(letters, publishes, strict=True):
            try:
                await publish
            except Exception as error:
                failed.append((letter, error))
        soon = []
        for letter, reason in failed:
            fate = await self._fate(letter, reason, platform, peer)
            if fate is _Fate.SOON:
                soon.append(letter)
            elif fate is _Fate.LATER:
                later.append(letter)
        return soon

    async def _fate(self, letter: Letter, error: BaseException, platform: str, peer: str) -> _Fate:
        if not isinstance(error, BusError):
            raise error
        if not isinstance(error, Unroutable):
            overdue = bool(peer) and await self._overdue(letter, platform)
            return _Fate.DONE if overdue else _Fate.LATER if peer else _Fate.SOON
        match letter.kind:
            case Kind.REPLY | Kind.COMMAND:
                self._tally.count("unroutable_dropped")
                self.log.info("no queue {queue}: dropped", queue=letter.outgoing.routing_key)
                return _Fate.DONE
            case Kind.MCU_REQUEST:
                for listener in self.on_silence:
                    listener(letter.token)
                return _Fate.DONE
            case Kind.RESOURCE_REQUEST:
                return _Fate.SOON  # until its record's deadline, RMS may declare its queue
        if self._age_ms(letter, platform) <= self._unroutable_ms:
            return _Fate.LATER
        return _Fate.DONE if await self._park(letter, "unroutable") else _Fate.LATER

    def _is_useless(self, letter: Letter, platform: str) -> bool:
        """Whether the deadline of what it asks has passed: its record has gone on without an answer."""
        useless = letter.until_ms <= self._clocks.now_ms(platform)
        if useless:
            self._tally.count("asked_too_late")
        return useless

    def _age_ms(self, letter: Letter, platform: str) -> int:
        return self._clocks.now_ms(platform) - letter.born_ms

    async def _overdue(self, letter: Letter, platform: str) -> bool:
        """Whether a letter for another platform has waited too long, and so has been parked."""
        return self._age_ms(letter, platform) > PEER_PATIENCE_MS and await self._park(letter, "unreachable")

    async def give_up(self, letters: list[Letter]) -> list[Letter]:
        """Park letters for another platform that can't be reached. @return: those that could not be parked."""
        return [each for each in letters if not await self._park(each, "unreachable")]

    async def park_unroutable(self, letter: Letter) -> bool:
        """Park a notification that reaches no queue and can't be kept. @return: whether that was so, and is done."""
        try:
            await self._own.publish(letter.outgoing)
        except Unroutable:
            return await self._park(letter, "unroutable")
        except BusError:
            return False
        return True

    async def _park(self, letter: Letter, reason: str) -> bool:
        outgoing = letter.outgoing
        self._tally.count(f"parked_{reason}")
        self.log.warn(
            "parked in {park}: {exchange}/{key} could not be reached ({reason})",
            park=to.PARK_QUEUE,
            exchange=outgoing.exchange,
            key=outgoing.routing_key,
            reason=reason,
        )
        try:
            await self._own.publish(parked(outgoing, reason, outgoing.routing_key))
        except BusError:
            return False
        return True


def parked(message: Outgoing, reason: str, queue: str, **headers: object) -> Outgoing:
    """A message as it goes to the park queue: the body unchanged, the reason and the place in headers."""
    extra = {"x-css-reason": reason, "x-css-queue": queue, **headers}
    return msgspec.structs.replace(
        message,
        exchange=to.DEFAULT,
        routing_key=to.PARK_QUEUE,
        expiration_ms=0,
        message_id=message.message_id or message_id("park", queue, message.body),
        headers={**message.headers, **extra},
    )


Carrier = Callable[[IConferenceStore, str, str, Parcel, str], None]
"""Takes store, number, mark, parcel, and the platform whose instances should do it (empty: this one's)."""


class Outbox:
    """The outbox as steps see it: writes entries into a commit, then carries them out.

    @param lease_ms: how long a sweep leaves fresh entries to whoever committed them.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        clocks: StoreClocks,
        post: Post,
        tracker: Tracker,
        lease_ms: int,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._clocks = clocks
        self._post = post
        self._tracker = tracker
        self._lease_ms = lease_ms
        self._probe = probe
        self._done: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        self._carrying: set[tuple[str, str, str, str]] = set()
        self.carriers: dict[str, Carrier] = {}
        """What carries out the lanes that are not messages, by lane; each clears its entries itself."""

    def entries(
        self,
        parcels: Mapping[str, Parcel],
        mark: str,
        now_ms: int,
        abroad: Mapping[tuple[str, str], Parcel] = {},
    ) -> tuple[OutboxEntry, ...]:
        """The parcels of one step, as its commit takes them. @param abroad: see `Composed.abroad`; due at once."""
        at_home = [self._entry(lane, mark, parcel.data(), now_ms) for lane, parcel in parcels.items()]
        others = [OutboxEntry(owner, lane, mark, each.data(), now_ms) for (owner, lane), each in abroad.items()]
        return (*at_home, *others)

    def _entry(self, lane: str, mark: str, data: bytes, now_ms: int, owner: str = "") -> OutboxEntry:
        return OutboxEntry(owner or self._own, lane, mark, data, now_ms + lease_of(lane, self._lease_ms))

    def cleared(self, store: IConferenceStore, e164: str) -> tuple[tuple[str, str, str], ...]:
        """Entries of a number that are done and not yet forgotten: the next commit takes them along.

        Give them back with `not_cleared` if that commit is not made.
        """
        done = self._done.pop((store.platform, e164), None)
        return tuple(done) if done else ()

    def not_cleared(self, store: IConferenceStore, e164: str, done: tuple[tuple[str, str, str], ...]) -> None:
        """The commit that was to take these along was not made."""
        if done:
            self._done.setdefault((store.platform, e164), []).extend(done)

    async def send(
        self, store: IConferenceStore, number: str, parcels: Mapping[str, Parcel], mark: str, now_ms: int
    ) -> None:
        """Commit effects that belong to no record, and carry them out. Fails with `StoreError`."""
        cleared = self.cleared(store, number)
        commit = Commit(e164=number, touch_record=False, outbox=self.entries(parcels, mark, now_ms), cleared=cleared)
        try:
            result = await store.commit(commit)
        except StoreError:
            self.not_cleared(store, number, cleared)
            raise
        await self.carry_out(store, number, parcels, mark, result.waiting)

    async def carry_out(
        self,
        store: IConferenceStore,
        e164: str,
        parcels: Mapping[str, Parcel],
        mark: str,
        waiting: tuple[str, ...],
    ) -> None:
        """Carry the effects of a commit out; returns when the own broker has confirmed its letters, or after 5 s.

        Nobody waits for other platforms' brokers: what can't go there at once is left to the sweep.

        What another instance has not finished of this number (`waiting`) goes first: such lanes are left to the sweep,
        but for the one that needs no order.
        """
        at_home: dict[str, list[Letter]] = {}
        for lane, parcel in parcels.items():
            carrier = self.carriers.get(lane)
            if carrier is not None:
                # Rows carry their version and places their token: their order does not matter.
                carrier(store, e164, mark, parcel, "")
            elif lane in waiting and lane != ASK_LANE:
                continue
            elif is_at_home(lane):
                at_home[lane] = parcel.letters
            elif self._post.reaches(peer_of(lane)):
                self._tracker.run(self._carry(store, e164, mark, {lane: parcel.letters}), f"letters to {lane}")
        if any(at_home.values()):
            await self._carry(store, e164, mark, at_home)

    async def _carry(self, store: IConferenceStore, e164: str, mark: str, lanes: Mapping[str, list[Letter]]) -> None:
        """Publish the letters of lanes that all go to the own broker, or of one lane that goes to another one."""
        peer = peer_of(next(iter(lanes)))
        platform = store.platform
        keys = [(platform, e164, lane, mark) for lane in lanes]
        letters = [letter for each in lanes.values() for letter in each]
        self._carrying.update(keys)
        try:
            left = await self._post.deliver(letters, platform, peer, patient=not peer)
        finally:
            self._carrying.difference_update(keys)
        if not left:
            for lane in lanes:
                self.mark_done(store, e164, lane, mark)
            return
        try:
            await self._settle(store, e164, mark, lanes, left)
        except StoreError as error:
            if not peer:
                raise
            self.log.info("{e164}: all of its letters to {peer} go again: {error}", e164=e164, peer=peer, error=error)

    def is_carrying(self, store: IConferenceStore, e164: str, lane: str, mark: str) -> bool:
        """Whether this instance is sending an entry right now: a busy one may take longer than the lease."""
        return (store.platform, e164, lane, mark) in self._carrying

    def is_done(self, store: IConferenceStore, e164: str, lane: str, mark: str, owner: str = "") -> bool:
        """Whether this instance has carried an entry out, and has not forgotten it yet."""
        return (owner or self._own, lane, mark) in self._done.get((store.platform, e164), ())

    async def _settle(
        self, store: IConferenceStore, e164: str, mark: str, lanes: Mapping[str, list[Letter]], left: list[Letter]
    ) -> None:
        for lane, letters in lanes.items():
            left_here = [each for each in letters if each in left]
            if not left_here:
                self.mark_done(store, e164, lane, mark)
            elif len(left_here) < len(letters):
                await self.keep_only(store, e164, lane, mark, left_here)

    @property
    def is_clear(self) -> bool:
        """Whether nothing that is done waits to be forgotten."""
        return not self._done

    def mark_done(self, store: IConferenceStore, e164: str, lane: str, mark: str, owner: str = "") -> None:
        """An entry has been carried out; it is forgotten with the number's next commit, or by `flush`.

        @param owner: platform whose instances should have done it; empty: this one's.
        """
        self._done.setdefault((store.platform, e164), []).append((owner or self._own, lane, mark))

    async def keep_only(
        self, store: IConferenceStore, e164: str, lane: str, mark: str, left: list[Letter], owner: str = ""
    ) -> None:
        """Of an entry, only some letters are still to be sent. `owner` as of `mark_done`."""
        entry = self._entry(lane, mark, pack(left), self._clocks.now_ms(store.platform), owner)
        await store.commit(Commit(e164=e164, touch_record=False, outbox=(entry,)))

    async def flush(self, stores: Mapping[str, IConferenceStore]) -> None:
        """Forget what is done. Fails with the last `StoreError`; what was not forgotten is so at the next flush.

        A store that is away keeps nothing in the others: each is told of its own entries.
        """
        taken, self._done = self._done, {}
        if not taken:
            return
        self._probe("outbox", "before_commit")
        by_lane: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for (platform, e164), entries in taken.items():
            for owner, lane, mark in entries:
                by_lane.setdefault((platform, owner, lane), []).append((e164, mark))
        failed: StoreError | None = None
        for (platform, owner, lane), done in by_lane.items():
            store = stores.get(platform)
            try:
                if store is not None:
                    await store.clear_outbox(owner, lane, done)
            except StoreError as error:
                failed = error
                for e164, mark in done:
                    self._done.setdefault((platform, e164), []).append((owner, lane, mark))
        if failed is not None:
            raise failed
