"""Signs of life of MCU processes: noted in memory, written to the own Redis in one step now and then."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from css.handlers.clocks import StoreClocks
from css.messages.base import Message
from css.ports.store import IPlatformState, McuSeen, StoreError

SHORTEST_STALL_MS = 2_000
"""A shorter stall of this instance never counts."""


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
        self._deaf_after_ms = max(SHORTEST_STALL_MS, timeout_ms // 3)
        self._judging_since_ms: int | None = None
        self._kept_up_ms = 0

    def begin_to_consume(self) -> None:
        """Silence counts from now on: what came before could not be heard. Call it also when the broker is back."""
        self._judging_since_ms = self._kept_up_ms = self._clocks.now_ms(self._own)

    def stop_consuming(self) -> None:
        """The broker is away: nobody can be heard, so nobody is judged before `begin_to_consume`."""
        self._judging_since_ms = None

    def silent_before_ms(self) -> int:
        """Processes last seen before this time count as silent; 0 while nobody can be judged yet."""
        now_ms = self._clocks.now_ms(self._own)
        since = self._judging_since_ms
        if since is None or now_ms - since < self._timeout_ms or self._is_deaf(now_ms):
            return 0
        return now_ms - self._timeout_ms

    def _is_deaf(self, now_ms: int) -> bool:
        """Whether it is too long since all that was heard was written down."""
        return now_ms - self._kept_up_ms > self._deaf_after_ms

    def _keep_up(self) -> None:
        """All that was heard is written down."""
        now_ms = self._clocks.now_ms(self._own)
        if self._judging_since_ms is not None and self._is_deaf(now_ms):
            self._judging_since_ms = now_ms
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

    async def disconnected(self, ip: str, pid: str) -> None:
        """The link layer says that a process has gone: written at once. Fails with `StoreError`."""
        key = (ip, pid)
        self._seen.pop(key, None)
        self._written_ms.pop(key, None)
        await self._state().note_seen([McuSeen(ip, pid, 0)])
        self.log.info("MCU {ip} process {pid} has disconnected", ip=ip, pid=pid)

    async def flush(self) -> None:
        """Write what was noted. Fails with `StoreError`; it is then written at the next flush."""
        if self._seen:
            await self._write()
        self._keep_up()

    async def _write(self) -> None:
        seen, self._seen = self._seen, {}
        for key, each in seen.items():
            self._written_ms[key] = each.time_ms
        try:
            await self._state().note_seen(list(seen.values()))
        except StoreError:
            # Those that have disconnected meanwhile are no longer noted as written, nor to be written.
            still = {key: each for key, each in seen.items() if self._written_ms.pop(key, None) is not None}
            self._seen = still | self._seen
            raise
