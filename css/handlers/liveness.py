"""Signs of life of MCU processes: noted in memory, written to the own Redis in one step now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable

from twisted.logger import Logger

from css.handlers.clocks import StoreClocks
from css.messages.base import Message
from css.ports.store import IPlatformState, McuSeen, StoreError

SHORTEST_STALL_MS = 2_000
"""A shorter stall of this instance never counts."""

KEPT_TIMEOUTS = 10
"""What was not heard of for so many time-outs is forgotten here."""


class Liveness:
    """Notes who was heard of, and writes it down in batches.

    One that was itself frozen, or could not write, for a third of the time-out (in which every MCU owes a heartbeat)
    judges nobody until it has listened for a whole time-out again.

    @param timeout_ms: silence of this length means that a process has gone.
    """

    log = Logger()

    def __init__(self, own: str, state: Callable[[], IPlatformState], clocks: StoreClocks, timeout_ms: int) -> None:
        self._own = own
        self._state = state
        self._clocks = clocks
        self._timeout_ms = timeout_ms
        self._seen: dict[tuple[str, str], McuSeen] = {}
        self._written_ms: dict[tuple[str, str], int] = {}
        self._rooms: dict[tuple[str, str], str] = {}
        self._judging_from_ms: int | None = None
        self._deaf_after_ms = max(SHORTEST_STALL_MS, timeout_ms // 3)
        self._kept_up_ms = 0
        self._linked = True

    def begin_to_consume(self, grace_ms: int = 0) -> None:
        """Silence counts from now on; what came before was not heard. Nobody is judged for `grace_ms` (seed 9.5)."""
        self._kept_up_ms = self._clocks.now_ms(self._own)
        self._judging_from_ms = self._kept_up_ms + max(grace_ms, self._timeout_ms)

    def link_changed(self, connected: bool) -> None:
        """The link to the own broker: while it is down nobody can be heard, so nobody is judged."""
        self._linked = connected
        self.interrupted()

    def interrupted(self) -> None:
        """This instance could not see or think for a while: it judges nobody until it has watched for a time-out."""
        if self._judging_from_ms is not None:
            now_ms = self._clocks.now_ms(self._own)
            self._judging_from_ms = max(self._judging_from_ms, now_ms + self._timeout_ms)

    def silent_before_ms(self) -> int:
        """Processes last seen before this time count as silent; 0 while nobody can be judged yet."""
        now_ms = self._clocks.now_ms(self._own)
        if not self._linked or self._judging_from_ms is None or now_ms < self._judging_from_ms:
            return 0
        return 0 if self._is_deaf(now_ms) else now_ms - self._timeout_ms

    def _is_deaf(self, now_ms: int) -> bool:
        """Whether it is too long since all that was heard was written down."""
        return now_ms - self._kept_up_ms > self._deaf_after_ms

    def _keep_up(self) -> None:
        """All that was heard is written down."""
        now_ms = self._clocks.now_ms(self._own)
        if self._judging_from_ms is not None and self._is_deaf(now_ms):
            self.interrupted()
            self.log.warn(
                "signs of life were not noted for {seconds} s: no MCU is judged by its silence for {timeout} s",
                seconds=(now_ms - self._kept_up_ms) // 1000,
                timeout=self._timeout_ms // 1000,
            )
        self._kept_up_ms = now_ms

    def notice(self, message: Message) -> None:
        """Take any decoded message: one with an `ip` and a `pid` is a sign of life of that process."""
        ip, pid = getattr(message, "ip", ""), getattr(message, "pid", "")
        if ip and pid:
            self.note(ip, pid, getattr(message, "roommoid", "") or "")

    def note(self, ip: str, pid: str, roommoid: str = "") -> None:
        """A process was heard of just now; `roommoid` empty: it did not say where it is."""
        key = (ip, pid)
        now_ms = self._clocks.now_ms(self._own)
        news = bool(roommoid) and self._rooms.get(key) != roommoid
        if news:
            self._rooms[key] = roommoid
        # Written once in a sixth of the time-out: often enough to be judged by, however much is said.
        if news or now_ms - self._written_ms.get(key, 0) >= self._timeout_ms // 6:
            self._seen[key] = McuSeen(ip, pid, now_ms, self._rooms.get(key, ""))

    def confirmed(self, ip: str, pid: str) -> None:
        """Something has begun to run on a process just now. That is written however lately this instance wrote of it:
        another one may have taken the process for gone since, and nobody would watch over what has begun."""
        self._written_ms.pop((ip, pid), None)
        self.note(ip, pid)

    async def disconnected(self, ip: str, pid: str) -> None:
        """The link layer says that a process has gone: written at once. Fails with `StoreError`."""
        key = (ip, pid)
        self._seen.pop(key, None)
        self._written_ms.pop(key, None)
        self._rooms.pop(key, None)
        await self._state().note_seen([McuSeen(ip, pid, 0)])
        self.log.info("MCU {ip} process {pid} has disconnected", ip=ip, pid=pid)

    async def flush(self) -> None:
        """Write what was noted. Fails with `StoreError`; it is then written at the next flush.

        To be called often: a call that comes late shows that this instance has been stalled.
        """
        self._forget_old()
        if self._seen:
            await self._write()
        self._keep_up()

    async def _write(self) -> None:
        seen, self._seen = self._seen, {}
        for key, each in seen.items():
            self._written_ms.pop(key, None)  # so that they stay in the order of their times
            self._written_ms[key] = each.time_ms
        try:
            await self._state().note_seen(list(seen.values()))
        except StoreError:
            # Those that have disconnected meanwhile are no longer noted as written, nor to be written.
            still = {key: each for key, each in seen.items() if self._written_ms.pop(key, None) is not None}
            self._seen = still | self._seen
            raise

    def _forget_old(self) -> None:
        """Processes that were not heard of for long take no room."""
        horizon_ms = self._clocks.now_ms(self._own) - KEPT_TIMEOUTS * self._timeout_ms
        if self._oldest_ms() < horizon_ms:
            old = [key for key, time_ms in self._written_ms.items() if time_ms < horizon_ms]
            for key in old:
                del self._written_ms[key]
                if key not in self._seen:
                    self._rooms.pop(key, None)

    def _oldest_ms(self) -> int:
        """When the process that was written first (and not since) was written."""
        return next(iter(self._written_ms.values()), sys.maxsize)
