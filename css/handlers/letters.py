"""Effects in their final form, as the outbox keeps them: bytes and addresses, by lane."""

from __future__ import annotations

import enum
import hashlib
import uuid
from functools import lru_cache

import msgspec

from css.domain.conference import Requester
from css.domain.template import Verb
from css.ports.bus import Outgoing
from css.ports.ledger import LedgerStep
from css.ports.sql import RowWrite, TemplateRow

OWN_LANE = "own"
"""Answers to requests, and commands to MCU processes."""
ASK_LANE = "ask"
"""Requests to RMS and to MCU hosts. They need no order: each names its placement, and is useless after `until_ms`."""
ASK_LEASE_MS = 1_000
"""How long a request is left to whoever committed it: much less than the time in which it must be answered."""
PEER_LEASE_MS = 1_000
"""How long a message to another platform is left to whoever committed it: nobody waits for its confirm there."""
SQL_LANE = "sql"
LOAD_LANE = "load"
TAKE_LANE = "take"
LEDGER_LANE = "ledger"
TEMPLATE_LANE = "template"
"""Writes of public templates that are under way."""
_NOTICE_LANE = "to/"
_PEER_LANE = "peer/"

_NAMESPACE = uuid.UUID("6f0e31f1-5c0c-5a84-9a3e-7a9f1d1c2b55")
_NAMESPACE_BYTES = _NAMESPACE.bytes
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The hex digit whose two upper bits say which kind of UUID it is."""


class Kind(enum.IntEnum):
    """What it means that a letter reaches no queue (contract section 1)."""

    REPLY = 1
    """Dropped and counted: the requester has gone."""
    MCU_REQUEST = 2
    """The host's silence, at once."""
    RESOURCE_REQUEST = 3
    """Tried again until nobody awaits its answer any more."""
    NOTICE = 4
    """Tried again for `unroutable_seconds`, then parked."""
    COMMAND = 5
    """To an MCU process; dropped and counted: its next list shows what is still to be told."""


class Letter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message to publish. `born_ms`: when it was decided, milliseconds of its store's clock."""

    kind: Kind
    born_ms: int
    outgoing: Outgoing
    token: str = ""
    """An MCU request's placement token."""
    until_ms: int = 0
    """When nobody awaits its answer any more, milliseconds of its store's clock; 0: it is always worth sending."""


class TemplateIntent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write of a public template that was accepted, and is to be done in SQL, then in Redis, then answered."""

    e164: str
    verb: Verb
    version: int
    requester: Requester | None
    """None: nobody is to be answered."""
    row: TemplateRow | None = None
    """None: it is to be deleted, or, with `Verb.COPY`, SQL is left as it is."""
    taken_from: tuple[str, ...] = ()
    """Moids of the other platforms that had it: theirs goes, in SQL and in their Redis."""


def notice_lane(exchange: str) -> str:
    """The lane of notifications to one receiver at home: one that is away keeps nobody else waiting."""
    return _NOTICE_LANE + exchange


def lane_at_home(kind: Kind, exchange: str) -> str:
    """The lane of a message to the own broker."""
    if kind is Kind.NOTICE:
        return notice_lane(exchange)
    return ASK_LANE if kind in (Kind.MCU_REQUEST, Kind.RESOURCE_REQUEST) else OWN_LANE


@lru_cache(maxsize=256)
def lease_of(lane: str, lease_ms: int) -> int:
    """How long an entry of a lane is left to one instance, where that is usually `lease_ms`."""
    if lane == ASK_LANE:
        return min(lease_ms, ASK_LEASE_MS)
    return min(lease_ms, PEER_LEASE_MS) if peer_of(lane) else lease_ms


def is_at_home(lane: str) -> bool:
    """Whether a lane's letters go to the own broker."""
    return lane in (OWN_LANE, ASK_LANE) or lane.startswith(_NOTICE_LANE)


def peer_lane(platform: str) -> str:
    """The lane of another platform's broker."""
    return _PEER_LANE + platform


def peer_of(lane: str) -> str:
    """Moid of the platform whose broker a lane goes to; empty if it is no such lane."""
    return lane[len(_PEER_LANE) :] if lane.startswith(_PEER_LANE) else ""


def message_id(*identity: object) -> str:
    """A message's id, the same one each time that the same effect is carried out: a UUID of version 5."""
    # The module uuid takes four times as long.
    name = _NAMESPACE_BYTES + ":".join(map(str, identity)).encode()
    digits = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


_pack = msgspec.msgpack.Encoder().encode
_letters = msgspec.msgpack.Decoder(list[Letter])
_rows = msgspec.msgpack.Decoder(list[RowWrite])
_bookings = msgspec.msgpack.Decoder(list[tuple[str, str]])
_steps = msgspec.msgpack.Decoder(list[LedgerStep])
_intents = msgspec.msgpack.Decoder(list[TemplateIntent])
_outgoing = msgspec.msgpack.Decoder(Outgoing)


def pack(content: object) -> bytes:
    """Bytes of what one entry of the outbox, or one remembered answer, holds."""
    return _pack(content)


def unpack_letters(data: bytes) -> list[Letter]:
    """@raise msgspec.MsgspecError: these are no letters."""
    return _letters.decode(data)


def unpack_rows(data: bytes) -> list[RowWrite]:
    """@raise msgspec.MsgspecError: these are no row writes."""
    return _rows.decode(data)


def unpack_bookings(data: bytes) -> list[tuple[str, str]]:
    """(ip, token) pairs. @raise msgspec.MsgspecError: these are none."""
    return _bookings.decode(data)


def unpack_steps(data: bytes) -> list[LedgerStep]:
    """@raise msgspec.MsgspecError: these are no steps of the ledger."""
    return _steps.decode(data)


def unpack_intents(data: bytes) -> list[TemplateIntent]:
    """@raise msgspec.MsgspecError: these are no writes of templates."""
    return _intents.decode(data)


def unpack_answer(data: bytes) -> Outgoing:
    """A remembered answer. @raise msgspec.MsgspecError: it is none."""
    return _outgoing.decode(data)
