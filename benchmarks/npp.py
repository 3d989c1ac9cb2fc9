"""What NGI waits for a page of 1,000 conferences: `python -m benchmarks.part npp`.

100,000 conferences in a private Redis, `twistd npp` in a process of its own, 50 readers in this one, each of whom walks
through the pages. In turns with them 50 who read the same data straight from Redis, with a pipeline of HGETALL on
`confex/` and `conf/`, and do nothing with it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from benchmarks.figures import percentile, table
from benchmarks.filling import fill
from benchmarks.measured import Measured
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import connect
from css.peers.npp import DiscoveryPeer, NgiPeer
from tests.servers import Servers
from tests.servers.process import free_port, new_folder
from tests.servers.redis import RedisServer

PLATFORM = "platform-a"
PAGE = 1000
PATIENCE_SECONDS = 540.0
"""For the last of all replies that the bare readers have asked for at once: the whole part may take little longer."""
RUN_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class Plan(msgspec.Struct, frozen=True):
    """How much is done."""

    conferences: int
    readers: int
    pages: int
    """Each reader's, in each of the rounds."""
    rounds: int


FULL = Plan(100_000, 50, 6, 2)
QUICK = Plan(3_000, 10, 3, 1)


class Side(msgspec.Struct):
    """One of two that are compared. Milliseconds a page of 1,000, all readers at once."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    pages_per_second: float
    cpu_ms: float
    """Of the process that answers, or that reads, a page."""


class Result(msgspec.Struct):
    """All figures."""

    npp: Side
    bare: Side
    plan: Plan
    between_p99_ms: float
    """What somebody waits who asks for one conference, while all the others read."""


class Walked(msgspec.Struct):
    """All rounds of one side taken together."""

    waits: list[float] = []
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def side(self) -> Side:
        """The figures."""
        ms = [wait * 1000 for wait in self.waits]
        rate, cpu = len(ms) / self.seconds, self.cpu_seconds / len(ms) * 1000
        return Side(percentile(ms, 50), percentile(ms, 99), max(ms), rate, cpu)


class Bench:
    """One run."""

    def __init__(self, reactor: Any, server: RedisServer, plan: Plan) -> None:
        self._reactor = reactor
        self._server = server
        self._plan = plan
        self._random = Random(7)
        self._npp, self._bare, self._between = Walked(), Walked(), Walked()

    async def run(self) -> Result:
        """Fill, start, read in turns."""
        settings = RedisSettings(
            host=self._server.host,
            port=self._server.port,
            command_timeout_seconds=PATIENCE_SECONDS,
            max_in_flight=4 * PAGE * self._plan.readers,
        )
        self._store = connect(self._reactor, settings, PLATFORM)
        self._store.start()
        await self._store.link.when_connected()
        await fill(self._store, self._plan.conferences, int(self._reactor.seconds()))
        discovery = DiscoveryPeer(self._reactor)
        discovery.redis = [(self._server.host, self._server.port, 0, PLATFORM)]
        process = self._started(discovery.start())
        try:
            await self._until_ready()
            await self._all(process)
        finally:
            process.end()
            await self._ngi.close()
            await discovery.stop()
            await self._store.stop()
        between = percentile([wait * 1000 for wait in self._between.waits], 99)
        return Result(self._npp.side(), self._bare.side(), self._plan, between)

    async def _all(self, process: Measured) -> None:
        for _ in range(self._plan.rounds):
            going_on = [True]
            looking = Deferred.fromCoroutine(self._look(going_on))
            await self._round(self._npp, self._over_http, process.cpu_seconds)
            going_on.clear()
            await looking
            await self._round(self._bare, self._straight, time.process_time)

    async def _round(self, walked: Walked, read: Callable[[str], Awaitable[str]], cpu: Callable[[], float]) -> None:
        began, cpu_began = self._reactor.seconds(), cpu()
        readers = [Deferred.fromCoroutine(self._walk(walked, read)) for _ in range(self._plan.readers)]
        await gatherResults(readers)
        walked.seconds += self._reactor.seconds() - began
        walked.cpu_seconds += cpu() - cpu_began

    async def _walk(self, walked: Walked, read: Callable[[str], Awaitable[str]]) -> None:
        after = ""
        for _ in range(self._plan.pages):
            began = self._reactor.seconds()
            after = await read(after)
            walked.waits.append(self._reactor.seconds() - began)

    async def _over_http(self, cursor: str) -> str:
        more = {"cursor": cursor} if cursor else {}
        status, page = await self._ngi.get(platformmoid=PLATFORM, limit=PAGE, **more)
        if status != 200 or len(page["conferences"]) != PAGE:
            raise ValueError(f"no full page: {status}")
        return page["cursor"] or ""

    async def _straight(self, after: str) -> str:
        """As if the numbers were known already."""
        start = int(after or self._random.randrange(self._plan.conferences // PAGE) * PAGE) % self._plan.conferences
        numbers = [f"{number:08}" for number in range(start, start + PAGE)]
        keys = [key for number in numbers for key in (f"confex/{number}", f"conf/{number}")]
        found = await gatherResults([self._store.link.command("HGETALL", key) for key in keys])
        if not all(found):
            raise ValueError("a conference is missing")
        return str(start + PAGE)

    async def _look(self, going_on: list[bool]) -> None:
        while going_on:
            began = self._reactor.seconds()
            status, _ = await self._ngi.get(platformmoid=PLATFORM, limit=1)
            if status != 200:
                raise ValueError(f"refused: {status}")
            self._between.waits.append(self._reactor.seconds() - began)

    def _started(self, discovery: str) -> Measured:
        folder, port = new_folder("bench-npp"), free_port()
        (folder / "discovery").write_text(discovery)
        config = folder / "npp.toml"
        config.write_text(
            f'[platform]\nmoid = "{PLATFORM}"\n[npp]\ndiscovery_file = "discovery"\n'
            f'[web]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n'
        )
        self._ngi = NgiPeer(self._reactor, f"http://127.0.0.1:{port}")
        command = [sys.executable, "-c", RUN_TWISTD, "-n", "--pidfile=", "npp", "--config", str(config)]
        return Measured("npp", command)

    async def _until_ready(self) -> None:
        for _ in range(300):
            try:
                status, _ = await self._ngi.get(platformmoid=PLATFORM, limit=1)
            except Exception:
                status = 0
            if status == 200:
                return
            await deferLater(self._reactor, 0.1)
        raise ValueError("twistd npp does not answer")


def run(servers: Servers, quick: bool) -> dict[str, Any]:
    """@return: the figures, ready for JSON. Runs the reactor: once a process."""
    server = servers.private_redis(durable=False)
    results: list[Result] = []

    async def main(reactor: Any) -> None:
        results.append(await Bench(reactor, server, QUICK if quick else FULL).run())

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        server.close()
    figures: dict[str, Any] = msgspec.to_builtins(results[0])
    return figures


def describe(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    result = msgspec.convert(figures, Result)
    rows = [
        [name, side.p50_ms, side.p99_ms, side.max_ms, side.pages_per_second, side.cpu_ms]
        for name, side in (("over HTTP, from NPPCLIENT", result.npp), ("bare HGETALL, a pipeline", result.bare))
    ]
    plan, ratio = result.plan, result.npp.p99_ms / result.bare.p99_ms
    heads = [f"a page of {PAGE:,} in ms, {plan.readers} readers", "p50", "p99", "max", "pages/s", "CPU"]
    return "\n".join(
        [
            table(heads, rows),
            f"p99 is {ratio:.2f} times the bare one; there are {plan.conferences:,} conferences",
            f"whoever asks for one conference meanwhile waits {result.between_p99_ms:.1f} ms (p99)",
        ]
    )
