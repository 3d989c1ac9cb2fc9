"""A dry run of a recovery: what would be lost, in which order it would be restored, and where. Nothing is written.

It is made of what the recovery itself is made of: `css.domain.losses` says what is concerned, the state machine what
becomes of it, `urgency` in which order, `css.ports.placing` where. What is booked is counted here instead of in Redis.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from css.domain.conference import (
    Conference,
    Situation,
    State,
    from_fields,
    pending_index,
    ready_index,
    restore_index,
    urgency,
)
from css.domain.decision import Decision
from css.domain.effects import FreeLoad
from css.domain.events import Placement, ResourcesGiven, ResourcesRefused, RestoreBegins, Rules
from css.domain.losses import Loss
from css.domain.machine import decide
from css.domain.platforms import Platforms
from css.ports.placing import Standing, Terms, choose, obstacle
from css.ports.store import IConferenceStore, IPlatformState

PAGE = 500
RECOVERY = "plan"
"""Stands for the name of the recovery, which is never entered."""


class Outcome(enum.StrEnum):
    """What would become of a conference."""

    MOVES = "moves"
    """It is restored at `to_ip`."""
    STUCK = "stuck"
    """No host would take it: it waits, and is tried again until its end."""
    WAITS = "waits"
    """Bound to old hardware, which is gone: it waits for that, and is lost if it does not come back in time."""
    STAYS = "stays"
    """Nothing happens to it."""
    ENDS = "ends"
    """It ends: its time is over, or it has never run and its CM is refused."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One conference of a plan."""

    e164: str
    confname: str
    moid: str
    source: str
    priority: int
    state: str
    """As it is now."""
    lost: bool
    """Whether it is part of what is lost; False: it has been waiting to be restored, or is only looked at."""
    ip: str
    pid: str
    roommoid: str
    outcome: Outcome
    because: str
    by: str = ""
    """Moid of the platform that restores it."""
    to_ip: str = ""
    to_room: str = ""


class Candidates(msgspec.Struct, frozen=True):
    """The hosts that a user domain may use. `ips` None: RMS refuses, or does not answer."""

    ips: tuple[str, ...] | None
    roommoid: str = ""
    """The room of hosts that never reported one."""


class HostLoad(msgspec.Struct, frozen=True):
    """One host before and after. `obstacle`: why nothing can be placed there; empty: it can."""

    platform: str
    ip: str
    roommoid: str
    before: int
    after: int
    obstacle: str


class Board:
    """The hosts of one platform, as they would be: booked here, not in Redis.

    @param most: conferences that a host can run; 0: no limit is known. CSS knows none: an MCU that is full refuses.
    """

    def __init__(self, platform: str, standings: Iterable[Standing], terms: Terms, most: int) -> None:
        self.platform = platform
        self._hosts = {each.ip: each for each in standings}
        self._before = {ip: host.load for ip, host in self._hosts.items()}
        self._terms = terms
        self._most = most

    @property
    def alive(self) -> tuple[str, ...]:
        """Hosts of which a process is alive."""
        terms = replace(self._terms, abnormal_rooms=frozenset())
        return tuple(ip for ip, host in self._hosts.items() if host.seen and not obstacle(_undrained(host), terms))

    def add(self, standings: Iterable[Standing]) -> None:
        """Hosts that were not known yet."""
        for each in standings:
            self._hosts.setdefault(each.ip, each)
            self._before.setdefault(each.ip, each.load)

    def missing(self, ips: Iterable[str]) -> list[str]:
        """Which of these are not on the board."""
        return [ip for ip in ips if ip not in self._hosts]

    def book(self, given: Candidates) -> Standing | None:
        """The host that CSS would choose, now one conference fuller; None: none is usable."""
        hosts = (self._hosts[ip] for ip in sorted(given.ips or ()))
        free = (host for host in hosts if not self._most or host.load < self._most)
        chosen = choose(free, replace(self._terms, default_room=given.roommoid))
        if chosen is not None:
            self._hosts[chosen.ip] = replace(chosen, load=chosen.load + 1)
        return chosen

    def free(self, freed: FreeLoad) -> None:
        """A place is given back."""
        host = self._hosts.get(freed.ip)
        if host is not None and freed.platform in ("", self.platform):
            self._hosts[freed.ip] = replace(host, load=max(0, host.load - 1))

    @property
    def loads(self) -> list[HostLoad]:
        """Every host, by address."""
        return [self._load(ip) for ip in sorted(self._hosts)]

    def _load(self, ip: str) -> HostLoad:
        host, before = self._hosts[ip], self._before[ip]
        full = f"full with {host.load}" if self._most and host.load >= self._most else ""
        return HostLoad(self.platform, ip, host.roommoid, before, host.load, obstacle(host, self._terms) or full)


