"""Whether a bus is connected, and who wants to know."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from css.ports.bus import NotConnected


class LinkState:
    """The flag behind `IBus.connected`, its listeners and those who wait for it."""

    log = Logger()

    def __init__(self) -> None:
        self.connected = False
        self.stopped = False
        self._listeners: list[Callable[[bool], None]] = []
        self._waiters: list[Deferred[None]] = []

    def listen(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    def wait(self) -> Deferred[None]:
        """@return: fires when connected; fails with `NotConnected` when stopped."""
        waiter: Deferred[None] = Deferred(self._forget)
        if self.connected:
            waiter.callback(None)
        elif self.stopped:
            waiter.errback(NotConnected("the bus has been stopped"))
        else:
            self._waiters.append(waiter)
        return waiter

    def change(self, connected: bool) -> None:
        """Take note, and tell everybody if this is news."""
        if connected == self.connected:
            return
        self.connected = connected
        for listener in list(self._listeners):
            try:
                listener(connected)
            except Exception:
                self.log.failure("A listener to the state of the link failed")
        if self.connected:
            for waiter in self._take_waiters():
                waiter.callback(None)

    def stop(self) -> None:
        """There will be no link any more."""
        self.stopped = True
        self.change(False)
        for waiter in self._take_waiters():
            waiter.errback(NotConnected("the bus has been stopped"))

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _take_waiters(self) -> list[Deferred[None]]:
        waiters, self._waiters = self._waiters, []
        return waiters
