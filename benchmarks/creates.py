"""What a create costs one CSS process, against a relay that makes the same hops and does nothing else; and how long
a create takes at half of the rate that one process can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from benchmarks.figures import Ratio, Run, Side, percentile, ratio_of, summed, table
from benchmarks.load import USER_DOMAIN, Load
from benchmarks.measured import KEY, PLATFORM, Measured, Place, new_place, start_css, start_relay
from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.peers.bmc import BmcPeer
from css.peers.pms import PmsPeer
from tests.servers import Servers

HOSTS = [f"10.0.0.{number}" for number in range(1, 11)]
START_LIMIT_SECONDS = 60.0
SILENCE_LIMIT_SECONDS = 60.0
Starter = Callable[[Place], Measured]


class Plan(msgspec.Struct, frozen=True):
    """How much is done."""

    rounds: int
    """Measured stretches of each side, in turns."""
    warm_up: int
    """Creates of each side before all of them; not counted."""
    creates: int
    """Creates of each measured stretch."""
    outstanding: int
    """Creates that wait for their answer at any time of it."""
    settle_seconds: float
    """After the last answer of a stretch: rows, confirms and what the outbox forgets belong to its creates, too."""
    latency_seconds: float


FULL = Plan(rounds=12, warm_up=2_000, creates=800, outstanding=400, settle_seconds=0.4, latency_seconds=10.0)
QUICK = Plan(rounds=2, warm_up=50, creates=100, outstanding=50, settle_seconds=0.4, latency_seconds=1.0)


class Latency(msgspec.Struct):
    """Of creates that were sent by a timetable. Milliseconds."""

    creates_per_second: float
    creates: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us_per_create: float
    """More than at saturation, where one read brings many messages."""


class Result(msgspec.Struct):
    """All that is measured."""

    css: Side
    relay: Side
    ratio: float
    """CSS's CPU a create in terms of the relay's, the median of all pairs of stretches."""
    spread: Ratio
    css_latency: Latency
    relay_latency: Latency
    """At the same rate."""
    css_runs: list[Run]
    relay_runs: list[Run]
    plan: Plan


class Opened(msgspec.Struct):
    """A measured process with peers of its own, on a broker's vhost of its own."""

    measured: Measured
    load: Load
    bmc: BmcPeer
    close: Callable[[], Awaitable[None]]


