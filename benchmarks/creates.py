"""What a create costs one CSS process, against a relay that makes the same hops and does nothing else; and how long
a create takes at half of the rate that one process can do."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from benchmarks.figures import Run, Side, percentile, summed, table
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
    """Of CSS and of the relay, in turns."""
    warm_up: int
    """Creates before each measured stretch."""
    creates: int
    """Creates of each measured stretch."""
    outstanding: int
    """Creates that wait for their answer at any time of it."""
    latency_seconds: float


FULL = Plan(rounds=2, warm_up=1_000, creates=4_000, outstanding=150, latency_seconds=10.0)
QUICK = Plan(rounds=1, warm_up=50, creates=200, outstanding=50, latency_seconds=1.0)


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
    """CSS's CPU a create in terms of the relay's."""
    css_latency: Latency
    relay_latency: Latency
    """At the same rate."""
    css_runs: list[Run]
    relay_runs: list[Run]
    plan: Plan


class Bench:
    """Runs the rounds. All peers are in this process, the measured ones are children."""

    def __init__(self, reactor: Any, servers: Servers, plan: Plan) -> None:
        self._reactor = reactor
        self._servers = servers
        self._plan = plan

    async def run(self) -> Result:
        """Measure CSS, the relay, CSS, the relay …; latency at the end of each one's last round."""
        plan = self._plan
        css_runs: list[Run] = []
        relay_runs: list[Run] = []
        for left in reversed(range(plan.rounds)):
            css_latency = await self._round(start_css, css_runs, css_runs, left == 0)
            relay_latency = await self._round(_start_relay, relay_runs, css_runs, left == 0)
        assert css_latency is not None and relay_latency is not None
        css, relay = summed(css_runs), summed(relay_runs)
        ratio = css.cpu_us_per_create / relay.cpu_us_per_create
        return Result(css, relay, ratio, css_latency, relay_latency, css_runs, relay_runs, plan)

    async def _round(self, start: Starter, runs: list[Run], pace: list[Run], is_last: bool) -> Latency | None:
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
        try:
            await self._until_ready(measured, bmc, load)
            await self._saturate(load, self._plan.warm_up)
            runs.append(await self._measure(measured, load))
            return await self._latency(measured, load, summed(pace).creates_per_second / 2) if is_last else None
        except Exception:
            print(measured.log.read_text(errors="replace")[-4000:])
            raise
        finally:
            measured.end()
            await pms.stop()
            await bmc.stop()
            await bus.stop()

    async def _until_ready(self, measured: Measured, bmc: BmcPeer, load: Load) -> None:
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        while True:
            bmc.send_domain("add", PLATFORM, level=1, used=1)
            bmc.send_domain("add", USER_DOMAIN, level=0, uplevelmoid=PLATFORM, used=1)
            try:
                await load.saturate(1, 1).addTimeout(1.0, self._reactor)
                return
            except Exception as error:
                if self._reactor.seconds() > give_up_at or not measured.running:
                    raise RuntimeError("the measured process does not create conferences") from error
            await deferLater(self._reactor, 0.2)

    async def _saturate(self, load: Load, creates: int) -> None:
        done = load.saturate(creates, self._plan.outstanding)
        await done.addTimeout(SILENCE_LIMIT_SECONDS, self._reactor)

    async def _measure(self, measured: Measured, load: Load) -> Run:
        plan = self._plan
        cpu, began = measured.cpu_seconds(), self._reactor.seconds()
        await self._saturate(load, plan.creates)
        return Run(plan.creates, self._reactor.seconds() - began, measured.cpu_seconds() - cpu)

    async def _latency(self, measured: Measured, load: Load, per_second: float) -> Latency:
        creates = max(1, int(per_second * self._plan.latency_seconds))
        cpu = measured.cpu_seconds()
        done = load.by_timetable(creates, per_second)
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
    sides = [
        [name, side.creates_per_second, side.cpu_us_per_create, f"{side.busy:.0%}"]
        for name, side in (("CSS", result.css), ("relay on pika", result.relay))
    ]
    latencies = [
        [name, each.creates_per_second, each.cpu_us_per_create, each.p50_ms, each.p99_ms, each.max_ms]
        for name, each in (("CSS", result.css_latency), ("relay on pika", result.relay_latency))
    ]
    return "\n".join(
        [
            table(["one process, saturated", "creates/s", "CPU µs/create", "busy"], sides),
            f"CSS uses {result.ratio:.2f} times the relay's CPU a create",
            "",
            table(
                ["by a timetable, at half that", "creates/s", "CPU µs/create", "p50 ms", "p99 ms", "max ms"], latencies
            ),
        ]
    )
