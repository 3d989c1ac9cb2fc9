"""Asking service discovery where the Redis of each source platform is (contract, section 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool

from css.messages.pms import RedisAddress

TIMEOUT_SECONDS = 5.0
"""For the connection, and once more for the answer."""
MAX_ANSWER_BYTES = 1 << 20


class DiscoveryError(Exception):
    """Service discovery has not answered, or not with what it should; the text says why."""


class _Answer(msgspec.Struct):
    redis: list[RedisAddress]


_decode = msgspec.json.Decoder(_Answer).decode


class Discovery:
    """Asks anew each time, at the address that the file then holds.

    @param own: moid of the own platform.
    @param reactor: provides what `Agent` needs.
    """

    def __init__(self, reactor: Any, file: str, own: str) -> None:
        self._reactor = reactor
        self._file = Path(file)
        self._own = own
        self._pool = HTTPConnectionPool(reactor, persistent=False)
        self._client = HTTPClient(Agent(reactor, connectTimeout=TIMEOUT_SECONDS, pool=self._pool))

    async def ask(self) -> list[RedisAddress]:
        """Every Redis of the own platform, with its source platform. Fails with `DiscoveryError`."""
        url = f"http://{self._place()}/redis?platformmoid={quote(self._own, safe='')}"
        try:
            return _decode(await self._read(url)).redis
        except msgspec.MsgspecError as error:
            raise DiscoveryError(f"{url} answers what can't be read: {error}") from error
        except DiscoveryError:
            raise
        except Exception as error:
            # Whatever Twisted's client raises: refused, timed out, no HTTP, cut off in the middle …
            raise DiscoveryError(f"{url} does not answer: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Close what is still open."""
        await self._pool.closeCachedConnections()

    def _place(self) -> str:
        try:
            place = self._file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DiscoveryError(f"the file {self._file} can't be read: {error}") from error
        try:
            url = urlsplit(f"//{place}")
            is_place = bool(url.hostname and url.port) and not url.path and url.username is None
        except ValueError:
            is_place = False
        if not is_place or len(place.split()) != 1:
            raise DiscoveryError(f"the file {self._file} does not hold one host:port")
        return place

    async def _read(self, url: str) -> bytes:
        response = await self._client.get(url, timeout=TIMEOUT_SECONDS)
        body = bytearray()

        def take(data: bytes) -> None:
            if len(body) <= MAX_ANSWER_BYTES:
                body.extend(data)

        await response.collect(take).addTimeout(TIMEOUT_SECONDS, self._reactor)
        if response.code != 200:
            raise DiscoveryError(f"{url} answers with status {response.code}")
        if len(body) > MAX_ANSWER_BYTES:
            raise DiscoveryError(f"{url} answers with more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)
