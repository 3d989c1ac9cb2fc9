"""What very many stored conferences cost an instance that has nothing to do with them: its idle rounds, and its start,
with a thousand and with a million of them, on private Redis servers without an append-only file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater, react

from benchmarks.figures import Ratio, ratio_of, table
from benchmarks.filling import fill, heard_of
from benchmarks.idle import JUDGED, Cost, Idle
from benchmarks.measured import KEY, PLATFORM, Place, new_place, start_css
from benchmarks.store import server_cpu
from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.peers.bmc import BmcPeer
from css.peers.pms import PmsPeer
from tests.servers import RedisServer, Servers

START_LIMIT_SECONDS = 60.0
HEARD_SECONDS = 3.0
Turns = dict[str, list[Cost]]
"""What each turn of a timer has cost, by its name."""
SCANS = ("scan", "keys", "hscan", "sscan", "zscan")


class Plan(msgspec.Struct, frozen=True):
    """How much is done."""

    few: int
    many: int
    starts: int
    """Of the instance on each store, in turns."""
    serving_seconds: float
    """How long an instance serves before its memory is read."""
    turns: int
    """Of each timer on each store, one after the other; the first warms up."""
    rounds: int
    """Of each timer in a turn."""


FULL = Plan(few=1_000, many=1_000_000, starts=3, serving_seconds=10.0, turns=40, rounds=50)
QUICK = Plan(few=500, many=5_000, starts=1, serving_seconds=0.5, turns=3, rounds=20)


class Start(msgspec.Struct):
    """One start of `twistd css`, up to some seconds of service."""

    seconds: float
    """Until it serves."""
    peak_mb: float
    """Of resident memory."""
    redis_ms: float
    """CPU of the Redis server, from the start to the reading of the memory."""
    scans: int
    """Commands that walk through keys or members."""


class Result(msgspec.Struct):
    """All that is measured. `few`, `many`: with that many conferences."""

    few: dict[str, Cost]
    """By timer, medians of the turns."""
    many: dict[str, Cost]
    ratio: float
    """Of an idle round of restore, expiry and liveness together: of what each timer's turns cost in the middle."""
    spread: Ratio
    """Of the same, turn by turn."""
    noise: Ratio
    """Of the store with few against itself, a turn and the next: what is no more than this says nothing."""
    by_timer: dict[str, Ratio]
    few_starts: list[Start]
    many_starts: list[Start]
    more_mb: float
    """Peak memory with many less that with few, medians."""
    plan: Plan


class Bench:
    """Runs all of it. Peers are in this process."""

    def __init__(self, reactor: Any, servers: Servers, plan: Plan) -> None:
        self._reactor = reactor
        self._servers = servers
        self._plan = plan

    async def run(self, few: RedisServer, many: RedisServer) -> Result:
        """Fill both, start instances on both in turns, then measure the rounds of one on each in turns."""
        plan = self._plan
        for server, count in ((few, plan.few), (many, plan.many)):
            await self._fill(server, count)
        few_starts, many_starts = [], []
        for _ in range(plan.starts):
            few_starts.append(await self._start(few))
            many_starts.append(await self._start(many))
        few_turns, many_turns = await self._rounds(few, many)
        spread = _compared(_totals(few_turns, JUDGED), _totals(many_turns, JUDGED))
        alone = _totals(few_turns, JUDGED)
        by_timer = {name: _compared(_totals(few_turns, (name,)), _totals(many_turns, (name,))) for name in few_turns}
        few_cost, many_cost = (
            {name: median_of(found) for name, found in turns.items()} for turns in (few_turns, many_turns)
        )
        ratio = sum(many_cost[name].total for name in JUDGED) / sum(few_cost[name].total for name in JUDGED)
        more_mb = median(each.peak_mb for each in many_starts) - median(each.peak_mb for each in few_starts)
        return Result(
            few_cost,
            many_cost,
            ratio,
            spread,
            _compared(alone[:-1], alone[1:]),
            by_timer,
            few_starts,
            many_starts,
            more_mb,
            plan,
        )

    async def _fill(self, server: RedisServer, count: int) -> None:
        store = await self._connected(server)
        await fill(store, count, int(self._reactor.seconds()))
        await store.stop()

    async def _connected(self, server: RedisServer) -> RedisStore:
        store: RedisStore = connect(self._reactor, RedisSettings(host=server.host, port=server.port), PLATFORM)
        store.start()
        await store.link.when_connected()
        return store

    async def _start(self, server: RedisServer) -> Start:
        place = msgspec.structs.replace(new_place(self._servers), redis=server.address, database=0)
        store = await self._connected(server)
        alive = LoopingCall(lambda: Deferred.fromCoroutine(heard_of(store, int(self._reactor.seconds()))))
        _ = alive.start(HEARD_SECONDS)
        bus = AmqpBus(self._reactor, [AmqpAddress.from_url(place.amqp_url)], name="peers")
        bus.start()
        peers = self._peers(bus, place)
        for peer in peers:
            peer.start()
        await bus.when_connected()
        try:
            return await self._measured_start(place, store)
        finally:
            alive.stop()
            for peer in peers:
                await peer.stop()
            await bus.stop()
            await store.stop()

    def _peers(self, bus: AmqpBus, place: Place) -> tuple[PmsPeer, BmcPeer]:
        pms = PmsPeer(bus, self._reactor, Random(1), PLATFORM, configs={PLATFORM: place.config})
        bmc = BmcPeer(bus, self._reactor, Random(2), KEY.encode())
        bmc.licences[PLATFORM] = {}
        return pms, bmc

    async def _measured_start(self, place: Place, store: RedisStore) -> Start:
        cpu, scans, began = await server_cpu(store), await scans_of(store), self._reactor.seconds()
        css = start_css(place)
        try:
            while "serves platform" not in css.log.read_text(errors="replace"):
                if self._reactor.seconds() - began > START_LIMIT_SECONDS or not css.running:
                    raise RuntimeError(f"it does not serve:\n{css.log.read_text(errors='replace')[-4000:]}")
                await deferLater(self._reactor, 0.05)
            seconds = self._reactor.seconds() - began
            await deferLater(self._reactor, self._plan.serving_seconds)
            cpu, scans = await server_cpu(store) - cpu, await scans_of(store) - scans
            return Start(seconds, peak_mb(css.pid), cpu * 1000, scans)
        finally:
            css.end()

    async def _rounds(self, few: RedisServer, many: RedisServer) -> tuple[Turns, Turns]:
        """Short turns of one timer on the one store, then on the other: what a server does beside by its own clock
        (expiry, resizing) or the machine does for others falls into some of them, and not into the median."""
        sides = [Idle(self._reactor, few.address), Idle(self._reactor, many.address)]
        await gatherResults([Deferred.fromCoroutine(side.start()) for side in sides])
        found: tuple[Turns, Turns] = ({}, {})
        for name in sides[0].names:
            for turn in range(self._plan.turns + 1):
                pairs = list(zip(sides, found, strict=True))
                for side, turns in pairs if turn % 2 else reversed(pairs):
                    cost = await side.cost(name, self._plan.rounds)
                    if turn:
                        turns.setdefault(name, []).append(cost)
        for side in sides:
            if await side.waiting():
                raise RuntimeError("conferences were lost: this was not idle")
            await side.stop()
        return found


