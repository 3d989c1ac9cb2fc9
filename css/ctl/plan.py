"""`cssctl plan`: the four recoveries that can be supposed, on the rehearsal that works as they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec
from msgspec.structs import replace

from css.ctl.control import NotFound
from css.domain.conference import Conference, legacy_index
from css.domain.events import Rules
from css.domain.losses import AbnormalPlatform, AbnormalProcess, AbnormalRoom, Loss, LostProcess
from css.domain.platforms import Platforms
from css.handlers.rehearsal import Candidates, HostLoad, Hypothesis, Item, Outcome, Rehearsal
from css.ports.store import IConferenceStore, IPlatformState

FIT, DOES_NOT_FIT = 0, 3
"""Exit statuses."""
LEGACY_STAYS = "bound to old hardware: it stays where it is"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A dry run, as `--json` shows it: restores in their order, then the others."""

    kind: str
    subject: str
    platform: str
    """Moid of the platform that was looked at."""
    fits: bool
    """Whether every conference that is to be restored finds a host, and none waits for old hardware."""
    conferences: list[Item]
    hosts: list[HostLoad]
    notes: list[str]
    """What the plan does not know, and what it rests on."""

    @property
    def status(self) -> int:
        """The exit status."""
        return FIT if self.fits else DOES_NOT_FIT


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan is made from.

    `platforms`: as they are, or are supposed to be; `stores`, `states`: of each platform whose Redis answers.
    """

    platforms: Platforms
    stores: Mapping[str, IConferenceStore]
    states: Mapping[str, IPlatformState]
    rules: Rules
    silence_ms: int
    flap_ms: int
    given: Callable[[str, str, tuple[str, ...]], Awaitable[Candidates]]
    most: int = 0
    notes: tuple[str, ...] = ()

    def rehearsal(self, supposed: Hypothesis | None = None) -> Rehearsal:
        """A rehearsal of its own."""
        return Rehearsal(
            self.platforms,
            self.stores,
            self.states,
            self.rules,
            self.silence_ms,
            self.flap_ms,
            self.given,
            self.most,
            supposed,
        )

    def finished(self, kind: str, subject: str, rehearsal: Rehearsal) -> Plan:
        """The plan that was made."""
        items = rehearsal.items
        return Plan(
            kind=kind,
            subject=subject,
            platform=self.platforms.own,
            fits=not any(each.outcome in (Outcome.STUCK, Outcome.WAITS) for each in items),
            conferences=items,
            hosts=rehearsal.loads,
            notes=list(self.notes),
        )


async def mcu_down(scene: Scene, ip: str, pid: str = "") -> Plan:
    """An MCU host, or one process of it, has gone. @raise NotFound: CSS knows of no such process."""
    own = scene.platforms.own
    known = await scene.states[own].processes_of(ip)
    if not known or (pid and pid not in known):
        hosts = ", ".join(host.ip for host in await scene.states[own].hosts()) or "none"
        processes = f"processes of {ip}: {', '.join(sorted(known))}" if known else f"MCU hosts of {own}: {hosts}"
        raise NotFound(f"{own} has never heard of MCU {f'{ip} process {pid}' if known else ip}; {processes}")
    gone = [pid] if pid else sorted(known)
    rehearsal = scene.rehearsal(Hypothesis(gone=frozenset((ip, each) for each in gone)))
    for source in scene.stores:
        for each in gone:
            await rehearsal.lose(source, LostProcess(own, ip, each))
    await _restore(scene, rehearsal)
    return scene.finished("mcu-down", f"{ip} process {', '.join(gone)}", rehearsal)


async def room_down(scene: Scene, roommoid: str) -> Plan:
    """A room is abnormal. @raise NotFound: no MCU is in it, and no conference."""
    own = scene.platforms.own
    hosts = await scene.states[own].hosts()
    there = [host for host in hosts if host.roommoid == roommoid]
    losses: list[Loss] = [AbnormalRoom(own, roommoid)]
    losses += [AbnormalProcess(own, host.ip, pid, roommoid) for host in there for pid in host.processes]
    rehearsal = scene.rehearsal(Hypothesis(rooms=frozenset([roommoid])))
    numbers = set[str]()
    for source in scene.stores:
        for loss in losses:
            await rehearsal.lose(source, loss)
        found = await rehearsal.in_indexes(source, *(loss.index for loss in losses))
        numbers.update(c.e164 for c in found)
        _stay(rehearsal, (c for c in found if c.legacy and c.has_run))
    if not numbers and not there:
        rooms = ", ".join(sorted({host.roommoid for host in hosts} - {""})) or "none known"
        raise NotFound(f"no MCU of {own} is in room {roommoid}; rooms: {rooms}")
    await _restore(scene, rehearsal)
    return scene.finished("room-down", roommoid, rehearsal)


async def takeover(scene: Scene, platform: str) -> Plan:
    """A platform that is backed up here is abnormal. @raise NotFound: it is none of those."""
    _check_peer(scene, platform)
    scene = replace(scene, platforms=scene.platforms.with_broadcast(platform, "abnormal"))
    rehearsal = scene.rehearsal()
    for source, lost in scene.platforms.lost:
        if lost == platform and source in scene.stores:
            await rehearsal.lose(source, AbnormalPlatform(platform))
            _stay(rehearsal, await rehearsal.in_indexes(source, legacy_index(platform)))
    await _restore(scene, rehearsal)
    return scene.finished("takeover", platform, rehearsal)


async def handback(scene: Scene, platform: str) -> Plan:
    """A platform that is served here is normal again. @raise NotFound: it is none of those that are backed up here."""
    _check_peer(scene, platform)
    scene = replace(scene, platforms=scene.platforms.with_broadcast(platform, "normal"))
    own, rehearsal = scene.platforms.own, scene.rehearsal()
    await rehearsal.wait(platform)
    await rehearsal.restore()
    planned = {each.e164 for each in rehearsal.items}
    for c in await rehearsal.in_indexes(platform, f"platform/{own}"):
        if c.e164 not in planned:
            rehearsal.note(c, Outcome.STAYS, f"it stays on {own} until it ends")
    for c in await rehearsal.in_indexes(platform, f"platform/{platform}"):
        if c.e164 not in planned:
            because = f"it runs on if its MCU's next list shows it, else {platform} restores it"
            rehearsal.note(c, Outcome.STAYS, because)
    return scene.finished("handback", platform, rehearsal)


async def _restore(scene: Scene, rehearsal: Rehearsal) -> None:
    """What is lost, together with what is restored here and waits already."""
    lost = rehearsal.sources
    for source in scene.stores:
        if source in lost or scene.platforms.serves(source):
            await rehearsal.wait(source)
    await rehearsal.restore()


def _stay(rehearsal: Rehearsal, conferences: Iterable[Conference]) -> None:
    for c in conferences:
        rehearsal.note(c, Outcome.STAYS, LEGACY_STAYS)


def _check_peer(scene: Scene, platform: str) -> None:
    possible = scene.platforms.possible_moids
    if platform not in possible:
        raise NotFound(f"{scene.platforms.own} does not back up {platform}, but {', '.join(possible) or 'none'}")
    if platform not in scene.stores:
        raise NotFound(f"the Redis of {platform} is not reached, so nothing of it can be planned")
