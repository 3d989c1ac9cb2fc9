"""What one consume + publish with confirm + acknowledgement costs a process: the AMQP adapter through its port, beside
pika's adapter for Twisted. `python -m benchmarks.amqp [--quick] [--json FILE]`.

Both run in processes of their own, in turns, on the same RabbitMQ, from a queue that was filled before.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pika

from benchmarks.echo import HEADERS, QUEUE_IN, QUEUE_OUT, WAYS, Stretch
from benchmarks.figures import table
from tests.servers import Servers

BODY_BYTES = 400
LIMIT_SECONDS = 300.0
ROOT = Path(__file__).resolve().parent.parent


class Plan(msgspec.Struct, frozen=True):
    """How much is done."""

    rounds: int
    """Of each way, in turns, at each prefetch."""
    messages: int
    prefetches: tuple[int, ...]


FULL = Plan(rounds=3, messages=20_000, prefetches=(20, 200))
QUICK = Plan(rounds=1, messages=2_000, prefetches=(20,))


def run(servers: Servers, quick: bool) -> dict[str, Any]:
    """@return: for each prefetch each way's CPU a message (the median of its rounds, and all) and their ratio."""
    plan = QUICK if quick else FULL
    broker = servers.rabbitmq()
    address = (broker.host, broker.port, broker.new_vhost())
    by_prefetch = {str(prefetch): _compare(address, plan, prefetch) for prefetch in plan.prefetches}
    ratios = [compared["ratio"] for compared in by_prefetch.values()]
    return {"plan": msgspec.to_builtins(plan), "body_bytes": BODY_BYTES, "prefetch": by_prefetch, "ratio": max(ratios)}


def describe(figures: dict[str, Any]) -> str:
    """@return: the figures as a table."""
    heads = ("prefetch", "CSS us/message", "pika us/message", "ratio", "CSS messages/s", "pika messages/s")
    rows = []
    for prefetch, compared in figures["prefetch"].items():
        css, other = compared["css"], compared["pika"]
        rates = (css["messages_per_second"], other["messages_per_second"])
        rows.append((prefetch, css["cpu_us"], other["cpu_us"], compared["ratio"], *rates))
    return table(heads, rows)


def _compare(address: tuple[str, int, str], plan: Plan, prefetch: int) -> dict[str, Any]:
    stretches: dict[str, list[Stretch]] = {way: [] for way in WAYS}
    for _ in range(plan.rounds):
        for way in WAYS:
            _fill(address, plan.messages)
            stretches[way].append(_measure(way, address, plan.messages, prefetch))
    compared: dict[str, Any] = {way: _summary(runs) for way, runs in stretches.items()}
    return {**compared, "ratio": compared["css"]["cpu_us"] / compared["pika"]["cpu_us"]}


def _summary(runs: list[Stretch]) -> dict[str, Any]:
    cpu_us = [one.cpu_seconds / one.messages * 1e6 for one in runs]
    rate = statistics.median(one.messages / one.seconds for one in runs)
    return {"cpu_us": statistics.median(cpu_us), "messages_per_second": rate, "cpu_us_of_each_round": cpu_us}


def _measure(way: str, address: tuple[str, int, str], messages: int, prefetch: int) -> Stretch:
    host, port, vhost = address
    url = f"amqp://guest:guest@{host}:{port}/{vhost}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.echo", way, url, str(messages), str(prefetch)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Stretch)


def _fill(address: tuple[str, int, str], messages: int) -> None:
    """Have `QUEUE_IN` hold exactly so many messages, and `QUEUE_OUT` none."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(*address))
    channel = connection.channel()
    for queue in (QUEUE_IN, QUEUE_OUT):
        channel.queue_declare(queue, durable=True)
        channel.queue_purge(queue)
    for number in range(messages):
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            headers=HEADERS,
            message_id=f"5f2f6d7e-2f0c-5d0e-9a52-{number:012x}",
            correlation_id=f"platform-a/{number:07d}/1835008000126469",
            reply_to="MAU.MCU.Q",
        )
        channel.basic_publish("", QUEUE_IN, b"x" * BODY_BYTES, properties)
    while channel.queue_declare(QUEUE_IN, passive=True).method.message_count < messages:
        connection.sleep(0.05)
    connection.close()


if __name__ == "__main__":
    from benchmarks.part import main

    sys.argv[1:1] = ["amqp"]
    main()