def median_of(costs: Sequence[Cost]) -> Cost:
    """@param costs: at least one."""
    return Cost(median(each.css for each in costs), median(each.redis for each in costs))


def _compared(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """The others in terms of the ones, pair by pair."""
    return ratio_of([other / one for one, other in zip(ones, others, strict=True)])


def _totals(turns: Turns, names: Sequence[str]) -> list[float]:
    """Of some timers together, turn by turn."""
    return [sum(cost.total for cost in turn) for turn in zip(*(turns[name] for name in names), strict=True)]


async def scans_of(store: RedisStore) -> int:
    """How many commands that walk through a server's keys, or a key's members, it has executed."""
    text: bytes = await store.link.command("INFO", "commandstats")
    found = re.findall(r"cmdstat_(\w+):calls=(\d+)", text.decode())
    return sum(int(calls) for name, calls in found if name in SCANS)


def peak_mb(pid: int) -> float:
    """The most resident memory that a process has ever had, MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1000


def run(servers: Servers, quick: bool) -> dict[str, Any]:
    """@return: the figures, ready for JSON. Runs the reactor: once a process."""
    few, many = servers.private_redis(durable=False), servers.private_redis(durable=False)
    results: list[Result] = []

    async def main(reactor: Any) -> None:
        results.append(await Bench(reactor, servers, QUICK if quick else FULL).run(few, many))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        few.close()
        many.close()
    figures: dict[str, Any] = msgspec.to_builtins(results[0])
    return figures


def describe(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    result = msgspec.convert(figures, Result)
    plan = result.plan
    rows = [
        [name, few.css, few.redis, many.css, many.redis, spread.median, *spread.quarters]
        for name, few, many, spread in (
            (name, cost, result.many[name], result.by_timer[name]) for name, cost in result.few.items()
        )
    ]
    starts = [
        [f"{count:,} conferences", *(median(getattr(each, name) for each in found) for name in Start.__struct_fields__)]
        for count, found in ((plan.few, result.few_starts), (plan.many, result.many_starts))
    ]
    what = f"CPU in µs an idle round, with {plan.few:,} and {plan.many:,}"
    heads = [what, "CSS", "Redis", "CSS", "Redis", "ratio", "half from", "to"]
    return "\n".join(
        [
            table(heads, rows),
            f"restore, expiry and liveness together ({', '.join(JUDGED)}): {result.ratio:.2f} times",
            f"of {plan.turns} pairs of turns half lie from {_quarters(result.spread)};"
            f" the store with {plan.few:,} against itself: from {_quarters(result.noise)}",
            "",
            table(["a start (medians)", "s to serve", "peak MB", "Redis CPU ms", "scans"], starts),
            f"with {plan.many:,} it takes {result.more_mb:+.1f} MB",
        ]
    )


def _quarters(ratio: Ratio) -> str:
    return f"{ratio.quarters[0]:.2f} to {ratio.quarters[1]:.2f}"
