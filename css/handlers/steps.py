"""The one step that everything is made of: load, decide, commit, carry out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec
from twisted.logger import Logger

from css.domain.conference import (
    PASSING_FIELDS,
    Conference,
    Fields,
    Size,
    State,
    from_fields,
    indexes,
    ready_index,
    restore_index,
    to_conf_fields,
    to_fields,
)
from css.domain.decision import Decision
from css.domain.effects import Effect
from css.domain.epochs import over_by
from css.domain.events import Event, Rules
from css.domain.machine import decide
from css.handlers.clocks import StoreClocks
from css.handlers.effects import Composed, Composer
from css.handlers.outbox import Outbox
from css.handlers.probes import Probe
from css.handlers.tally import Tally
from css.handlers.tracker import NumberLocks
from css.ports.store import (
    Commit,
    CommitResult,
    IConferenceStore,
    Loaded,
    Outcome,
    RequestWrite,
    Reservation,
    StoreError,
    Tombstone,
)

TOMBSTONE_SECONDS = 24 * 3600
"""How long an ended conference's epoch and reason are kept."""
MAX_CONFLICTS = 20
"""How often a step is decided again because another instance was faster."""


class Known(msgspec.Struct, gc=False):
    """A record as it was read, or last written by this instance."""

    fields: Fields
    conference: Conference | None
    indexes: dict[str, int] | None = None
    """`indexes` of the conference, if they were made already."""
    written_by: tuple[IConferenceStore, int] | None = None
    """If this instance wrote it: by which store, and the `links` of that."""


class Prepared(msgspec.Struct, gc=False):
    """A decision and the commit that makes it true."""

    commit: Commit
    decision: Decision
    composed: Composed
    after: Conference | None
    fields: Fields
    """Of `after`, if the decision changes the record."""
    indexes: dict[str, int]
    """Likewise."""
    mark: str


Prepare = Callable[[Conference | None, int], Awaitable[Event | None]]
"""Makes the event from the record and the store's time; None: nothing is to be done."""


