"""What all instances of one platform share, in memory: MCUs, their load, rooms, instance slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from css.adapters.memory.server import MemoryServer
from css.ports.placing import Standing, Terms, choose
from css.ports.store import Booking, IPlatformState, ListMark, McuHost, McuSeen, StoreError

SLOTS = 1024
KEPT_PROCESSES = 32
"""A host with more known processes than this forgets those that were silent for `FORGET_AFTER_MS`."""

FORGET_AFTER_MS = 3_600_000

LOSSES_KEPT_MS = 1_200_000
ONE_LOSS_MS = 5_000
"""What is lost of a host within this time is lost by one cause."""

BOOKINGS = "css/bookings"
BOOKED = "css/booked"
DRAINED = "css/drained"
PAUSED = "css/paused"
ROOMS = "css/rooms"
ROOM_SEQ = "css/roomseq"
SLOT_KEY = "css/slots"
DUTY = "css/duty"
PROCESSES = "css/processes"
GONE = "css/gone"


@implementer(IPlatformState)
class MemoryPlatformState:
    """One platform's own Redis, in memory. Give it a `server` to share one with a `MemoryStore`."""

    def __init__(self, clock: IReactorTime, server: MemoryServer | None = None) -> None:
        self.server = server or MemoryServer(clock)
        self._keys = self.server.keyspace
        self.fail = self.server.fail
        self.hang = self.server.hang
        self.recover = self.server.recover
        self.dump: Callable[[], dict[str, Any]] = self.server.dump

    async def book(
        self,
        token: str,
        candidates: Sequence[str],
        default_room: str,
        silent_before_ms: int,
        lease_ms: int,
        flap_ms: int = 0,
    ) -> Booking | None:
        def take() -> Booking | None:
            booked: str | None = self._keys.hash(BOOKED).get(token)
            if booked is not None:
                return Booking(booked, self._room(booked))
            rooms, now = frozenset(self._keys.members(ROOMS)), self._keys.now_ms()
            terms = Terms(default_room, rooms, silent_before_ms, flap_ms, now)
            chosen = choose((self._standing(ip) for ip in candidates), terms)
            if chosen is None:
                return None
            self._keys.add_member(f"css/load/{chosen.ip}", token)
            self._keys.update_hash(BOOKED, {token: chosen.ip})
            self._keys.score(BOOKINGS, f"{chosen.ip} {token}", now + lease_ms)
            return Booking(chosen.ip, chosen.roommoid)

        return await self.server.run(take)

    async def standings(self, ips: Sequence[str]) -> list[Standing]:
        return await self.server.run(lambda: [self._standing(ip) for ip in ips])

    async def unbook(self, bookings: Sequence[tuple[str, str]]) -> None:
        def drop() -> None:
            for ip, token in bookings:
                self._keys.drop_member(f"css/load/{ip}", token)
                self._keys.unscore(BOOKINGS, f"{ip} {token}")
                if self._keys.hash(BOOKED).get(token) == ip:
                    self._keys.drop_fields(BOOKED, (token,))

        await self.server.run(drop)

    async def rebook(self, bookings: Sequence[tuple[str, str]], lease_ms: int) -> None:
        def take() -> None:
            for ip, token in bookings:
                self._keys.add_member(f"css/load/{ip}", token)
                self._keys.update_hash(BOOKED, {token: ip})
                self._keys.score(BOOKINGS, f"{ip} {token}", self._keys.now_ms() + lease_ms)

        await self.server.run(take)

    async def accept_list(self, ip: str, pid: str, mark: ListMark, patience_ms: int) -> bool:
        def accept() -> bool:
            key, now = f"css/listseq/{ip}", self._keys.now_ms()
            first = _begun_with(self._keys.hash(key).get(pid, ""), mark, now - patience_ms)
            if first is None:
                return False
            time = -1 if mark.time is None else mark.time
            self._keys.update_hash(key, {pid: f"{now} {mark.seq} {first} {time}"})
            self._keys.expire_at(key, now + 86_400_000)
            return True

        return await self.server.run(accept)

    async def unknown_since(self, ip: str, pid: str, numbers: Sequence[str]) -> dict[str, int]:
        def note() -> dict[str, int]:
            key, now = f"css/unknown/{ip}/{pid}", self._keys.now_ms()
            known = {number: since for number, since in self._keys.hash(key).items() if number in set(numbers)}
            self._keys.delete(key)
            since = {number: int(known.get(number, now)) for number in numbers}
            self._keys.update_hash(key, {number: str(value) for number, value in since.items()})
            if numbers:
                self._keys.expire_at(key, now + 3_600_000)
            return since

        return await self.server.run(note)

    async def is_replacement_known(self, ip: str, pid: str) -> bool:
        def look() -> bool:
            self._keys.expire_at(f"css/replaced/{ip}", self._keys.now_ms() + 86_400_000)
            return pid in self._keys.members(f"css/replaced/{ip}")

        return await self.server.run(look)

    async def note_replacement(self, ip: str, pid: str) -> None:
        def note() -> None:
            self._keys.add_member(f"css/replaced/{ip}", pid)
            self._keys.expire_at(f"css/replaced/{ip}", self._keys.now_ms() + 86_400_000)

        await self.server.run(note)

    async def processes_of(self, ip: str) -> dict[str, int]:
        def read() -> dict[str, int]:
            known = self._keys.hash(f"css/mcu/{ip}")
            return {name[4:]: int(value) for name, value in known.items() if name.startswith("pid:")}

        return await self.server.run(read)

    async def claim_bookings(self, lease_ms: int, limit: int) -> list[tuple[str, str]]:
        def claim() -> list[tuple[str, str]]:
            now = self._keys.now_ms()
            claimed = self._keys.sorted_set(BOOKINGS).claim(now, now + lease_ms, limit)
            return [(ip, token) for ip, _, token in (member.partition(" ") for member in claimed)]

        return await self.server.run(claim)

    async def settle_bookings(self, bookings: Sequence[tuple[str, str]]) -> None:
        def settle() -> None:
            for ip, token in bookings:
                self._keys.unscore(BOOKINGS, f"{ip} {token}")

        await self.server.run(settle)

    async def loads(self, ips: Sequence[str]) -> dict[str, int]:
        return await self.server.run(lambda: {ip: len(self._keys.members(f"css/load/{ip}")) for ip in ips})

    async def penalise(self, ip: str, weight: int, seconds: int) -> None:
        def add() -> None:
            now = self._keys.now_ms()
            left = int(self._penalty_thousandths(ip))
            fields = {"thousandths": str(weight * 1000 + left), "from": str(now), "until": str(now + seconds * 1000)}
            self._keys.update_hash(f"css/penalty/{ip}", fields)
            self._keys.expire_at(f"css/penalty/{ip}", now + seconds * 1000)

        await self.server.run(add)

    async def note_seen(self, seen: Sequence[McuSeen]) -> None:
        def note() -> None:
            for sign in seen:
                self._note(sign)

        await self.server.run(note)

    async def set_drained(self, ip: str, drained: bool) -> None:
        change = self._keys.add_member if drained else self._keys.drop_member
        await self.server.run(lambda: change(DRAINED, ip))

    async def hosts(self) -> list[McuHost]:
        def read() -> list[McuHost]:
            processes = self._keys.sorted_set(PROCESSES).scores
            ips = {member.partition(" ")[0] for member in processes} | self._keys.members(DRAINED)
            return [self._host(ip, processes) for ip in sorted(ips)]

        return await self.server.run(read)

    async def set_paused(self, paused: bool) -> None:
        def change() -> None:
            self._keys.set_string(PAUSED, b"1") if paused else self._keys.delete(PAUSED)

        await self.server.run(change)

    async def is_paused(self) -> bool:
        return await self.server.run(lambda: self._keys.string(PAUSED) is not None)

    async def known_processes(self, silent_before_ms: int = 0) -> int:
        def count() -> int:
            times = self._keys.sorted_set(PROCESSES).scores.values()
            return sum(1 for time in times if not silent_before_ms or 0 < time < silent_before_ms)

        return await self.server.run(count)

    async def claim_gone(self, silent_before_ms: int, lease_ms: int, limit: int) -> list[McuSeen]:
        def claim() -> list[McuSeen]:
            now, claimed = self._keys.now_ms(), self._keys.sorted_set(GONE).scores
            silent = sorted((t, m) for m, t in self._keys.sorted_set(PROCESSES).scores.items() if t < silent_before_ms)
            free = [(time, member) for time, member in silent if claimed.get(member, 0) <= now][:limit]
            for _, member in free:
                self._keys.score(GONE, member, now + lease_ms)
            parts = [(member.partition(" "), time) for time, member in free]
            return [McuSeen(ip, pid, time) for (ip, _, pid), time in parts]

        return await self.server.run(claim)

    async def expect_processes(self, processes: Sequence[tuple[str, str]]) -> None:
        def expect() -> None:
            for ip, pid in processes:
                if f"{ip} {pid}" not in self._keys.sorted_set(PROCESSES).scores:
                    self._keys.score(PROCESSES, f"{ip} {pid}", self._keys.now_ms())

        await self.server.run(expect)

    async def forget_processes(self, gone: Sequence[McuSeen]) -> None:
        def forget() -> None:
            for each in gone:
                member = f"{each.ip} {each.pid}"
                score = self._keys.sorted_set(PROCESSES).scores.get(member, each.time_ms + 1)
                if score <= each.time_ms:
                    if score:
                        self._count_loss(each.ip, each.pid)
                    self._keys.unscore(PROCESSES, member)
                    self._keys.drop_fields(f"css/listseq/{each.ip}", (each.pid,))
                    self._keys.drop_member(f"css/replaced/{each.ip}", each.pid)
                self._keys.unscore(GONE, member)

        await self.server.run(forget)

    async def draw(self, bucket: str, rate_per_second: float, burst: int, want: int) -> int:
        def take() -> int:
            key, now, full = f"css/bucket/{bucket}", self._keys.now_ms(), burst * 1000
            known = self._keys.hash(key)
            level: float = full
            if known:
                since = max(0, now - int(known["at"]))
                level = min(full, int(known["thousandths"]) + since * rate_per_second)
            drawn = min(want, int(level // 1000))
            self._keys.update_hash(key, {"thousandths": str(int(level - drawn * 1000)), "at": str(now)})
            self._keys.expire_at(key, now + 60_000 + int(full / rate_per_second))
            return drawn

        return await self.server.run(take)

    async def abnormal_rooms(self) -> set[str]:
        return await self.server.run(lambda: set(self._keys.members(ROOMS)))

    async def set_room(self, roommoid: str, abnormal: bool, seq: int = -1) -> bool:
        def change() -> bool:
            if seq >= 0:
                if seq <= int(self._keys.hash(ROOM_SEQ).get(roommoid, "-1")):
                    return False
                self._keys.update_hash(ROOM_SEQ, {roommoid: str(seq)})
            changed = (roommoid in self._keys.members(ROOMS)) != abnormal
            (self._keys.add_member if abnormal else self._keys.drop_member)(ROOMS, roommoid)
            return changed

        return await self.server.run(change)

    async def replace_rooms(self, abnormal: Sequence[str]) -> None:
        def replace() -> None:
            self._keys.delete(ROOMS)
            for roommoid in abnormal:
                self._keys.add_member(ROOMS, roommoid)

        await self.server.run(replace)

    async def note_duty(self, on: bool) -> int:
        def note() -> int:
            if not on:
                self._keys.update_hash(DUTY, {"state": "off"})
                return 0
            if self._keys.hash(DUTY).get("state") == "off":
                self._keys.update_hash(DUTY, {"state": "on", "resumed_ms": str(self._keys.now_ms())})
            return int(self._keys.hash(DUTY).get("resumed_ms", "0"))

        return await self.server.run(note)

    async def claim_slot(self, owner: str, lease_ms: int) -> int:
        def claim() -> int:
            now = self._keys.now_ms()
            slot = self._slot_for(owner, now)
            self._keys.update_hash(SLOT_KEY, {str(slot): f"{now + lease_ms} {owner}"})
            return slot

        return await self.server.run(claim)

    async def release_slot(self, owner: str) -> None:
        def release() -> None:
            for slot, (_, holder) in self._slots().items():
                if holder == owner:
                    self._keys.drop_fields(SLOT_KEY, (str(slot),))

        await self.server.run(release)

    def _host(self, ip: str, processes: dict[str, int]) -> McuHost:
        return McuHost(
            ip=ip,
            roommoid=self._room(ip),
            processes={each.removeprefix(f"{ip} "): t for each, t in processes.items() if each.startswith(f"{ip} ")},
            load=len(self._keys.members(f"css/load/{ip}")),
            drained=ip in self._keys.members(DRAINED),
            losses=int(self._keys.hash(f"css/losses/{ip}").get("count", "0")),
        )

    def _room(self, ip: str) -> str:
        room: str = self._keys.hash(f"css/mcu/{ip}").get("roommoid", "")
        return room

    def _standing(self, ip: str) -> Standing:
        known, losses = self._keys.hash(f"css/mcu/{ip}"), self._keys.hash(f"css/losses/{ip}")
        return Standing(
            ip=ip,
            roommoid=known.get("roommoid", ""),
            seen={name.removeprefix("pid:"): int(value) for name, value in known.items() if name.startswith("pid:")},
            load=len(self._keys.members(f"css/load/{ip}")),
            penalty=self._penalty_thousandths(ip),
            drained=ip in self._keys.members(DRAINED),
            losses=int(losses.get("count", "0")),
            lost_ms=int(losses.get("at", "0")),
        )

    def _penalty_thousandths(self, ip: str) -> int:
        penalty = self._keys.hash(f"css/penalty/{ip}")
        if not penalty:
            return 0
        since, until = int(penalty["from"]), int(penalty["until"])
        left = max(0, until - self._keys.now_ms())
        return int(penalty["thousandths"]) * left // max(1, until - since)

    def _count_loss(self, ip: str, pid: str) -> None:
        key, now = f"css/losses/{ip}", self._keys.now_ms()
        known = self._keys.hash(key)
        if known and known["pid"] != pid and now - int(known["at"]) < ONE_LOSS_MS:
            return
        self._keys.update_hash(key, {"count": str(int(known.get("count", "0")) + 1), "at": str(now), "pid": pid})
        self._keys.expire_at(key, now + LOSSES_KEPT_MS)

    def _note(self, sign: McuSeen) -> None:
        key, name = f"css/mcu/{sign.ip}", f"pid:{sign.pid}"
        if not sign.time_ms and self._keys.sorted_set(PROCESSES).scores.get(f"{sign.ip} {sign.pid}"):
            self._count_loss(sign.ip, sign.pid)
        known = self._keys.hash(key)
        # A sign that comes late, through another instance, does not take a newer one back.
        latest = max(sign.time_ms, int(known.get(name, "0"))) if sign.time_ms else 0
        fields = {name: str(latest)}
        if sign.roommoid:
            fields["roommoid"] = sign.roommoid
        self._keys.update_hash(key, fields)
        self._keys.score(PROCESSES, f"{sign.ip} {sign.pid}", latest)
        if latest:
            self._keys.unscore(GONE, f"{sign.ip} {sign.pid}")
        else:
            self._keys.drop_fields(f"css/listseq/{sign.ip}", (sign.pid,))
        if sign.time_ms and len(known) > KEPT_PROCESSES:
            horizon = sign.time_ms - FORGET_AFTER_MS
            old = (each for each, value in known.items() if each.startswith("pid:") and int(value) < horizon)
            self._keys.drop_fields(key, tuple(each for each in old if each != name))

    def _slots(self) -> dict[int, tuple[int, str]]:
        """Slot -> (end of its lease in ms, owner)."""
        parted = {int(slot): value.partition(" ") for slot, value in self._keys.hash(SLOT_KEY).items()}
        return {slot: (int(until), owner) for slot, (until, _, owner) in parted.items()}

    def _slot_for(self, owner: str, now: int) -> int:
        slots = self._slots()
        for slot, (_, holder) in slots.items():
            if holder == owner:  # even if its lease ran out: nobody has taken it
                return slot
        # One that nobody ever held before one whose lease ran out: its owner may still be frozen, not dead.
        for slot in range(SLOTS):
            if slot not in slots:
                return slot
        until, slot = min((until, slot) for slot, (until, _) in slots.items())
        if until > now:
            raise StoreError("all instance slots are taken")
        return slot


def _begun_with(known: str, mark: ListMark, long_ago_ms: int) -> int | None:
    """The number that the run of an acceptable list began with; None: it is an older list."""
    if not known:
        return mark.seq
    at_ms, last, first, time = map(int, known.split())
    if at_ms <= long_ago_ms:
        return mark.seq
    if mark.seq >= last:
        return first
    is_later = mark.seq <= first if mark.time is None or time < 0 or mark.time == time else mark.time > time
    return mark.seq if mark.restarted and is_later else None
