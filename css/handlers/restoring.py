"""Losing placements and finding others: MCUs that have gone, abnormal rooms, restores (seed 1.2, 9.1, 9.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace
from twisted.logger import Logger

from css.domain import expiry
from css.domain.conference import Conference, Situation, from_fields, pending_index, restore_index
from css.domain.epochs import EpochSource
from css.domain.events import Event, McuLost, PlatformLost, RestoreBegins, Voided
from css.domain.ledger import recovery_name
from css.domain.losses import AbnormalProcess, AbnormalRoom, Loss, LostProcess
from css.handlers.aside import UNREADABLE, NothingThere, SetAside
from css.handlers.clocks import StoreClocks
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.ports.ledger import ILedger, Recovery
from css.ports.store import IConferenceStore, McuSeen, StoreError

T = TypeVar("T")

PAGE = 200
MakeEvent = Callable[[Conference, int], Event | None]
"""Makes the event from the record and the store's time; None: the conference is not concerned."""


class Pending(msgspec.Struct):
    """A conference that waits to be restored."""

    store: IConferenceStore
    conference: Conference


class Restoring:
    """Takes conferences off what has gone, and begins their restores."""

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        ledger: Callable[[], ILedger],
        clocks: StoreClocks,
        epochs: EpochSource,
        steps: Steps,
        overdue: Callable[[IConferenceStore, str], Awaitable[None]],
        tally: Tally,
    ) -> None:
        self._own = own
        self._stores = stores
        self._ledger = ledger
        self._clocks = clocks
        self._epochs = epochs
        self._steps = steps
        self._overdue = overdue
        self._aside = SetAside(tally)
        self._tally = tally

    async def lose(self, process: McuSeen, detected: str) -> int:
        """Make what ran on an MCU process `pending_restore`, in every store.

        @param detected: how it was noticed, for the ledger.
        @return: how many there were. Fails with `StoreError`; what was done stays done.
        """
        loss = LostProcess(self._own, process.ip, process.pid)
        return await self.take_off(self._stores.values(), loss, self.recovery(loss, detected))

    async def void_room(self, roommoid: str) -> int:
        """Take everything off a room that is abnormal, in every store. To be repeated while it is abnormal.

        @return: how many there were. Fails with `StoreError`; what was done stays done.
        """

        return await self._void(AbnormalRoom(self._own, roommoid))

    async def void_process(self, ip: str, pid: str, roommoid: str) -> int:
        """Take everything off an MCU process that says that it is in an abnormal room. As `void_room`."""

        return await self._void(AbnormalProcess(self._own, ip, pid, roommoid))

    async def _void(self, loss: Loss) -> int:
        recovery = self.recovery(loss, "the PMS says that the room is abnormal")
        return await self.take_off(self._stores.values(), loss, recovery)

    def recovery(self, loss: Loss, detected: str) -> Recovery:
        """A new one, not entered yet: that comes with its first conference."""
        begun_ms = self._clocks.now_ms(self._own)
        name = recovery_name(loss.kind, loss.subject, begun_ms, self._own)
        return Recovery(name, loss.kind, loss.subject, detected, begun_ms)

    async def take_off(
        self,
        stores: Iterable[IConferenceStore],
        loss: Loss,
        recovery: Recovery,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> int:
        """Make a step of each conference that a loss concerns in some stores. @return: how many are to be restored.

        @param goes_on: False: it is no loss any more; the rest stays.

        Fails with the last `StoreError`, after all stores have been tried.
        """

        def event(c: Conference, now_ms: int) -> Event | None:
            if not goes_on():
                return None
            return loss.event(c, now_ms, lambda: self._epochs.next(now_ms, c.epoch), recovery.name)

        entry = _Entry(self._ledger, recovery)
        changed, failed = 0, None
        for store in list(stores):
            try:
                cursor = ""
                while True:
                    page, cursor = await store.page_index(loss.index, cursor, PAGE)
                    changed += await self._step_all(store, page, loss.step, event, entry)
                    if not cursor:
                        break
            except StoreError as error:
                failed = error
        if changed:
            self.log.warn(
                "recovery {name}: {detected}: {count} conferences are to be restored",
                name=entry.name,
                detected=recovery.detected,
                count=changed,
            )
        if failed is not None:
            raise failed
        return changed

    async def _step_all(
        self, store: IConferenceStore, numbers: list[str], name: str, event: MakeEvent, entry: _Entry
    ) -> int:
        """Fails with `StoreError`; one that can't be read, or whose step fails otherwise, holds up no other one."""

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            made = None if c is None else event(c, now_ms)
            if isinstance(made, McuLost | Voided | PlatformLost) and made.recovery:
                made = replace(made, recovery=await entry.open())
            return made

        async def step(e164: str) -> bool:
            try:
                decision = await self._steps.take(store, e164, name, prepare)
            except UNREADABLE as error:
                self._aside.tell(store, e164, "the record", error)
                return False
            except StoreError:
                raise
            except Exception:
                self.log.failure("{e164}: ALERT: its step {name} failed", e164=e164, name=name)
                return False
            return decision is not None and decision.changed and decision.record is not None

        return sum(await all_of(step(e164) for e164 in numbers))

    async def load(self, store: IConferenceStore, numbers: list[str]) -> list[Pending]:
        """What waits to be restored among these numbers, in their order. What is only due otherwise (its end, an
        answer that did not come) is taken care of here. One that can't be read keeps no other one waiting."""
        index = restore_index(store.platform)
        looked = await all_of(self._kept_apart(store, index, e164, self._look(store, e164)) for e164 in numbers)
        return [each for each in looked if each is not None]

    async def settle(self, store: IConferenceStore, numbers: list[str]) -> None:
        """Take care of what is due of these numbers and is no attempt. Never fails, as `load`."""
        index = pending_index(store.platform)
        await all_of(self._kept_apart(store, index, e164, self._overdue(store, e164)) for e164 in numbers)

    async def _look(self, store: IConferenceStore, e164: str) -> Pending | None:
        loaded = await store.load(e164)
        if not loaded.record:
            raise NothingThere(e164)
        c = from_fields(e164, loaded.record, loaded.conf)
        is_over = expiry.is_over(c, max(c.due_ms, self._clocks.now_ms(store.platform)))
        if c.situation is Situation.PENDING_RESTORE and not c.legacy and not is_over:
            return Pending(store, c)
        await self._overdue(store, e164)
        return None

    async def _kept_apart(self, store: IConferenceStore, index: str, e164: str, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except UNREADABLE as error:
            await self._aside.put(store, index, e164, error)
        except NothingThere:
            await self._aside.drop(store, index, e164)
        except StoreError as error:
            self.log.info("{e164}: due, but its step waits: {error}", e164=e164, error=str(error))
        except Exception:
            self.log.failure("{e164}: ALERT: due, but its step failed", e164=e164)
        return None

    async def begin(self, pending: Pending) -> None:
        """Its turn has come: RMS is asked. Fails with `StoreError`."""

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            return None if c is None else RestoreBegins(now_ms=now_ms)

        self._tally.count("restores_begun")
        await self._steps.take(pending.store, pending.conference.e164, "restore", prepare)


class _Entry:
    """A recovery's entry in the ledger: made with the first conference that is part of it."""

    def __init__(self, ledger: Callable[[], ILedger], recovery: Recovery) -> None:
        self._ledger = ledger
        self._recovery = recovery
        self._name = ""

    @property
    def name(self) -> str:
        """As it is in the ledger."""
        return self._name or self._recovery.name

    async def open(self) -> str:
        """Before its first step, so that the step finds it. Fails with `StoreError`.

        @return: its name; another instance's, if that has just noticed the same loss.
        """
        if not self._name:
            self._name = await self._ledger().open(self._recovery)
        return self._name
