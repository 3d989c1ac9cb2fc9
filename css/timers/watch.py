"""Who has gone: MCU processes that disconnected or fell silent, and rooms that are abnormal (seed 1.2, 9.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from twisted.logger import Logger

from css.handlers.liveness import Liveness
from css.handlers.restoring import Restoring
from css.handlers.tally import Tally
from css.ports.store import IPlatformState, McuSeen, StoreError

LEASE_MS = 5_000
PAGE = 100


class McuWatch:
    """One round takes what ran on MCU processes that have gone.

    Whether an instance may judge silence at all is `Liveness`'s business. If more than half of all known processes
    fell silent within one time-out, that is more likely one's own fault: they get one more time-out, and it is said.

    @param timeout_ms: silence of this length means that a process has gone.
    """

    log = Logger()

    def __init__(
        self,
        state: Callable[[], IPlatformState],
        liveness: Liveness,
        restoring: Restoring,
        tally: Tally,
        timeout_ms: int,
    ) -> None:
        self._state = state
        self._liveness = liveness
        self._restoring = restoring
        self._tally = tally
        self._timeout_ms = timeout_ms
        self._suspicious = False
        self._lost_ms: list[int] = []

    async def tick(self) -> None:
        """One round. Fails with `StoreError`; what was not finished is claimed again after its lease."""
        try:
            believable = await self._gone()
        except StoreError:
            # Others may have written signs of life that this instance could not read.
            self._liveness.interrupted()
            raise
        failed: StoreError | None = None
        for process in believable:
            try:
                await self._lose(process)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _lose(self, process: McuSeen) -> None:
        how = "fell silent" if process.time_ms else "disconnected"
        await self._restoring.lose(process, f"MCU {process.ip} process {process.pid} {how}")
        await self._state().forget_processes([process])
        self._tally.count("mcus_lost")

    async def _gone(self) -> list[McuSeen]:
        silent_before_ms = self._liveness.silent_before_ms()
        gone = await self._state().claim_gone(max(1, silent_before_ms), LEASE_MS, PAGE)
        silent = [each for each in gone if each.time_ms]
        if not silent and not self._suspicious:
            return gone
        if not await self._are_too_many(silent_before_ms):
            self._suspicious = False
            self._lost_ms += [silent_before_ms] * len(silent)
            return gone
        return [each for each in gone if each.time_ms < silent_before_ms - self._timeout_ms]

    async def _are_too_many(self, silent_before_ms: int) -> bool:
        """Whether more than half of all processes have vanished within one time-out.

        Those count too that have been quiet for three fifths of it, longer than any that is alive: what takes the
        signs of all away takes them from each at its own time.
        """
        self._lost_ms = [time_ms for time_ms in self._lost_ms if time_ms > silent_before_ms - self._timeout_ms]
        quiet = await self._state().known_processes(silent_before_ms + 2 * self._timeout_ms // 5) + len(self._lost_ms)
        known = await self._state().known_processes() + len(self._lost_ms)
        if 2 * quiet <= known:
            return False
        if not self._suspicious:
            self._suspicious = True
            self._tally.count("mass_losses_suspected")
            self.log.error(
                "ALERT: {quiet} of {known} MCU processes fell silent at once: one more time-out is waited",
                quiet=quiet,
                known=known,
            )
        return True


class RoomWatch:
    """One round takes what is in abnormal rooms off them: a standing condition, so a crash in mid-way does no harm."""

    def __init__(self, state: Callable[[], IPlatformState], restoring: Restoring) -> None:
        self._state = state
        self._restoring = restoring

    async def tick(self) -> None:
        """One round. Fails with the last `StoreError`, after all rooms and their hosts have been looked at."""
        failed: StoreError | None = None
        for void in await self._voids():
            try:
                await void()
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _voids(self) -> list[Callable[[], Awaitable[int]]]:
        """What takes all off each abnormal room, and off each process of its hosts: what was placed on a host before it
        said in which room it is has the room that RMS gave in its record."""
        rooms = await self._state().abnormal_rooms()
        voids: list[Callable[[], Awaitable[int]]] = [partial(self._restoring.void_room, room) for room in sorted(rooms)]
        for host in await self._state().hosts() if rooms else []:
            if host.roommoid in rooms:
                voids += [partial(self._restoring.void_process, host.ip, pid, host.roommoid) for pid in host.processes]
        return voids
