"""Work that one instance does for all of its platform, after something that all have noticed."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from twisted.logger import Logger

from css.handlers.clocks import StoreClocks
from css.ports.store import Commit, IConferenceStore, Outcome, StoreError

LEASE_MS = 5_000
"""Whoever is killed in the middle must not keep the others from it for long: UPU is to be true again in ten seconds."""
MARGIN_MS = 200
"""By how much the instances' ideas of the own store's clock may differ."""


class Turn(enum.Enum):
    """Whose turn it is."""

    MINE = "mine"
    """Do it, then `finish`; say `go_on` meanwhile."""
    OTHERS = "others"
    """Another instance is on it; look again."""
    DONE = "done"


class Turns:
    """Kept in the own Redis, as `css/turn/<name>`: when the work was begun last, and the lease of whoever is on it.

    @param session: a text that no other run of any instance has.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        clocks: StoreClocks,
        session: str,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._own = own
        self._stores = stores
        self._clocks = clocks
        self._session = session
        self._lease_ms = lease_ms
        self._held: dict[str, str] = {}

    async def begin(self, name: str, since_ms: int) -> Turn:
        """Ask for the turn. Fails with `StoreError`.

        @param since_ms: milliseconds of the own store's clock: work that was begun before this, by others, is no good.
        """
        known = await self._store.read_string(_key(name))
        begun_ms, until_ms, owner = _parsed(known)
        if not until_ms and begun_ms > since_ms + MARGIN_MS:
            return Turn.DONE
        now_ms = self._clocks.now_ms(self._own)
        if until_ms > now_ms and owner != self._session:
            return Turn.OTHERS
        wanted = f"{now_ms} {now_ms + self._lease_ms} {self._session}"
        return Turn.MINE if await self._swap(name, known, wanted) else Turn.OTHERS

    async def go_on(self, name: str) -> bool:
        """Keep the turn. Fails with `StoreError`. @return: False: it took too long, and another instance has it."""
        held = self._held.get(name, "")
        begun_ms, held_until_ms, _ = _parsed(held)
        until_ms = self._clocks.now_ms(self._own) + self._lease_ms
        if held and until_ms - held_until_ms < self._lease_ms // 4:
            return True
        return bool(held) and await self._swap(name, held, f"{begun_ms} {until_ms} {self._session}")

    async def finish(self, name: str) -> bool:
        """The work is done. Fails with `StoreError`. @return: as `go_on`."""
        held = self._held.get(name, "")
        begun_ms, _, _ = _parsed(held)
        return bool(held) and await self._swap(name, held, f"{begun_ms} 0 {self._session}")

    async def is_done(self, name: str, since_ms: int) -> bool:
        """Whether work that was begun after a time is done. Fails with `StoreError`."""
        begun_ms, until_ms, _ = _parsed(await self._store.read_string(_key(name)))
        return not until_ms and begun_ms > since_ms

    async def note(self, name: str, at_ms: int) -> None:
        """Say, for whoever asks `noted`, that something held until a time. Fails with `StoreError`."""
        strings = {_key(name): f"{at_ms} 0 {self._session}"}
        await self._store.commit(Commit(e164="", touch_record=False, strings=strings))

    async def noted(self, name: str) -> int:
        """The time that was noted last, by whomever; 0: never. Fails with `StoreError`."""
        return _parsed(await self._store.read_string(_key(name)))[0]

    @property
    def _store(self) -> IConferenceStore:
        store = self._stores.get(self._own)
        if store is None:
            raise StoreError("the own Redis is not known yet")
        return store

    async def _swap(self, name: str, before: str, after: str) -> bool:
        key = _key(name)
        commit = Commit(e164="", touch_record=False, guards=((key, before),), strings={key: after})
        self._held.pop(name, None)
        if (await self._store.commit(commit)).outcome is not Outcome.DONE:
            return False
        self._held[name] = after
        return True


def _key(name: str) -> str:
    return f"css/turn/{name}"


def _parsed(text: str) -> tuple[int, int, str]:
    """When it was begun, until when the lease runs (0: done), whose it is; what can't be read was never begun."""
    begun, _, rest = text.partition(" ")
    until, _, owner = rest.partition(" ")
    if not (begun.isdecimal() and until.isdecimal()):
        return 0, 0, ""
    return int(begun), int(until), owner
