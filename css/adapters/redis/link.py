"""A connection that comes back by itself, from `start` to `stop`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, FirstError, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from css.adapters.redis.advice import advise
from css.adapters.redis.locate import Locator
from css.adapters.redis.protocol import StoreProtocol
from css.adapters.redis.scripts import ALL, Script
from css.adapters.redis.settings import RedisSettings
from css.ports.store import StoreError

_encode = msgspec.msgpack.Encoder().encode


class Link:
    """One Redis or Valkey. While it is away every command fails at once."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, settings: RedisSettings, protocol: type[StoreProtocol] = StoreProtocol
    ) -> None:
        self._reactor = reactor
        self.settings = settings
        self._locator = Locator(reactor, settings, protocol)
        self._protocol: StoreProtocol | None = None
        self._address = ("", 0)
        self._session = 0
        self.links = 0
        """How often the link has come up."""
        self._running: Deferred[None] | None = None
        self._failures = 0
        self._advised = False
        self._listeners: list[Callable[[bool], None]] = []
        self._awaiting: list[Deferred[None]] = []
        self._not_connected = "not connected"

    @property
    def available(self) -> bool:
        """True while the link is up: connected, logged in, its database chosen, its server a master."""
        return self._protocol is not None

    @property
    def in_flight(self) -> int:
        """How many commands wait for their reply."""
        return self._protocol.in_flight if self._protocol is not None else 0

    def start(self) -> None:
        """Begin to connect. Never fails: reasons why a connect failed are logged."""
        if self._running is None:
            self._session += 1
            self._running = Deferred.fromCoroutine(self._stay_connected(self._session))
            _until_cancelled(self._running)

    def stop(self) -> Deferred[None]:
        """Close the connection and stay disconnected; commands under way fail.

        @return: fires when it is closed. Never fails.
        """
        running, self._running = self._running, None
        self._session += 1
        if running is not None:
            running.cancel()
        waiting, self._awaiting = self._awaiting, []
        for each in waiting:
            each.errback(StoreError("stopped"))
        protocol = self._protocol
        if protocol is None:
            return succeed(None)
        self._become(None)
        protocol.drop("stopped")
        return protocol.when_closed()

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """Have `listener(available)` called at each change of `available`."""
        self._listeners.append(listener)

    def when_connected(self) -> Deferred[None]:
        """@return: fires once `available` is true; fails with `StoreError` if the link is stopped first."""
        if self.available:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._awaiting.append(waiting)
        return waiting

    def run(self, script: Script, argument: Any, *blobs: bytes) -> Deferred[Any]:
        """Call a script: ARGV[1] is the argument as MessagePack, the others are the blobs as they are."""
        if self._protocol is None:
            return fail(StoreError(self._not_connected))
        return self._protocol.run_script(script, (_encode(argument), *blobs))

    def command(self, *words: str | bytes | int) -> Deferred[Any]:
        """Execute a plain command."""
        if self._protocol is None:
            return fail(StoreError(self._not_connected))
        return self._protocol.execute_command(*words)

    async def _stay_connected(self, session: int) -> None:
        # A listener may call `stop` from within this coroutine, when there is nothing to cancel: hence the number.
        while session == self._session:
            try:
                protocol = await self._connect()
            except CancelledError:
                raise
            except Exception as error:
                self._failures += 1
                self._not_connected = f"not connected: {error}"
                self._log.warn(
                    "Redis {place}: connecting failed ({failures}): {error}",
                    place=self.settings.place,
                    failures=self._failures,
                    error=str(error) or type(error).__name__,
                )
            else:
                await self._serve(protocol)
            if session == self._session:
                await deferLater(self._reactor, self._pause_seconds())

    async def _serve(self, protocol: StoreProtocol) -> None:
        """Be available until the connection is lost."""
        self._failures = 0
        lost = protocol.when_lost()
        self._become(protocol)
        watching = Deferred.fromCoroutine(self._watch(protocol))
        _until_cancelled(watching)
        try:
            await lost
            self._log.warn("Redis {place}: {reason}", place=self.settings.place, reason=protocol.reason)
        finally:
            watching.cancel()
        if self._protocol is protocol:
            self._become(None)

    async def _connect(self) -> StoreProtocol:
        self._address = host, port = await self._locator.address()
        protocol = await self._locator.open(host, port)
        try:
            await self._log_in(protocol)
        except BaseException:
            protocol.drop("connecting failed")
            raise
        self._log.info("Redis {place}: connected to {host}:{port}", place=self.settings.place, host=host, port=port)
        return protocol

    async def _log_in(self, protocol: StoreProtocol) -> None:
        settings = self.settings
        if settings.password:
            await protocol.auth(settings.password, settings.username or None)
        if settings.db:
            await protocol.select(settings.db)
        await _demand_master(protocol)
        await self._prepare(protocol)

    async def _prepare(self, protocol: StoreProtocol) -> None:
        """What a new connection needs before it is of use."""
        await gatherResults(
            [protocol.execute_command("SCRIPT", "LOAD", script.source) for script in ALL], consumeErrors=True
        ).addErrback(first_error)

    async def _watch(self, protocol: StoreProtocol) -> None:
        """Notice a server that hangs while nobody asks it anything, and one that is no longer the master."""
        await self._advise(protocol)
        while not protocol.reason:
            await deferLater(self._reactor, self.settings.check_seconds)
            await self._check(protocol)

    async def _check(self, protocol: StoreProtocol) -> None:
        try:
            await protocol.ping()
            address = await self._locator.address()
            if address != self._address:
                protocol.drop(f"the master is {address[0]}:{address[1]} now")
        except CancelledError:
            raise
        except Exception as error:
            self._log.warn("Redis {place}: check failed: {error}", place=self.settings.place, error=str(error))

    async def _advise(self, protocol: StoreProtocol) -> None:
        if not self._advised:
            self._advised = True
            await advise(protocol, self.settings)

    def _become(self, protocol: StoreProtocol | None) -> None:
        if self._protocol is protocol:
            return
        self._protocol = protocol
        self._not_connected = "not connected"
        waiting: list[Deferred[None]] = []
        if protocol is not None:
            self.links += 1
            waiting, self._awaiting = self._awaiting, []
        else:
            self._log.info("Redis {place}: disconnected", place=self.settings.place)
        for listener in self._listeners:
            try:
                listener(self.available)
            except Exception:
                self._log.failure("Redis {place}: a listener failed", place=self.settings.place)
        for each in waiting:
            each.callback(None)

    def _pause_seconds(self) -> float:
        longest = min(self.settings.retry_max_seconds, self.settings.retry_seconds * (1 << min(self._failures, 16)))
        return longest * random.uniform(0.5, 1.0)


def _until_cancelled(running: Deferred[None]) -> None:
    """Whatever else ends it is a defect, and is logged by Twisted."""

    def ended(failure: Failure) -> None:
        failure.trap(CancelledError)

    _ = running.addErrback(ended)


async def _demand_master(protocol: StoreProtocol) -> None:
    try:
        role = await protocol.execute_command("ROLE")
    except StoreError as error:
        if not str(error).startswith("NOPERM"):
            raise
        return  # an account without ROLE: writes will tell
    if role[0] != b"master":
        raise StoreError(f"not a master but a {role[0].decode(errors='replace')}")


def first_error(failure: Failure) -> Any:
    """Make the failure of a `gatherResults` that of the first command that failed."""
    failure.trap(FirstError)
    first: FirstError = failure.value  # type: ignore[assignment]
    first.subFailure.raiseException()
