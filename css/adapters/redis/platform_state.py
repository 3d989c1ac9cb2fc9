"""What all instances of one platform share in its own Redis: MCUs, their load, rooms, instance slots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from zope.interface import implementer

from css.adapters.redis import scripts
from css.adapters.redis.link import Link
from css.adapters.redis.packing import fields, text
from css.ports.placing import Standing
from css.ports.store import Booking, IPlatformState, ListMark, McuHost, McuSeen

_BOOKINGS = "css/bookings"


@implementer(IPlatformState)
class RedisPlatformState:
    """One platform's own Redis, on the link of its store."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def book(
        self,
        token: str,
        candidates: Sequence[str],
        default_room: str,
        silent_before_ms: int,
        lease_ms: int,
        flap_ms: int = 0,
    ) -> Booking | None:
        argument = (token, list(candidates), default_room, silent_before_ms, lease_ms, flap_ms)
        reply = await self.link.run(scripts.BOOK, argument)
        return None if reply is None else Booking(text(reply[0]), text(reply[1]))

    async def unbook(self, bookings: Sequence[tuple[str, str]]) -> None:
        await self.link.run(scripts.UNBOOK, list(chain.from_iterable(bookings)))

    async def rebook(self, bookings: Sequence[tuple[str, str]], lease_ms: int) -> None:
        await self.link.run(scripts.REBOOK, [lease_ms, *chain.from_iterable(bookings)])

    async def accept_list(self, ip: str, pid: str, mark: ListMark, patience_ms: int) -> bool:
        time = -1 if mark.time is None else mark.time
        argument = (ip, pid, mark.seq, time, int(mark.restarted), patience_ms)
        return bool(await self.link.run(scripts.ACCEPT_LIST, argument))

    async def unknown_since(self, ip: str, pid: str, numbers: Sequence[str]) -> dict[str, int]:
        reply = await self.link.run(scripts.UNKNOWN_SINCE, (ip, pid, list(numbers)))
        return dict(zip(numbers, reply, strict=True))

    async def is_replacement_known(self, ip: str, pid: str) -> bool:
        known = bool(await self.link.command("SISMEMBER", f"css/replaced/{ip}", pid))
        if known:
            await self.link.command("EXPIRE", f"css/replaced/{ip}", 86_400)
        return known

    async def note_replacement(self, ip: str, pid: str) -> None:
        await self.link.command("SADD", f"css/replaced/{ip}", pid)
        await self.link.command("EXPIRE", f"css/replaced/{ip}", 86_400)

    async def processes_of(self, ip: str) -> dict[str, int]:
        known = fields(await self.link.command("HGETALL", f"css/mcu/{ip}"))
        return {name[4:]: int(value) for name, value in known.items() if name.startswith("pid:")}

    async def claim_bookings(self, lease_ms: int, limit: int) -> list[tuple[str, str]]:
        reply = await self.link.run(scripts.CLAIM_DUE, (_BOOKINGS, lease_ms, limit))
        return [(ip, token) for ip, _, token in (text(member).partition(" ") for member in reply)]

    async def settle_bookings(self, bookings: Sequence[tuple[str, str]]) -> None:
        await self.link.run(scripts.SETTLE_BOOKINGS, list(chain.from_iterable(bookings)))

    async def loads(self, ips: Sequence[str]) -> dict[str, int]:
        reply = await self.link.run(scripts.LOADS, list(ips))
        return dict(zip(ips, reply, strict=True))

    async def penalise(self, ip: str, weight: int, seconds: int) -> None:
        await self.link.run(scripts.PENALISE, (ip, weight, seconds))

    async def note_seen(self, seen: Sequence[McuSeen]) -> None:
        signs = [(sign.ip, sign.pid, sign.time_ms, sign.roommoid) for sign in seen]
        await self.link.run(scripts.NOTE_SEEN, signs)

    async def set_drained(self, ip: str, drained: bool) -> None:
        await self.link.command("SADD" if drained else "SREM", "css/drained", ip)

    async def hosts(self) -> list[McuHost]:
        found = await self.link.run(scripts.HOSTS, ())
        return sorted((_host(*each) for each in found), key=lambda host: host.ip)

    async def standings(self, ips: Sequence[str]) -> list[Standing]:
        found = await self.link.run(scripts.STANDINGS, list(ips))
        return [_standing(ip, *each) for ip, each in zip(ips, found, strict=True)]

    async def set_paused(self, paused: bool) -> None:
        await self.link.command(*(("SET", "css/paused", "1") if paused else ("DEL", "css/paused")))

    async def is_paused(self) -> bool:
        return bool(await self.link.command("EXISTS", "css/paused"))

    async def known_processes(self, silent_before_ms: int = 0) -> int:
        words = ("ZCOUNT", "css/processes", "1", f"({silent_before_ms}")
        count: int = await self.link.command(*(words if silent_before_ms else ("ZCARD", "css/processes")))
        return count

    async def claim_gone(self, silent_before_ms: int, lease_ms: int, limit: int) -> list[McuSeen]:
        reply = await self.link.run(scripts.CLAIM_GONE, (silent_before_ms, lease_ms, limit))
        pairs = zip((text(member).partition(" ") for member in reply[::2]), reply[1::2], strict=True)
        return [McuSeen(ip, pid, int(float(time))) for (ip, _, pid), time in pairs]

    async def expect_processes(self, processes: Sequence[tuple[str, str]]) -> None:
        await self.link.run(scripts.EXPECT_PROCESSES, list(chain.from_iterable(processes)))

    async def forget_processes(self, gone: Sequence[McuSeen]) -> None:
        await self.link.run(scripts.FORGET_PROCESSES, [(each.ip, each.pid, each.time_ms) for each in gone])

    async def draw(self, bucket: str, rate_per_second: float, burst: int, want: int) -> int:
        drawn: int = await self.link.run(scripts.DRAW, (bucket, rate_per_second, burst, want))
        return drawn

    async def abnormal_rooms(self) -> set[str]:
        return set(map(text, await self.link.command("SMEMBERS", "css/rooms")))

    async def set_room(self, roommoid: str, abnormal: bool, seq: int = -1) -> bool:
        return bool(await self.link.run(scripts.SET_ROOM, (roommoid, abnormal, seq)))

    async def replace_rooms(self, abnormal: Sequence[str]) -> None:
        await self.link.run(scripts.REPLACE_ROOMS, list(abnormal))

    async def note_duty(self, on: bool) -> int:
        resumed_ms: int = await self.link.run(scripts.NOTE_DUTY, (on,))
        return resumed_ms

    async def claim_slot(self, owner: str, lease_ms: int) -> int:
        slot: int = await self.link.run(scripts.CLAIM_SLOT, (owner, lease_ms))
        return slot

    async def release_slot(self, owner: str) -> None:
        await self.link.run(scripts.RELEASE_SLOT, (owner,))


def _host(ip: bytes, roommoid: bytes, processes: list[bytes], load: int, drained: int, losses: bytes) -> McuHost:
    pids = {text(pid): int(float(time)) for pid, time in zip(processes[::2], processes[1::2], strict=True)}
    return McuHost(text(ip), text(roommoid), pids, load, bool(drained), int(losses))


def _standing(ip: str, known: list[bytes], load: int, penalty: int, drained: int, *losses: bytes) -> Standing:
    host, (count, lost_ms) = fields(known), losses
    return Standing(
        ip=ip,
        roommoid=host.pop("roommoid", ""),
        seen={name.removeprefix("pid:"): int(value) for name, value in host.items()},
        load=load,
        penalty=penalty,
        drained=bool(drained),
        losses=int(count),
        lost_ms=int(lost_ms),
    )
