"""One part of the benchmarks in a process of its own: `python -m benchmarks.part NAME [--quick] [--json FILE]`.

A part is a module `benchmarks.NAME` with `run(servers, quick)`, which gives figures, and `describe(figures)`, which
makes a table of them.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import msgspec

from tests.servers import servers

PARTS = {
    "amqp": "(a) a message through the AMQP adapter, against pika's for Twisted",
    "creates": "(b) a create through one CSS process, (c) its latency at half of that rate",
    "store": "the conference store",
    "npp": "pages of running conferences over HTTP, beside a bare pipeline of HGETALL",
    "stored": "idle rounds and a start, with very many stored conferences",
}


def main() -> None:
    """Run one part, print its table, and write its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.part")
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="a few seconds, figures of no worth")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    part = import_module(f"benchmarks.{options.name}")
    figures = part.run(servers(), options.quick)
    print(f"\n{PARTS[options.name]}\n{part.describe(figures)}", flush=True)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode(figures))


if __name__ == "__main__":
    main()