class Steps:
    """Takes conferences from one state to the next.

    Within the instance a conference makes one step at a time. A record that this instance itself wrote last is kept as
    a hint, which saves the read; the version check makes a stale one harmless wherever the record is to be changed. One
    from before the store's link came up anew is not used: after a failover the same version may be another's.
    """

    log = Logger()
    HINTS = 20_000

    def __init__(
        self,
        rules: Rules,
        clocks: StoreClocks,
        composer: Composer,
        outbox: Outbox,
        tally: Tally,
        probe: Probe,
    ) -> None:
        self.rules = rules
        self.clocks = clocks
        self._composer = composer
        self._outbox = outbox
        self._tally = tally
        self._probe = probe
        self._locks = NumberLocks()
        self._hints: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self.may_write: Callable[[], bool] = lambda: True
        """Whether a step may be committed now. One that may not fails with `StoreError`."""
        self.says_why = False
        """Whether each step is logged with its reason. It costs more than the step's own thinking."""

    async def take(
        self, store: IConferenceStore, e164: str, name: str, prepare: Prepare, request: RequestWrite | None = None
    ) -> Decision | None:
        """Make one step of a conference that may exist.

        @param name: of the step, for probes and the log.
        @param request: the memory of the request that causes it, if it is to be checked: see `Commit.request`.
        @return: the decision; None: `prepare` found nothing to do, or the request is a repetition.
        """
        turn = self._locks.enter(e164)
        if turn is not None:
            await turn
        try:
            self._probe(name, "before_load")
            hint = self._hint(store, e164)
            known = hint or await self.read(store, e164)
            return await self._until_committed(store, e164, name, prepare, known, hint is not None, request)
        finally:
            self._locks.leave(e164)

    async def start(
        self,
        store: IConferenceStore,
        e164: str,
        name: str,
        decision: Decision,
        now_ms: int,
        extras: Callable[[Commit], Commit],
    ) -> CommitResult:
        """Make the first step of a conference that must not exist yet.

        @param extras: adds to the commit what only a beginning has (reservations, guards …).
        """
        turn = self._locks.enter(e164)
        if turn is not None:
            await turn
        try:
            prepared = self._prepared(store, e164, Known({}, None), decision, now_ms)
            prepared.commit = extras(prepared.commit)
            self._probe(name, "before_commit")
            result = await self._commit(store, prepared.commit)
            if result.outcome is Outcome.DONE:
                await self._carry_out(store, e164, name, prepared, result)
            return result
        finally:
            self._locks.leave(e164)

    async def read(self, store: IConferenceStore, e164: str) -> Known:
        """The record as the store has it now. Fails with `StoreError`."""
        return _known(e164, await store.load(e164))

    async def _until_committed(
        self,
        store: IConferenceStore,
        e164: str,
        name: str,
        prepare: Prepare,
        known: Known,
        is_hint: bool,
        request: RequestWrite | None,
    ) -> Decision | None:
        for _ in range(MAX_CONFLICTS):
            now_ms = self.clocks.now_ms(store.platform)
            event = await prepare(known.conference, now_ms)
            decision = decide(known.conference, event, self.rules) if event else None
            if is_hint and (decision is None or not decision.changed):
                # No version is checked where the record is left alone, so a stale hint would do harm here.
                self._hints.pop((store.platform, e164), None)
                known, is_hint = await self.read(store, e164), False
                continue
            if decision is None:
                return None
            prepared = self._prepared(store, e164, known, decision, now_ms)
            prepared.commit = msgspec.structs.replace(prepared.commit, request=request) if request else prepared.commit
            if _is_empty(prepared.commit):
                return decision
            self._probe(name, "before_commit")
            result = await self._commit(store, prepared.commit)
            if result.outcome is Outcome.DONE:
                await self._carry_out(store, e164, name, prepared, result)
                return decision
            if result.outcome is Outcome.DUPLICATE or result.loaded is None:
                return None
            known, is_hint = _known(e164, result.loaded), False
        raise StoreError(f"conference {e164}: others changed its record {MAX_CONFLICTS} times in a row")

    async def _commit(self, store: IConferenceStore, commit: Commit) -> CommitResult:
        """Commit, and with it forget what earlier steps of the number have carried out."""
        if not self.may_write():
            raise StoreError("the own platform is abnormal: no record is written")
        cleared = self._outbox.cleared(store, commit.e164)
        if cleared:
            commit = msgspec.structs.replace(commit, cleared=cleared)
        try:
            result = await store.commit(commit)
        except Exception:
            self._forget(store, commit)
            raise
        if result.outcome is not Outcome.DONE:
            self._forget(store, commit)
        return result

    def _forget(self, store: IConferenceStore, commit: Commit) -> None:
        self._hints.pop((store.platform, commit.e164), None)
        self._outbox.not_cleared(store, commit.e164, commit.cleared)

    def _prepared(self, store: IConferenceStore, e164: str, known: Known, decision: Decision, now_ms: int) -> Prepared:
        before = known.conference
        after = decision.record if decision.changed else before
        subject = after or before
        epoch = subject.epoch if subject else 0
        version = (before.version if before else 0) + (1 if decision.changed else 0)
        if subject is None:
            subject = _nobody(e164, store.platform, epoch)
        version += subject.version_base
        # A step that leaves the record alone shares its version with others, but no mark and no message id.
        salt = "" if decision.changed else f"{now_ms}-{_digest(decision.effects)}"
        record = decision.record if decision.changed else None
        fields = to_fields(record) if record is not None else {}
        composed = self._composer.compose(decision.effects, subject, (epoch, version, salt), now_ms, fields)
        mark = f"{epoch}.{version}.{salt}" if salt else f"{epoch}.{version}"
        entries = self._outbox.entries(composed.parcels, mark, now_ms, composed.abroad)
        new_indexes = indexes(record) if record is not None else {}
        commit = _commit_of(e164, known, decision, fields, new_indexes, now_ms)
        commit = msgspec.structs.replace(commit, outbox=entries, answers=tuple(composed.answers))
        return Prepared(commit, decision, composed, after, fields, new_indexes, mark)

    async def _carry_out(
        self, store: IConferenceStore, e164: str, name: str, prepared: Prepared, result: CommitResult
    ) -> None:
        self._probe(name, "after_commit")
        self._remember(store, e164, prepared)
        decision = prepared.decision
        self._tally.count(f"step_{name}")
        if self.says_why:
            self.log.debug("{e164}: {because}", e164=e164, because=decision.because)
        await self._outbox.carry_out(store, e164, prepared.composed.parcels, prepared.mark, result.waiting)
        self._probe(name, "after_confirm")

    def _hint(self, store: IConferenceStore, e164: str) -> Known | None:
        hint = self._hints.get((store.platform, e164))
        return hint if hint is not None and hint.written_by == (store, store.links) else None

    def _remember(self, store: IConferenceStore, e164: str, prepared: Prepared) -> None:
        key = (store.platform, e164)
        if prepared.after is None:
            self._hints.pop(key, None)
            return
        if prepared.decision.changed:
            after = msgspec.structs.replace(prepared.after, version=prepared.after.version + 1)
            self._hints[key] = Known(prepared.fields, after, prepared.indexes, (store, store.links))
            self._hints.move_to_end(key)
            if len(self._hints) > self.HINTS:
                self._hints.popitem(last=False)


