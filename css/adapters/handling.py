"""Running a bus handler for a delivery, without a Deferred where the handler never waits.

`Deferred.fromCoroutine` costs seven times what it costs to run a coroutine that never waits, and most of them do not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from css.ports.bus import Delivery, Handler

T = TypeVar("T")
Done = Callable[[Exception | None, T], None]


def run_handler(handler: Handler, delivery: Delivery, done: Done[T], token: T) -> None:
    """Call a handler and run what it returns to its end, then call `done(error, token)` exactly once.

    `error` is None, or the exception that the handler raised, with its traceback. `done` may be called before this
    returns. The handler runs in the reactor's own context: context variables that it sets are not kept apart.
    """
    try:
        awaitable = handler(delivery)
        coroutine = awaitable if type(awaitable) is CoroutineType else _wait_for(awaitable)
        waiting_for = coroutine.send(None)
    except StopIteration:
        done(None, token)
    except Exception as error:
        done(error, token)
    else:
        _Waiting(coroutine, done, token).wait(waiting_for)


async def _wait_for(awaitable: Awaitable[None]) -> None:
    await awaitable


class _Waiting:
    """A handler's coroutine that waits for a Deferred."""

    __slots__ = ("_coroutine", "_done", "_token")

    def __init__(self, coroutine: Coroutine[Any, Any, None], done: Done[T], token: T) -> None:
        self._coroutine = coroutine
        self._done: Done[Any] = done
        self._token = token

    def wait(self, deferred: Deferred[object]) -> None:
        _ = deferred.addBoth(self._resume)

    def _resume(self, result: object) -> None:
        try:
            if isinstance(result, Failure):
                waiting_for = self._coroutine.throw(cast("Exception", result.value))
            else:
                waiting_for = self._coroutine.send(result)
        except StopIteration:
            self._done(None, self._token)
        except Exception as error:
            self._done(error, self._token)
        else:
            self.wait(waiting_for)
