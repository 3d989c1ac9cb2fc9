"""Where a request was handed that is not decided in the own platform's store: it is decided there, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from css.domain.conference import Requester
from css.handlers.effects import ANSWER_KEPT_SECONDS
from css.ports.bus import IBus
from css.ports.store import Commit, IConferenceStore, Outcome, RequestWrite, StoreError


class Trail(msgspec.Struct, frozen=True, array_like=True):
    """Who decides on a request: another platform's store, or the CSS of that platform."""

    platform: str
    to_css: bool = False
    """It was handed to that platform's CSS, which remembers it in its own store."""
    reached: bool = False
    """That platform's broker has confirmed it."""


class HandedOn(StoreError):
    """A copy of the request is handled elsewhere just now. This one has to come again: then it is known where."""


def without_trail(requester: Requester, certain: bool) -> tuple[tuple[str, str], ...]:
    """Guards of a commit in the own store that decides on a request: it has not been handed on."""
    return ((_full_key(requester), ""),) if certain else ()


def with_trail(requester: Requester, trail: Trail) -> tuple[tuple[str, str], ...]:
    """Guards of a commit in the own store that decides on a request although it was handed on, in just this state."""
    return ((_full_key(requester), _encode(trail).decode()),)


class Trails:
    """Keeps in the own store which requests were handed on, before they are. Each fails with `StoreError`.

    @param stores: the stores of the own and the possible platforms, by moid.
    @param peers: the other platforms' brokers by moid.
    """

    def __init__(self, own: str, stores: Mapping[str, IConferenceStore], peers: Mapping[str, IBus]) -> None:
        self._own = own
        self._stores = stores
        self._peers = peers

    async def of(self, requester: Requester) -> Trail | None:
        """Where a request was handed; None: nowhere."""
        if not self._peers and len(self._stores) < 2:
            return None
        text = (await self._store().load("", _key(requester))).request
        return None if text is None else _decode(text)

    async def leave(self, requester: Requester, trail: Trail) -> None:
        """It is about to be handed on. One that another store was to decide on, and does not know, may go on from
        there; one that another CSS has may not.

        @raise HandedOn: a copy of it has been answered, or handed to somebody else.
        """
        commit = Commit(
            e164="",
            touch_record=False,
            request=RequestWrite(_key(requester), _encode(trail), ANSWER_KEPT_SECONDS, only_new=True),
            guards=((f"css/req/{requester.request_key}", ""),),
        )
        result = await self._store().commit(commit)
        if result.outcome is Outcome.DONE:
            return
        text = result.loaded.request if result.outcome is Outcome.DUPLICATE and result.loaded else None
        known = _decode(text) if text else None
        if known is None or (known.to_css and (not trail.to_css or known.platform != trail.platform)):
            raise HandedOn("a copy of the request has just been answered, or handed on")
        if not known.to_css and known != trail and not await self._replace(requester, known, trail):
            raise HandedOn("a copy of the request has just been handed on")

    async def reached(self, requester: Requester, platform: str) -> None:
        """The other platform's broker has it."""
        await self._replace(requester, Trail(platform, True), Trail(platform, True, True))

    async def take_back(self, requester: Requester, trail: Trail) -> None:
        """It is certain that it was not handed on."""
        commit = Commit(
            e164="",
            touch_record=False,
            guards=with_trail(requester, trail),
            strings={_full_key(requester): ""},
        )
        await self._store().commit(commit)

    async def _replace(self, requester: Requester, known: Trail, trail: Trail) -> bool:
        write = RequestWrite(_key(requester), _encode(trail), ANSWER_KEPT_SECONDS)
        guards = with_trail(requester, known)
        commit = Commit(e164="", touch_record=False, answers=(write,), guards=guards)
        return (await self._store().commit(commit)).outcome is Outcome.DONE

    def _store(self) -> IConferenceStore:
        store = self._stores.get(self._own)
        if store is None:
            raise StoreError(f"no store of {self._own}")
        return store


def _key(requester: Requester) -> str:
    return f"{requester.request_key}@"


def _full_key(requester: Requester) -> str:
    return f"css/req/{_key(requester)}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Trail).decode
