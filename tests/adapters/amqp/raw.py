"""A blocking client of pika's, in a thread: what another application does to the broker, with no code of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pika
from twisted.internet.threads import deferToThread

T = TypeVar("T")


async def on_channel(host: str, port: int, vhost: str, use: Callable[[Any], T]) -> T:
    """Have `use(channel)` called on a channel of a new connection, which is closed afterwards.

    @return: what it returned.
    """

    def work() -> T:
        connection = pika.BlockingConnection(pika.ConnectionParameters(host, port, vhost))
        try:
            return use(connection.channel())
        finally:
            if connection.is_open:
                connection.close()

    return await deferToThread(work)
