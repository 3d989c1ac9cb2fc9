"""What `cssctl` does, on the ports: drain, pause, and read. Every action is noted in the ledger first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from css.domain.conference import Conference, from_fields
from css.ports.ledger import ILedger, Recovery
from css.ports.store import IConferenceStore, IPlatformState, McuHost

PAGE = 500
MOST_STEPS = 1_000
"""Of one recovery, as they are shown."""


class NotFound(Exception):
    """There is no such thing; the text says what."""


class Control:
    """One platform, by its own Redis. Each verb fails with `StoreError`.

    @param say: shows a line.
    @param who: the person who acts. @param why: the reason, for the ledger.
    """

    def __init__(
        self,
        store: IConferenceStore,
        state: IPlatformState,
        ledger: ILedger,
        say: Callable[[str], object],
        who: str,
        why: str,
    ) -> None:
        self._store = store
        self._state = state
        self._ledger = ledger
        self._say = say
        self._by = f"{who}: {why or 'no reason given'}"

    async def drain(self, ip: str) -> None:
        """Keep a host from new conferences; those that run there go on."""
        await self._note(f"drain {ip}")
        await self._state.set_drained(ip, True)
        loads = await self._state.loads([ip])
        self._say(f"{ip} gets no new conferences; {loads[ip]} are still there")

    async def undrain(self, ip: str) -> None:
        """Let a host have new conferences again."""
        await self._note(f"undrain {ip}")
        await self._state.set_drained(ip, False)
        self._say(f"{ip} gets new conferences again")

    async def pause(self) -> None:
        """Let no instance begin a restore by itself."""
        await self._note("pause")
        await self._state.set_paused(True)
        self._say("no restore begins until you say: resume. Losses, ends and releases go on")

    async def resume(self) -> None:
        """Let restores begin again."""
        await self._note("resume")
        await self._state.set_paused(False)
        self._say("restores begin again")

    async def _note(self, what: str) -> None:
        now_ms = await self._store.now_ms()
        name = f"operator:{what.replace(' ', ':')}:{now_ms}"
        await self._ledger.open(Recovery(name, "operator", what, self._by, now_ms, ended_ms=now_ms))

    async def mcus(self) -> None:
        """Show every host: its load, its processes, what is held against it."""
        now_ms = await self._store.now_ms()
        for host in await self._state.hosts():
            self._say(_host_line(host, now_ms))
        rooms = sorted(await self._state.abnormal_rooms())
        if rooms:
            self._say(f"abnormal rooms: {', '.join(rooms)}")
        if await self._state.is_paused():
            self._say("restores are paused")

    async def recoveries(self, limit: int) -> None:
        """Show the newest recoveries, and what operators did."""
        for each in await self._ledger.recent(limit):
            self._say(f"{time_text(each.begun_ms)}  {each.name}  {_progress(each)}")
            self._say(f"    {each.detected}")

    async def recovery(self, name: str) -> None:
        """Show one recovery, step by step. @raise NotFound: there is none of that name."""
        known = {each.name: each for each in await self._ledger.recent(PAGE)}
        if name not in known:
            raise NotFound(f"there is no recovery {name!r} (any more)")
        found = known[name]
        self._say(f"{time_text(found.begun_ms)}  {found.detected}: {_progress(found)}")
        for step in await self._ledger.steps(name, MOST_STEPS):
            self._say(f"{time_text(step.time_ms)}  {step.e164}  {step.text}")

    async def conferences(self, limit: int) -> None:
        """Show conferences of this platform that run or are to run here, in no order, at most `limit`."""
        index, cursor, shown = f"platform/{self._store.platform}", "", 0
        while shown < limit:
            page, cursor = await self._store.page_index(index, cursor, min(PAGE, limit))
            for e164 in page[: limit - shown]:
                shown += await self._show_one(e164)
            if not cursor:
                break
        size = await self._store.index_size(index)
        self._say(f"{shown} of {size} conferences")

    async def _show_one(self, e164: str) -> int:
        loaded = await self._store.load(e164)
        if loaded.record:
            self._say(_conference_line(from_fields(e164, loaded.record, loaded.conf)))
        return 1 if loaded.record else 0

    async def conference(self, e164: str) -> None:
        """Show one conference, whatever is known of it, but for its password. @raise NotFound: nothing is."""
        loaded = await self._store.load(e164)
        if loaded.record:
            c = from_fields(e164, loaded.record, loaded.conf)
            self._say(_conference_line(c))
            for name, value in _details(c):
                self._say(f"    {name:<12} {value}")
        elif loaded.tombstone:
            ended = loaded.tombstone
            self._say(f"{e164}  ended: {ended.get('reason', '')}, {time_text(int(ended.get('time', '0')) * 1000)}")
        else:
            raise NotFound(f"there is no conference {e164} of platform {self._store.platform}")


def time_text(time_ms: int) -> str:
    """A time as a person reads it, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _host_line(host: McuHost, now_ms: int) -> str:
    ages = {pid: "disconnected" if not t else f"{max(0, now_ms - t) / 1000:.1f} s" for pid, t in host.processes.items()}
    processes = ", ".join(f"{pid} ({age})" for pid, age in sorted(ages.items())) or "none heard of"
    notes = ["drained"] if host.drained else []
    notes += [f"lost {host.losses} times lately"] if host.losses else []
    room = host.roommoid or "room unknown"
    return "  ".join([host.ip, room, f"{host.load} conferences", f"processes: {processes}", *notes])


def _progress(recovery: Recovery) -> str:
    if recovery.kind == "operator":
        return "done"
    if not recovery.planned:
        return "no conference is part of it"
    ended = f"ended {time_text(recovery.ended_ms)}" if recovery.ended_ms else "under way"
    return f"{recovery.settled} of {recovery.planned} settled, {ended}"


def _conference_line(c: Conference) -> str:
    place = f"MCU {c.ip} process {c.pid or '(none yet)'}" if c.ip else "no MCU"
    return f"{c.e164}  {c.state.value}  {place}  {c.confname}"


def _details(c: Conference) -> list[tuple[str, str]]:
    return [
        ("user domain", c.moid),
        ("source", c.source),
        ("platform", c.platformmoid),
        ("room", c.roommoid or "-"),
        ("epoch", str(c.epoch)),
        ("priority", str(c.priority)),
        ("began", time_text(c.begintime * 1000) if c.begintime else "not yet"),
        ("ends", time_text(c.endtime * 1000) if c.endtime else "when released"),
        ("next due", time_text(c.due_ms) if c.due_ms else "nothing"),
        ("recovery", c.recovery or "-"),
    ]