class Hypothesis(msgspec.Struct, frozen=True):
    """What is supposed of the own platform's hosts: these processes have gone, these rooms are abnormal."""

    gone: frozenset[tuple[str, str]] = frozenset()
    rooms: frozenset[str] = frozenset()


class Rehearsal:
    """Rehearses one recovery. Every method that reads fails with `StoreError`.

    @param platforms: as they would be.
    @param stores: conferences by source platform; the own one and what could be reached of the possible ones.
    @param states: what the instances of each of these platforms share.
    @param silence_ms: after which an MCU process counts as silent. @param flap_ms: as of `IPlatformState.book`.
    @param given: asked with (platform that restores, user domain, its hosts that are alive) for the hosts to use.
    """

    def __init__(
        self,
        platforms: Platforms,
        stores: Mapping[str, IConferenceStore],
        states: Mapping[str, IPlatformState],
        rules: Rules,
        silence_ms: int,
        flap_ms: int,
        given: Callable[[str, str, tuple[str, ...]], Awaitable[Candidates]],
        most: int = 0,
        supposed: Hypothesis | None = None,
    ) -> None:
        self.items: list[Item] = []
        self._platforms = platforms
        self._stores = stores
        self._states = states
        self._rules = rules
        self._silence_ms = silence_ms
        self._flap_ms = flap_ms
        self._given = given
        self._most = most
        self._supposed = supposed or Hypothesis()
        self._boards: dict[str, Board] = {}
        self._answers: dict[tuple[str, str], Candidates] = {}
        self._taken: set[tuple[str, str]] = set()
        """(source, number) of what a loss has concerned: once is enough."""
        self._queues: dict[str, dict[str, tuple[Conference, Conference, bool]]] = {}
        """By source: what is to be restored: (as it is, as it would be, whether it is part of the loss)."""

    @property
    def loads(self) -> list[HostLoad]:
        """The hosts of every platform that restores something."""
        return [load for board in self._boards.values() for load in board.loads]

    @property
    def sources(self) -> frozenset[str]:
        """Moids of the source platforms of what is queued."""
        return frozenset(self._queues)

    def placer(self, source: str) -> str:
        """Moid of the platform that restores what belongs to a source platform."""
        return self._platforms.own if self._platforms.serves(source) else source

    async def lose(self, source: str, loss: Loss) -> None:
        """Take off what a loss concerns in a source platform's store."""
        store = self._stores[source]
        now_ms = await store.now_ms()
        board = await self._board(self._platforms.own)
        for c in await self.in_indexes(source, loss.index):
            if (source, c.e164) in self._taken:
                continue
            event = loss.event(c, now_ms, lambda c=c: c.epoch + 1, RECOVERY)  # type: ignore[misc]
            if event is None:
                continue
            decision = decide(c, event, self._rules)
            _apply(decision, board)
            self._taken.add((source, c.e164))
            self._take(c, decision)

    def _take(self, c: Conference, decision: Decision) -> None:
        after = decision.record
        if after is not None and after.state is State.PENDING_RESTORE and not after.legacy:
            self._queues.setdefault(c.source, {})[c.e164] = (c, after, True)
        elif not decision.changed:
            self.note(c, Outcome.STAYS, decision.because, lost=False)
        else:
            outcome = Outcome.ENDS if after is None else Outcome.WAITS
            because = decision.because if after is None else "bound to old hardware: it waits for its MCU"
            self.note(c, outcome, because, lost=True)

    async def wait(self, source: str) -> None:
        """Queue what waits to be restored already, beside what is lost."""
        queue = self._queues.setdefault(source, {})
        for c in await self.in_indexes(source, restore_index(source), ready_index(source), pending_index(source)):
            if c.state is State.PENDING_RESTORE and not c.legacy and c.e164 not in queue:
                queue[c.e164] = (c, c, False)

    async def restore(self) -> None:
        """Place what is queued, as the restore timer would: the own platform's first, each in the order of urgency."""
        for source in sorted(self._queues, key=lambda each: (each != self._platforms.own, each)):
            now_ms = await self._stores[source].now_ms()
            for before, c, lost in sorted(
                self._queues[source].values(), key=lambda each: (urgency(each[1]), each[1].e164)
            ):
                await self._restore(before, c, lost, now_ms)
        self._queues.clear()

    async def _restore(self, before: Conference, c: Conference, lost: bool, now_ms: int) -> None:
        by = self.placer(c.source)
        if c.situation is Situation.PENDING_RESTORE:
            begun = decide(c, RestoreBegins(now_ms=now_ms), self._rules)
            if begun.record is None:
                self.note(before, Outcome.ENDS, begun.because, lost=lost)
                return
            c = begun.record
        board = await self._board(by)
        given = await self._candidates(board, c.moid)
        if given.ips is None:
            refused = decide(c, ResourcesRefused(now_ms=now_ms, epoch=c.epoch), self._rules)
            self.note(before, Outcome.STUCK, refused.because, lost=lost, by=by)
            return
        chosen = board.book(given)
        room = "" if chosen is None else chosen.roommoid or given.roommoid
        placement = None if chosen is None else Placement(chosen.ip, room, c.epoch + 1, by)
        decision = decide(c, _answer(c, given, placement, now_ms), self._rules)
        _apply(decision, board)
        if placement is None:
            because = decision.because if given.ips else f"no MCU host of {by} is known to be alive"
            self.note(before, Outcome.STUCK, because, lost=lost, by=by)
        else:
            self.note(before, Outcome.MOVES, decision.because, lost=lost, by=by, to_ip=placement.ip, to_room=room)

    def note(self, c: Conference, outcome: Outcome, because: str, *, lost: bool = False, **where: str) -> None:
        """Enter a conference in the plan. @param where: `by`, `to_ip`, `to_room`."""
        self.items.append(
            Item(
                e164=c.e164,
                confname=c.confname,
                moid=c.moid,
                source=c.source,
                priority=c.priority,
                state=c.state.value,
                lost=lost,
                ip=c.ip,
                pid=c.pid,
                roommoid=c.roommoid,
                outcome=outcome,
                because=because,
                **where,
            )
        )

    async def in_indexes(self, source: str, *indexes: str) -> list[Conference]:
        """The conferences that some indexes of a store name, each once, by number."""
        store, numbers = self._stores[source], set[str]()
        for index in indexes:
            cursor = ""
            while True:
                page, cursor = await store.page_index(index, cursor, PAGE)
                numbers.update(page)
                if not cursor:
                    break
        loaded = [(e164, await store.load(e164)) for e164 in sorted(numbers)]
        return [from_fields(e164, each.record, each.conf) for e164, each in loaded if each.record]

    async def _board(self, platform: str) -> Board:
        if platform not in self._boards:
            state, store = self._states[platform], self._stores[platform]
            now_ms = await store.now_ms()
            rooms = frozenset(await state.abnormal_rooms())
            supposed = self._supposed if platform == self._platforms.own else Hypothesis()
            terms = Terms("", rooms | supposed.rooms, now_ms - self._silence_ms, self._flap_ms, now_ms)
            known = await state.standings([host.ip for host in await state.hosts()])
            hosts = (_without(host, supposed.gone, now_ms) for host in known)
            self._boards[platform] = Board(platform, hosts, terms, self._most)
        return self._boards[platform]

    async def _candidates(self, board: Board, moid: str) -> Candidates:
        """What RMS would say, asked once a user domain."""
        key = (board.platform, moid)
        if key not in self._answers:
            given = await self._given(board.platform, moid, board.alive)
            missing = board.missing(given.ips or ())
            board.add(await self._states[board.platform].standings(missing))
            self._answers[key] = given
        return self._answers[key]


def _answer(c: Conference, given: Candidates, placement: Placement | None, now_ms: int) -> ResourcesGiven:
    ips: Sequence[str] = given.ips or ()
    return ResourcesGiven(
        now_ms=now_ms,
        epoch=c.epoch,
        roommoid=given.roommoid,
        mcus=tuple(ips),
        vrs="",
        xmpu=False,
        placement=placement,
    )


def _apply(decision: Decision, board: Board) -> None:
    for effect in decision.effects:
        if isinstance(effect, FreeLoad):
            board.free(effect)


def _undrained(host: Standing) -> Standing:
    return replace(host, drained=False)


def _without(host: Standing, gone: frozenset[tuple[str, str]], now_ms: int) -> Standing:
    """The host after some processes of it have gone: one loss, however many."""
    dead = {pid: 0 for ip, pid in gone if ip == host.ip}
    if not dead:
        return host
    return replace(host, seen={**host.seen, **dead}, losses=host.losses + 1, lost_ms=now_ms)
