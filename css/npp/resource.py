"""What NGI asks over HTTP (contract, section 6). Every body is JSON, errors are `{"error": "…"}`."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from css.handlers.tracker import Tracker
from css.npp.pages import MOST, USUAL, parse_cursor, read_page
from css.npp.sources import Sources, Unavailable
from css.ports.store import StoreError

OPENAPI = files("css.npp") / "openapi.json"
AT_ONCE = 500
"""More requests than this are not worked on at a time."""
PARAMETERS = (b"platformmoid", b"cursor", b"limit")

_MOID = re.compile(r"[!-.0-~]{1,128}", re.ASCII)
_LIMIT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """The answer is an error. @ivar status: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Json(Resource):
    """A place that answers GET (and HEAD) with JSON, and everything else with an error."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        """Answer by method."""
        if request.method in (b"GET", b"HEAD"):
            return self.get(request)
        request.setHeader(b"allow", b"GET, HEAD")
        return _finish(request, 405, _error("only GET is allowed here"))

    def get(self, request: Request) -> Any:
        """Answer GET. @return: as `Resource.render` does."""
        raise NotImplementedError


class Conferences(Json):
    """`/v1/conferences`."""

    log = Logger()

    def __init__(self, sources: Sources) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sources = sources
        self._tracker = Tracker()

    def get(self, request: Request) -> Any:
        """A page of the ongoing conferences of a source platform."""
        if self._tracker.in_flight >= AT_ONCE:
            return _finish(request, 503, _error("too many requests at once"))
        self._tracker.run(self._answer(request), "answering")
        return NOT_DONE_YET

    def drained(self) -> Deferred[None]:
        """@return: fires when nothing is under way."""
        return self._tracker.drained()

    async def _answer(self, request: Request) -> None:
        gone: list[object] = []
        _ = request.notifyFinish().addErrback(gone.append)
        try:
            status, body = 200, await self._page(request)
        except Refused as refused:
            status, body = refused.status, _error(str(refused))
        except (Unavailable, StoreError) as error:
            status, body = 503, _error(str(error))
        except Exception:
            self.log.failure("a request failed")
            status, body = 500, _error("an internal error")
        if not gone:
            _finish(request, status, body)

    async def _page(self, request: Request) -> bytes:
        given = _given(request)
        moid = given.get("platformmoid", "")
        if not _MOID.fullmatch(moid):
            raise Refused(400, "platformmoid is missing, or no moid")
        limit = given.get("limit", str(USUAL))
        if not _LIMIT.fullmatch(limit) or int(limit) > MOST:
            raise Refused(400, f"limit is no number from 1 to {MOST}")
        after = parse_cursor(given.get("cursor", ""))
        if after is None:
            raise Refused(400, "unknown cursor: give back what the page before gave, or none")
        running = await self._sources.find(moid, begins=not after)
        if running is None:
            raise Refused(404, f"platform {moid} is unknown")
        return await read_page(running, after, int(limit))


class Document(Json):
    """A fixed text."""

    def __init__(self, body: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._body = body

    def get(self, request: Request) -> Any:
        """The text."""
        return _finish(request, 200, self._body)


class Nothing(Json):
    """Everywhere else."""

    def render(self, request: Request) -> Any:
        """Say that there is nothing."""
        return _finish(request, 404, _error("there is nothing here: see /openapi.json"))


_NOTHING = Nothing()  # type: ignore[no-untyped-call]


class Root(Resource):
    """All places."""

    def __init__(self, sources: Sources) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conferences = Conferences(sources)
        self._places = {
            (b"v1", b"conferences"): self.conferences,
            (b"openapi.json",): Document(OPENAPI.read_bytes()),
        }

    def getChildWithDefault(self, path: bytes, request: Request) -> Resource:  # noqa: N802
        """Whatever the whole path leads to."""
        rest: list[bytes] = request.postpath or []
        return self._places.get((path, *rest)) or _NOTHING


def _given(request: Request) -> dict[str, str]:
    """Each parameter once, as text. Others than ours are ignored."""
    given: dict[str, str] = {}
    for name in PARAMETERS:
        values: list[bytes] = (request.args or {}).get(name, [])
        if len(values) > 1:
            raise Refused(400, f"{name.decode()} is given more than once")
        try:
            given.update({name.decode(): value.decode() for value in values})
        except UnicodeDecodeError:
            raise Refused(400, f"{name.decode()} is no text") from None
    return given


def _error(text: str) -> bytes:
    return _encode({"error": text})


def _finish(request: Request, status: int, body: bytes) -> Any:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    if request.method != b"HEAD":
        request.write(body)
    request.finish()
    return NOT_DONE_YET
