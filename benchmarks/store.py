"""What the conference store costs, on a private Redis: `python -m benchmarks.part store`.

For each operation: client CPU in microseconds, one at a time and with many in flight, and what the server spent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react

from benchmarks.figures import table
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.ports.store import Commit, OutboxEntry, RequestWrite, Reservation
from tests.servers import Servers

ROUNDS = 6000
IN_FLIGHT = 100
FIELDS = {f"field{n}": f"value-{n}-0123456789" for n in range(14)}
IPS = [f"10.0.0.{n}" for n in range(1, 11)]
Operation = Callable[[int], Awaitable[object]]


def creation(number: int) -> Commit:
    """The first commit of a create: a record of 15 fields, a licence, a request, three indexes."""
    return Commit(
        e164=str(number),
        set_fields={**FIELDS, "first_epoch": "1835008000126469"},
        index_add={"due/platform-a": 1_800_000_000_000, "state/creating": 1, "domain/user-1": 1},
        reserve=(Reservation("small/user-1", str(number), "domain/user-1/license", "smallconfnum", False),),
        request=RequestWrite(f"request-{number}", b"", 600, only_new=True),
        outbox=(entry("mcu", number, 1),),
    )


def change(number: int) -> Commit:
    """A later one: 15 fields, five index moves, two outbox entries."""
    return Commit(
        e164=str(number),
        expected=("1835008000126469", 1),
        set_fields=FIELDS,
        set_conf={"confname": "周会", "password": "", "begintime": "1800000000", "duration": "60"},
        index_add={"due/platform-a": 1_800_000_001_000, "state/ongoing": 1, "host/10.0.0.1": 1},
        index_drop=("state/creating", "waiting/rms"),
        outbox=(entry("cm", number, 2), entry("sql", number, 2)),
    )


def entry(lane: str, number: int, version: int) -> OutboxEntry:
    """An effect of a usual size."""
    return OutboxEntry("platform-a", lane, f"1835008000126469.{version}", b"x" * 400, 1_800_000_000_000)


async def measure(store: RedisStore, operation: Operation, in_flight: int) -> tuple[float, float]:
    """@return: microseconds of CPU an operation, of this process and of the server."""
    server, client = await server_cpu(store), time.process_time()
    for start in range(0, ROUNDS, in_flight):
        numbers = range(start, min(start + in_flight, ROUNDS))
        await gatherResults([Deferred.fromCoroutine(operation(number)) for number in numbers])  # type: ignore[arg-type]
    client = time.process_time() - client
    server = await server_cpu(store) - server
    return client / ROUNDS * 1e6, server / ROUNDS * 1e6


async def server_cpu(store: RedisStore) -> float:
    """@return: seconds of CPU that the server has used."""
    text: bytes = await store.link.command("INFO", "cpu")
    found = dict(line.split(":") for line in text.decode().split("\r\n") if ":" in line)
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def operations(store: RedisStore, state: RedisPlatformState) -> dict[str, Operation]:
    """What a create does, by name, in an order in which each finds what it needs."""

    async def clear(number: int) -> None:
        if number % IN_FLIGHT == 0:  # batched as in service: one call for what was confirmed meanwhile
            done = [(str(each), "1835008000126469.2") for each in range(number, number + IN_FLIGHT)]
            await store.clear_outbox("platform-a", "cm", done)

    return {
        "commit (creation)": lambda number: store.commit(creation(number)),
        "load": lambda number: store.load(str(number), f"request-{number}"),
        "commit (change)": lambda number: store.commit(change(number)),
        "commit (conflict)": lambda number: store.commit(change(number)),
        "clear_outbox (batched)": clear,
        "book (10 hosts)": lambda number: state.book(f"{number}:1", IPS, "room", 0, 30_000),
        "unbook": lambda number: state.unbook([(IPS[number % 10], f"{number}:1")]),
        "now_ms": lambda number: store.now_ms(),
    }


async def measure_all(reactor: IReactorTime, host: str, port: int) -> dict[str, dict[str, list[float]]]:
    """@return: by operation, then by how many are in flight: microseconds of CPU of this process and of the server."""
    store = connect(reactor, RedisSettings(host=host, port=port), "platform-a")
    store.start()
    await store.link.when_connected()
    figures: dict[str, dict[str, list[float]]] = {}
    for in_flight in (1, IN_FLIGHT):
        await store.link.command("FLUSHDB")
        for name, operation in operations(store, RedisPlatformState(store.link)).items():
            figures.setdefault(name, {})[str(in_flight)] = list(await measure(store, operation, in_flight))
    await store.stop()
    return figures


def run(servers: Servers, quick: bool) -> dict[str, Any]:
    """@return: the figures, ready for JSON; the same ones if `quick`: they take seconds. Runs the reactor."""
    server = servers.private_redis()
    found: dict[str, Any] = {}

    async def main(reactor: IReactorTime) -> None:
        found.update(await measure_all(reactor, server.host, server.port))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        server.close()
    return found


def describe(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [[name, *found["1"], *found[str(IN_FLIGHT)]] for name, found in figures.items()]
    return table(["CPU in µs an operation", "alone", "server", f"{IN_FLIGHT} in flight", "server"], rows)