class Bench:
    """Runs the rounds. All peers are in this process, the measured ones are children; both are there all the time, and
    one is at rest while the other is measured."""

    def __init__(self, reactor: Any, servers: Servers, plan: Plan) -> None:
        self._reactor = reactor
        self._servers = servers
        self._plan = plan

    async def run(self) -> Result:
        """Measure CSS, the relay, CSS, the relay …; then the latency of both, at the same rate."""
        css = await self._open(start_css)
        try:
            relay = await self._open(_start_relay)
            try:
                return await self._compare(css, relay)
            finally:
                await relay.close()
        finally:
            await css.close()

    async def _compare(self, css: Opened, relay: Opened) -> Result:
        plan, css_runs, relay_runs = self._plan, list[Run](), list[Run]()
        for side in (css, relay):
            await self._until_ready(side)
            await self._saturate(side, plan.warm_up)
        for _ in range(plan.rounds):
            css_runs.append(await self._measure(css))
            relay_runs.append(await self._measure(relay))
        pairs = [one.cpu_seconds / other.cpu_seconds for one, other in zip(css_runs, relay_runs, strict=True)]
        spread, rate = ratio_of(pairs), summed(css_runs).creates_per_second / 2
        css_latency, relay_latency = await self._latency(css, rate), await self._latency(relay, rate)
        sides = summed(css_runs), summed(relay_runs)
        return Result(*sides, spread.median, spread, css_latency, relay_latency, css_runs, relay_runs, plan)

    async def _open(self, start: Starter) -> Opened:
        place = new_place(self._servers)
        bus = AmqpBus(self._reactor, [AmqpAddress.from_url(place.amqp_url)], name="peers")
        bus.start()
        pms = PmsPeer(bus, self._reactor, Random(1), PLATFORM, configs={PLATFORM: place.config})
        bmc = BmcPeer(bus, self._reactor, Random(2), KEY.encode())
        bmc.licences[PLATFORM] = {}
        load = Load(bus, self._reactor, HOSTS)
        for peer in (pms, bmc, load):
            peer.start()
        await bus.when_connected()
        measured = start(place)

        async def close() -> None:
            measured.end()
            await pms.stop()
            await bmc.stop()
            await bus.stop()

        return Opened(measured, load, bmc, close)

    async def _until_ready(self, side: Opened) -> None:
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        while True:
            side.bmc.send_domain("add", PLATFORM, level=1, used=1)
            side.bmc.send_domain("add", USER_DOMAIN, level=0, uplevelmoid=PLATFORM, used=1)
            try:
                await side.load.saturate(1, 1).addTimeout(1.0, self._reactor)
                return
            except Exception as error:
                if self._reactor.seconds() > give_up_at or not side.measured.running:
                    print(side.measured.log.read_text(errors="replace")[-4000:])
                    raise RuntimeError("the measured process does not create conferences") from error
            await deferLater(self._reactor, 0.2)

    async def _saturate(self, side: Opened, creates: int) -> None:
        done = side.load.saturate(creates, self._plan.outstanding)
        try:
            await done.addTimeout(SILENCE_LIMIT_SECONDS, self._reactor)
        except Exception:
            print(side.measured.log.read_text(errors="replace")[-4000:])
            raise

    async def _measure(self, side: Opened) -> Run:
        plan, measured = self._plan, side.measured
        cpu, ready, began = measured.cpu_seconds(), measured.ready_seconds(), self._reactor.seconds()
        await self._saturate(side, plan.creates)
        seconds, ready = self._reactor.seconds() - began, measured.ready_seconds() - ready
        await deferLater(self._reactor, plan.settle_seconds)
        return Run(plan.creates, seconds, measured.cpu_seconds() - cpu, ready)

    async def _latency(self, side: Opened, per_second: float) -> Latency:
        measured, creates = side.measured, max(1, int(per_second * self._plan.latency_seconds))
        cpu = measured.cpu_seconds()
        done = side.load.by_timetable(creates, per_second)
        taken = await done.addTimeout(self._plan.latency_seconds + SILENCE_LIMIT_SECONDS, self._reactor)
        cpu_us = (measured.cpu_seconds() - cpu) / creates * 1e6
        p50, p99 = percentile(taken, 50) * 1000, percentile(taken, 99) * 1000
        return Latency(per_second, creates, p50, p99, max(taken) * 1000, cpu_us)


def _start_relay(place: Place) -> Measured:
    return start_relay(place, HOSTS)


def measure(servers: Servers, plan: Plan) -> Result:
    """Run the reactor until all is measured; once a process."""
    results: list[Result] = []

    async def main(reactor: Any) -> None:
        results.append(await Bench(reactor, servers, plan).run())

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    return results[0]


def run(servers: Servers, quick: bool) -> dict[str, Any]:
    """@return: the figures, ready for JSON. Runs the reactor: once a process."""
    figures: dict[str, Any] = msgspec.to_builtins(measure(servers, QUICK if quick else FULL))
    return figures


def describe(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    result = msgspec.convert(figures, Result)
    spread = result.spread
    sides = [
        [name, side.creates_per_second, side.cpu_us_per_create, f"{side.busy:.0%}", f"{side.ready:.0%}"]
        for name, side in (("CSS", result.css), ("relay on pika", result.relay))
    ]
    latencies = [
        [name, each.creates_per_second, each.cpu_us_per_create, each.p50_ms, each.p99_ms, each.max_ms]
        for name, each in (("CSS", result.css_latency), ("relay on pika", result.relay_latency))
    ]
    return "\n".join(
        [
            table(["one process, saturated", "creates/s", "CPU µs/create", "busy", "ready"], sides),
            f"CSS uses {result.ratio:.2f} times the relay's CPU a create: the median of {len(spread.pairs)} pairs of"
            f" stretches; half of them from {spread.quarters[0]:.2f} to {spread.quarters[1]:.2f}, all from"
            f" {spread.lowest:.2f} to {spread.highest:.2f}",
            "",
            table(
                ["by a timetable, at half that", "creates/s", "CPU µs/create", "p50 ms", "p99 ms", "max ms"], latencies
            ),
        ]
    )