def _known(e164: str, loaded: Loaded) -> Known:
    if not loaded.record:
        return Known({}, None)
    return Known(loaded.record, from_fields(e164, loaded.record, loaded.conf))


def _digest(effects: tuple[Effect, ...]) -> str:
    """Tells the effects of two steps apart that leave the record alone in the same millisecond."""
    return hashlib.sha1(repr(effects).encode(), usedforsecurity=False).hexdigest()[:12]


def _is_empty(commit: Commit) -> bool:
    return not commit.touch_record and not commit.outbox and commit.request is None


def _nobody(e164: str, platform: str, epoch: int) -> Conference:
    """Stands for a conference without a record, about which an MCU is told something."""
    return Conference(
        e164=e164,
        moid="",
        source=platform,
        platformmoid=platform,
        state=State.CREATING,
        epoch=epoch,
        first_epoch=epoch,
    )


def _commit_of(
    e164: str, known: Known, decision: Decision, fields: Fields, new_indexes: dict[str, int], now_ms: int
) -> Commit:
    """The record's part of a commit. @param fields, new_indexes: of the record after the step, if that changes it."""
    before = known.conference
    expected = (str(before.first_epoch), before.version) if before else None
    if not decision.changed:
        return Commit(e164=e164, touch_record=False)
    if decision.record is None:
        assert before is not None  # only what exists can end
        return _ending(e164, before, expected, decision, now_ms)
    after = decision.record
    if before is None:
        return Commit(
            e164=e164,
            set_fields=fields,
            set_conf=to_conf_fields(after) if after.has_run else None,
            index_add=new_indexes,
        )
    old, old_indexes = known.fields, _known_indexes(before, known.indexes)
    return Commit(
        e164=e164,
        expected=expected,
        set_fields={name: value for name, value in fields.items() if old.get(name) != value},
        drop_fields=tuple([name for name in PASSING_FIELDS if name in old and name not in fields]),
        set_conf=to_conf_fields(after) if after.has_run and _conf_changed(before, after) else None,
        index_add={name: score for name, score in new_indexes.items() if old_indexes.get(name) != score},
        index_drop=tuple([name for name in old_indexes if name not in new_indexes]),
    )


def _known_indexes(c: Conference, made: dict[str, int] | None = None) -> dict[str, int | None]:
    """Every index that a record may be in; None: whether it is, and with which score, only the store knows.

    @param made: `indexes` of it, if they were made already.
    """
    found: dict[str, int | None] = {**(indexes(c) if made is None else made)}
    if c.state is State.PENDING_RESTORE and restore_index(c.source) in found:
        found |= {restore_index(c.source): None, ready_index(c.source): None}
    return found


def _conf_changed(before: Conference, after: Conference) -> bool:
    return not before.has_run or to_conf_fields(before) != to_conf_fields(after)


def _ending(e164: str, before: Conference, expected: tuple[str, int] | None, decision: Decision, now_ms: int) -> Commit:
    reason = decision.ended.value if decision.ended else ""
    tombstone = {"epoch": str(over_by(before.epoch, now_ms)), "reason": reason, "time": str(now_ms // 1000)}
    return Commit(
        e164=e164,
        expected=expected,
        delete_record=True,
        index_drop=tuple(_known_indexes(before)),
        unreserve=tuple((licence_set(moid, before.size), before.licence_member) for moid in before.licensed_under),
        tombstone=Tombstone(tombstone, TOMBSTONE_SECONDS),
    )


def licence_set(moid: str, size: Size) -> str:
    """Name of the set that counts a domain's conferences of one size."""
    return f"licence/{moid}/{size.value}"


def reservations(c: Conference) -> tuple[Reservation, ...]:
    """The places that a new conference takes: under its user domain's limit and under its platform's (seed 4.6)."""
    return tuple(
        Reservation(
            set_name=licence_set(moid, c.size),
            member=c.licence_member,
            limit_key=f"domain/{moid}/license",
            limit_field=f"{c.size.value}confnum",
            required=moid == c.source,
        )
        for moid in c.licensed_under
    )
