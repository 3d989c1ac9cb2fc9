"""What is due and can't be read, however often it is looked at: other hands have written it, or another CSS."""

from __future__ import annotations

from twisted.logger import Logger

from css.domain.errors import Unreadable
from css.handlers.tally import Tally
from css.ports.store import Commit, IConferenceStore, StoreError, WrongType

UNREADABLE = (Unreadable, WrongType)
"""What tells that another look is of no use unless somebody mends it."""
AGAIN_MS = 600_000
"""When it is looked at again: somebody may have mended it, or what was to be remembered for a while only has gone."""
MOST_TOLD = 10_000


class NothingThere(Exception):
    """What is due has no record: other hands have deleted it, or Redis has, to make room."""


class SetAside:
    """Puts it off, and says so once an instance: every few seconds it would fill the log, and keep Redis busy."""

    log = Logger()

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._told: set[tuple[str, str, str]] = set()

    async def put(self, store: IConferenceStore, index: str, number: str, error: Exception) -> None:
        """Have a member of an index fall due again much later. Never fails."""
        self._tally.count("set_aside")
        self.tell(store, number, f"what is due in css/index/{index}", error)
        try:
            due_ms = await store.now_ms() + AGAIN_MS
            await store.commit(Commit(e164=number, touch_record=False, index_add={index: due_ms}))
        except StoreError as failed:
            self.log.info("{number} is not set aside yet: {error}", number=number, error=str(failed))

    async def drop(self, store: IConferenceStore, index: str, number: str) -> None:
        """Have a number without a record fall due no more; one that has a record again stays. Never fails."""
        self._tally.count("dropped_from_index")
        self.log.info("{number}: due in css/index/{index}, and there is no record of it", number=number, index=index)
        try:
            await store.commit(Commit(e164=number, delete_record=True, index_drop=(index,)))
        except StoreError as failed:
            self.log.info("{number} is not dropped yet: {error}", number=number, error=str(failed))

    def tell(self, store: IConferenceStore, number: str, what: str, error: Exception) -> None:
        """Say, once, that something of a number can't be read."""
        known = (store.platform, number, what)
        if known in self._told:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add(known)
        self.log.error(
            "{number}: ALERT: {what} of {platform} can't be read, and is left alone: {error}",
            number=number,
            what=what,
            platform=store.platform,
            error=str(error),
        )
