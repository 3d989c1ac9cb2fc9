"""`/livez`: this process runs its reactor. `/readyz`: it can serve, else which of its dependencies is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from css.handlers.tracker import all_of

PATIENCE_SECONDS = 2.0
"""How long a dependency may take for its answer."""


class Missing(Exception):
    """A dependency is not there; the text says why."""


class Dependency(msgspec.Struct, frozen=True):
    """Something that the service works with.

    @ivar check: whatever it raises means that the dependency is missing.
    @ivar required: without it the service can do nothing.
    """

    name: str
    check: Callable[[], Awaitable[object]]
    required: bool


class Readiness(msgspec.Struct, frozen=True):
    """The body of `/readyz`."""

    ready: bool
    phase: str
    missing: dict[str, str]
    """Why, by the name of each dependency that is missing."""


class Health:
    """Finds out how ready a service is.

    @param dependencies: as they are known now. @param phase: what it is doing, and whether it takes all work.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        dependencies: Callable[[], Sequence[Dependency]],
        phase: Callable[[], tuple[str, bool]],
    ) -> None:
        self._reactor = reactor
        self._dependencies = dependencies
        self._phase = phase

    async def readiness(self) -> Readiness:
        """Ask every dependency at the same time. Never fails; takes 2 s at most."""
        dependencies = self._dependencies()
        reasons = await all_of(self._reason(each) for each in dependencies)
        missing = {each.name: why for each, why in zip(dependencies, reasons, strict=True) if why}
        phase, serves = self._phase()
        ready = serves and not any(each.required and each.name in missing for each in dependencies)
        return Readiness(ready, phase, missing)

    async def _reason(self, dependency: Dependency) -> str:
        """Why it is missing; empty: it is there."""
        try:
            await Deferred.fromCoroutine(_awaited(dependency)).addTimeout(PATIENCE_SECONDS, self._reactor)
        except TimeoutError:
            return f"no answer within {PATIENCE_SECONDS:g} s"
        except Exception as error:
            return str(error) or type(error).__name__
        return ""


async def _awaited(dependency: Dependency) -> None:
    await dependency.check()


class Livez(Resource):
    """Touches no dependency."""

    isLeaf = True

    def render_GET(self, request: IRequest) -> bytes:  # noqa: N802 - Twisted's name
        """See `Resource.render`."""
        _head(request, 200, b"text/plain; charset=utf-8")
        return b"alive\n"


class Readyz(Resource):
    """200 if the service is ready, else 503; the body says what is missing in both cases."""

    isLeaf = True
    log = Logger()

    def __init__(self, health: Health) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._health = health

    def render_GET(self, request: Request) -> int:  # noqa: N802 - Twisted's name
        """See `Resource.render`."""
        answering = Deferred.fromCoroutine(self._answer(request))
        # Who hangs up no longer wants an answer: that is the only way for it to fail.
        _ = request.notifyFinish().addErrback(lambda _: answering.cancel())
        _ = answering.addErrback(lambda failure: self.log.debug("/readyz: {why}", why=failure.getErrorMessage()))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        readiness = await self._health.readiness()
        _head(request, 200 if readiness.ready else 503, b"application/json")
        request.write(msgspec.json.encode(readiness) + b"\n")
        request.finish()


def _head(request: IRequest, code: int, kind: bytes) -> None:
    request.setResponseCode(code)
    request.setHeader(b"content-type", kind)
    request.setHeader(b"cache-control", b"no-store")


def health_resource(health: Health) -> Resource:
    """The root of a site: `/livez` and `/readyz`."""
    root = Resource()
    root.putChild(b"livez", Livez())  # type: ignore[no-untyped-call]
    root.putChild(b"readyz", Readyz(health))
    return root
