"""Public templates: in SQL and in their platform's Redis, never in one alone (seed 6).

A request that can be followed is kept as an intent, in the outbox of the template's platform; then SQL is written, then
one commit makes Redis what SQL has, answers, and drops the intent. What dies in between is finished by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.logger import Logger

from css.domain.conference import Requester
from css.domain.epochs import EpochSource
from css.domain.errors import ErrCode
from css.domain.platforms import Platforms
from css.domain.template import Standing, Verb, is_newest, refusal, standing_from
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import Routes
from css.handlers.domains import DomainCache
from css.handlers.doubtful import Refusal
from css.handlers.effects import Parcel, answer_address, remembered
from css.handlers.following import Following
from css.handlers.letters import TEMPLATE_LANE, Letter, TemplateIntent, lane_at_home, message_id, peer_lane
from css.handlers.outbox import Outbox
from css.handlers.probes import Probe, no_probe
from css.handlers.requests import Answers, pending, requester_of
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.trails import Trail
from css.messages import templates as wire
from css.messages.base import Message
from css.messages.codec import encode
from css.ports.bus import Delivery, Outgoing, TryLater
from css.ports.sql import IConferenceDatabase, SqlError, SqlRefused, TemplateRow, TemplateWrite
from css.ports.store import Commit, Fields, IConferenceStore, OutboxEntry, Outcome, StoreError

Request = wire.AddTemplateRequest | wire.ModTemplateRequest | wire.DelTemplateRequest

PAGE = 500
CONNECTING_MS = 3_000
"""SQL that is not reached within this counts as away."""
_ATTEMPTS = 20
_VERBS: dict[type[Message], Verb] = {
    wire.AddTemplateRequest: Verb.ADD,
    wire.ModTemplateRequest: Verb.MOD,
    wire.DelTemplateRequest: Verb.DEL,
}
_ACKS: dict[Verb, Callable[..., Message]] = {
    Verb.ADD: wire.AddTemplateAck,
    Verb.MOD: wire.ModTemplateAck,
    Verb.DEL: wire.DelTemplateAck,
}
_NACKS: dict[Verb, Callable[..., Message]] = {
    Verb.ADD: wire.AddTemplateNack,
    Verb.MOD: wire.ModTemplateNack,
    Verb.DEL: wire.DelTemplateNack,
}


class Asked(msgspec.Struct):
    """A request, and who asks."""

    message: Request
    requester: Requester
    certain: bool

    @property
    def verb(self) -> Verb:
        return _VERBS[type(self.message)]

    def refusal(self, error: ErrCode) -> Refusal:
        nack = _NACKS[self.verb](e164=self.message.e164, mtreqid=self.message.mtreqid, errcode=error.value)
        return Refusal(self.requester, self.certain, nack)


class Templates:
    """Takes requests about public templates of the own and the possible platforms.

    @param database: gives the database, None while it has never been reached.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        database: Callable[[], IConferenceDatabase | None],
        domains: DomainCache,
        clocks: StoreClocks,
        epochs: EpochSource,
        answers: Answers,
        following: Following,
        outbox: Outbox,
        tracker: Tracker,
        tally: Tally,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._database = database
        self._domains = domains
        self._clocks = clocks
        self._epochs = epochs
        self._answers = answers
        self._following = following
        self._outbox = outbox
        self._tracker = tracker
        self._tally = tally
        self._probe = probe
        self._first_ms = 0
        self._busy: set[tuple[str, str]] = set()
        outbox.carriers[TEMPLATE_LANE] = self.carry

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return dict.fromkeys(_VERBS, self.asked)

    async def asked(self, request: Request, delivery: Delivery) -> None:
        """Follow a request, or refuse it. Should it not be known whether SQL has done it, the answer comes later."""
        asked = Asked(request, *requester_of(request, delivery, request.e164, request.mtreqid))
        if self._platforms().own_abnormal:
            await self._following.refuse(request.e164, asked.refusal(ErrCode.PLATFORM_ABNORMAL), delivery)
            return
        unknown = asked.refusal(ErrCode.INTERNAL)
        decider = await self._following.decider(request.e164, unknown, delivery, look=True)
        if decider is None:
            return
        platform = await self._domains.platform_of(request.moid)
        store = self._stores.get(platform) if platform else None
        database = self._database()
        if platform is None:
            await self._refuse(decider, asked, ErrCode.UNKNOWN_DOMAIN)
        elif platform not in self._platforms().possible_and_own:
            await self._refuse(decider, asked, ErrCode.PLATFORM_NOT_SERVED)
        elif database is None and self._is_new():
            raise TryLater("SQL is being connected")
        elif store is None or database is None or not (store.available or platform == self._own):
            await self._refuse(decider, asked, ErrCode.INTERNAL)
        else:
            await self._accept(decider, store, database, asked)

    def _is_new(self) -> bool:
        """Whether the first request about a template came a moment ago: SQL, not reached yet, may still be."""
        now_ms = self._clocks.local_ms()
        self._first_ms = self._first_ms or now_ms
        return now_ms < self._first_ms + CONNECTING_MS

    async def _accept(
        self, decider: IConferenceStore, store: IConferenceStore, database: IConferenceDatabase, asked: Asked
    ) -> None:
        """@param decider: remembers a refusal."""
        e164 = asked.message.e164
        for _ in range(_ATTEMPTS):
            try:
                # Also tells, before anything is written, whether SQL is there.
                written, row = await database.template_version(e164), await database.template(e164)
            except (SqlError, SqlRefused) as error:
                self.log.warn("{e164}: SQL is away, its template is left: {error}", e164=e164, error=str(error))
                await self._refuse(decider, asked, ErrCode.INTERNAL)
                return
            standing = await store.read_string(_standing_key(e164))
            under_way = standing_from(standing)
            other = row.platformmoid if row is not None and row.platformmoid != store.platform else ""
            refused = refusal(asked.verb, under_way, row is not None and not other) or self._not_to_be_taken(other)
            if refused is not None:
                await self._refuse(decider, asked, refused)
                return
            if asked.certain and store.platform != self._own:
                await self._following.trails.leave(asked.requester, Trail(store.platform))
                decider = store
            intent = self._intent(store, asked, max(written, under_way.version), other)
            outcome = await self._keep(store, intent, standing, asked, asked.verb is not Verb.DEL)
            if outcome is Outcome.DONE:
                await self._do(store, intent)
                return
            if outcome is Outcome.DUPLICATE:
                return
        raise StoreError(f"template {e164}: others changed it {_ATTEMPTS} times in a row")

    def _not_to_be_taken(self, other: str) -> ErrCode | None:
        """Why another platform's template can't be replaced: it would stay in that one's Redis. None: it can."""
        store = self._stores.get(other)
        if not other or (store is not None and (store.available or other == self._own)):
            return None
        return ErrCode.PLATFORM_NOT_SERVED if store is None else ErrCode.INTERNAL

    def _intent(self, store: IConferenceStore, asked: Asked, above: int, other: str) -> TemplateIntent:
        request = asked.message
        version = self._epochs.next(self._clocks.now_ms(store.platform), above)
        row = None
        if not isinstance(request, wire.DelTemplateRequest):
            content = msgspec.json.encode(request.content).decode()
            row = TemplateRow(request.e164, request.moid, store.platform, request.name, content)
        return TemplateIntent(request.e164, asked.verb, version, asked.requester, row, (other,) if other else ())

    async def _keep(
        self, store: IConferenceStore, intent: TemplateIntent, standing: str, asked: Asked | None, there: bool
    ) -> Outcome:
        """Keep an intent, if nobody has begun another write since `standing` was read.

        @param there: whether it leaves the template there.
        """
        self._probe("template", "before_intent")
        key = _standing_key(intent.e164)
        result = await store.commit(
            Commit(
                e164=_number(intent.e164),
                touch_record=False,
                guards=((key, standing),),
                strings={key: str(Standing(intent.version, there))},
                request=pending(asked.requester, asked.certain) if asked else None,
                outbox=self._entries(store, intent),
            )
        )
        if result.outcome is Outcome.DUPLICATE and result.loaded is not None and asked is not None:
            await self._answers.repeat(store, result.loaded.request, asked.requester)
        elif result.outcome is Outcome.DONE:
            self._probe("template", "after_intent")
        return result.outcome

    def _entries(self, store: IConferenceStore, intent: TemplateIntent) -> tuple[OutboxEntry, ...]:
        parcels, now_ms = {TEMPLATE_LANE: Parcel(intents=[intent])}, self._clocks.now_ms(store.platform)
        return self._outbox.entries(parcels, _mark(intent), now_ms)

    def carry(self, store: IConferenceStore, number: str, mark: str, parcel: Parcel, owner: str = "") -> None:
        """Finish writes that an instance left behind. @param owner: moid of its platform; empty: the own one."""
        for intent in parcel.intents:
            self._tracker.run(self._do(store, intent, owner), f"the template {intent.e164}")

    async def _do(self, store: IConferenceStore, intent: TemplateIntent, owner: str = "") -> None:
        """Write SQL, then Redis, then answer. While SQL or the store is away the intent stays, and is taken again."""
        key = (store.platform, _mark(intent))
        if key in self._busy:
            return
        self._busy.add(key)
        try:
            await self._finish(store, intent, owner or self._own)
        except (SqlError, StoreError) as error:
            self._tally.count("templates_put_off")
            self.log.warn("{e164}: its template is tried again: {error}", e164=intent.e164, error=str(error))
        finally:
            self._busy.discard(key)

    async def _finish(self, store: IConferenceStore, intent: TemplateIntent, owner: str) -> None:
        database = self._database()
        if database is None:
            raise SqlError("not reached yet")
        refused: ErrCode | None = None
        try:
            if intent.verb is not Verb.COPY:
                refused = await self._write(store, database, intent, owner)
        except SqlRefused as error:
            refused = ErrCode.INTERNAL
            self.log.error("{e164}: ALERT: SQL refuses its template: {error}", e164=intent.e164, error=str(error))
        self._probe("template", "after_sql")
        outgoing, parcels = self._answer(store, intent, owner, refused)
        while not await self._settle(store, database, intent, owner, outgoing, parcels):
            pass
        self._probe("template", "after_commit")
        self._tally.count("templates_refused" if refused else "templates_written")
        await self._outbox.carry_out(store, _number(intent.e164), parcels, _mark(intent), ())

    async def _write(
        self, store: IConferenceStore, database: IConferenceDatabase, intent: TemplateIntent, owner: str
    ) -> ErrCode | None:
        """Write SQL, and have those lose the template that had it. Whose it was is kept before SQL forgets it.

        @return: why it can't be written.
        """
        while other := await database.apply_template(
            TemplateWrite(intent.e164, intent.version, intent.row, (store.platform, *intent.taken_from))
        ):
            if other not in self._stores:
                return ErrCode.PLATFORM_NOT_SERVED
            intent = msgspec.structs.replace(intent, taken_from=(*intent.taken_from, other))
            entries = [msgspec.structs.replace(each, platform=owner) for each in self._entries(store, intent)]
            await store.commit(Commit(e164=_number(intent.e164), touch_record=False, outbox=tuple(entries)))
        self._probe("template", "before_taking")
        for other in intent.taken_from:
            await self._take_from(other, database, intent.e164)
        return None

    async def _take_from(self, platform: str, database: IConferenceDatabase, e164: str) -> None:
        """Another platform has the template now: it goes from this one's Redis, or whatever is being written there
        looks at SQL once more."""
        store, key = self._stores.get(platform), _standing_key(e164)
        for _ in range(_ATTEMPTS):
            if store is None:
                break
            standing = await store.read_string(key)
            under_way = standing_from(standing)
            if not under_way.version:
                if await self._copy(store, database, e164, there=False):
                    return
                continue
            again = msgspec.structs.replace(under_way, taken=under_way.taken + 1)
            commit = Commit(
                e164=_number(e164), touch_record=False, guards=((key, standing),), strings={key: str(again)}
            )
            if (await store.commit(commit)).outcome is Outcome.DONE:
                return
        raise StoreError(f"template {e164}: it can't be taken from {platform} now")

    async def _settle(
        self,
        store: IConferenceStore,
        database: IConferenceDatabase,
        intent: TemplateIntent,
        owner: str,
        outgoing: Outgoing | None,
        parcels: dict[str, Parcel],
    ) -> bool:
        """Make Redis what SQL has, unless a newer write is under way; drop the intent, keep the answer.

        @return: False: another write has begun or ended since.
        """
        key = _standing_key(intent.e164)
        standing = await store.read_string(key)
        commit = Commit(
            e164=_number(intent.e164),
            touch_record=False,
            cleared=((owner, TEMPLATE_LANE, _mark(intent)),),
            answers=(remembered(intent.requester, outgoing),) if intent.requester and outgoing else (),
            outbox=self._outbox.entries(parcels, _mark(intent), self._clocks.now_ms(store.platform)),
        )
        if is_newest(intent.version, standing_from(standing)):
            row = await database.template(intent.e164)
            commit = msgspec.structs.replace(
                commit,
                guards=((key, standing),),
                strings={key: ""},
                hashes={f"pubtemplate/{intent.e164}": _fields(row, store.platform)},
            )
        self._probe("template", "before_commit")
        return (await store.commit(commit)).outcome is Outcome.DONE

    def _answer(
        self, store: IConferenceStore, intent: TemplateIntent, owner: str, refused: ErrCode | None
    ) -> tuple[Outgoing | None, dict[str, Parcel]]:
        requester = intent.requester
        if requester is None:
            return None, {}
        fields = {"e164": intent.e164, "mtreqid": requester.mtreqid}
        make = _NACKS if refused else _ACKS
        message = make[intent.verb](**fields, **({"errcode": refused.value} if refused else {}))
        kind, address = answer_address(requester)
        identity = message_id("template", intent.e164, intent.version)
        outgoing = Outgoing(*address, encode(message), identity, requester.correlation_id)
        letter = Letter(kind, self._clocks.now_ms(store.platform), outgoing)
        # The CM that asked hears on the broker of the platform that it asked.
        lane = lane_at_home(kind, outgoing.exchange) if owner == self._own else peer_lane(owner)
        return outgoing, {lane: Parcel([letter])}

    async def _refuse(self, decider: IConferenceStore, asked: Asked, error: ErrCode) -> None:
        e164, refusal = asked.message.e164, asked.refusal(error)
        self.log.info("{e164}: template refused: {error}", e164=e164, error=error)
        await self._answers.give(decider, e164, refusal.requester, refusal.certain, refusal.message)

    async def fill(self, store: IConferenceStore, database: IConferenceDatabase) -> None:
        """Write the public templates of a store's platform to it: it had lost everything.

        @raise StoreError, SqlError: to be done again; what was written stays.
        """
        after = ""
        while True:
            rows = await database.templates_page(store.platform, after, PAGE)
            for row in rows:
                # If a write is under way already, that one makes Redis what SQL has.
                await self._copy(store, database, row.e164, there=True)
            if len(rows) < PAGE:
                return
            after = rows[-1].e164

    async def _copy(self, store: IConferenceStore, database: IConferenceDatabase, e164: str, *, there: bool) -> bool:
        """Make Redis what SQL has. @return: False: a write is under way there already."""
        above = await database.template_version(e164)
        version = self._epochs.next(self._clocks.now_ms(store.platform), above)
        intent = TemplateIntent(e164, Verb.COPY, version, None)
        if await self._keep(store, intent, "", None, there) is not Outcome.DONE:
            return False
        await self._do(store, intent)
        return True


def _number(e164: str) -> str:
    """Under which a template's effects wait: not under the conference's own number, whose effects keep an order."""
    return f"{e164}?template"


def _standing_key(e164: str) -> str:
    return f"css/template/{e164}"


def _mark(intent: TemplateIntent) -> str:
    return f"{intent.version}.0.{intent.e164}"


def _fields(row: TemplateRow | None, platform: str) -> Fields | None:
    """Fields of `pubtemplate/<e164>`; None: it is not this platform's."""
    if row is None or row.platformmoid != platform:
        return None
    return {"moid": row.moid, "name": row.name, "content": row.content}
