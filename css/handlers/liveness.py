"""Signs of life of MCU processes: noted in memory, written to the own Redis in one step now and then."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from css.handlers.clocks import StoreClocks
from css.messages.base import Message
from css.ports.store import IPlatformState, McuSeen, StoreError


class Liveness:
    """Notes who was heard of, and writes it down in batches.

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
        self._judging_since_ms: int | None = None

    def begin_to_consume(self) -> None:
        """Silence counts from now on: what came before could not be heard."""
        self._judging_since_ms = self._clocks.now_ms(self._own)

    def silent_before_ms(self) -> int:
        """Processes last seen before this time count as silent; 0 while nobody can be judged yet."""
        now_ms = self._clocks.now_ms(self._own)
        since = self._judging_since_ms
        if since is None or now_ms - since < self._timeout_ms:
            return 0
        return now_ms - self._timeout_ms

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
        if not self._seen:
            return
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
