"""The frames of the hot path, written and read without going through txamqp's codec."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from css.adapters.amqp.codec import FRAME_END
from css.adapters.amqp.table import TableError, decode_table, encode_table
from css.ports.bus import Outgoing

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8

FRAME_START = struct.Struct(">BHI")
"""Kind, channel, size of the payload."""

DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"
ACK = b"\x00\x3c\x00\x50"
NACK = b"\x00\x3c\x00\x78"

ACK_FRAME = struct.Struct(">BHI4sQBB")
"""Also a nack: kind, channel, size 13, method, delivery tag, flags, frame end."""

TAG_AND_FLAG = struct.Struct(">QB")

_CONTENT_START = struct.Struct(">BHIHHQH")
"""Frame start of a header, class, weight, size of the body, property flags."""
_BODY_START = struct.Struct(">BBHI")
"""Frame end of what was before, and frame start of a body."""
_SIZE_AND_FLAGS = struct.Struct(">QH")
_LENGTH = struct.Struct(">I")

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION, _MESSAGE_ID = 0x0400, 0x0200, 0x0100, 0x0080

_JSON = b"\x10application/json"
_PERSISTENT = b"\x02"


class NotEncodable(ValueError):
    """A message can't be written as AMQP: a name longer than 255 bytes, a header without a type."""


class _Lengths(dict[int, bytes]):
    """The byte that a short string begins with, by the string's length."""

    def __missing__(self, length: int) -> bytes:
        raise NotEncodable("longer than 255 bytes")


_SHORT = _Lengths({length: bytes((length,)) for length in range(256)})


Properties = tuple[int, str, str, str, Mapping[str, Any]]
"""What CSS reads of a content header: the body's size in bytes, message id, correlation id, reply-to, headers."""

NO_HEADERS: Mapping[str, Any] = MappingProxyType({})


def short_string(text: str) -> bytes:
    """@raise NotEncodable: if it is longer than 255 bytes."""
    raw = text.encode()
    return _SHORT[len(raw)] + raw


def publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    """@return: the method frame of a mandatory publish."""
    names = short_string(exchange) + short_string(routing_key)
    payload = b"\x00\x3c\x00\x28\x00\x00" + names + b"\x01"
    return FRAME_START.pack(METHOD, channel, len(payload)) + payload + FRAME_END


def publish_frames(method: bytes, channel: int, message: Outgoing, max_payload: int) -> bytes:
    """@return: a publish: the method frame as given, then header and body. @raise ValueError: it is not encodable."""
    flags = _CONTENT_TYPE | _DELIVERY_MODE
    parts = [_JSON]
    if message.headers:
        flags |= _HEADERS
        parts.append(encode_table(message.headers))
    parts.append(_PERSISTENT)
    if message.correlation_id:
        flags |= _CORRELATION_ID
        raw = message.correlation_id.encode()
        parts += (_SHORT[len(raw)], raw)
    if message.reply_to:
        flags |= _REPLY_TO
        raw = message.reply_to.encode()
        parts += (_SHORT[len(raw)], raw)
    if message.expiration_ms:
        flags |= _EXPIRATION
        parts.append(short_string(str(message.expiration_ms)))
    if message.message_id:
        flags |= _MESSAGE_ID
        raw = message.message_id.encode()
        parts += (_SHORT[len(raw)], raw)
    properties = b"".join(parts)
    if len(properties) + 14 > max_payload:
        raise NotEncodable("headers do not fit in one frame")
    body = message.body
    size = len(body)
    start = _CONTENT_START.pack(HEADER, channel, len(properties) + 14, 60, 0, size, flags)
    if 0 < size <= max_payload:
        return b"".join((method, start, properties, _BODY_START.pack(0xCE, BODY, channel, size), body, FRAME_END))
    return b"".join((method, start, properties, *_long_body(channel, body, max_payload), FRAME_END))


def _long_body(channel: int, body: bytes, max_payload: int) -> list[bytes]:
    parts: list[bytes] = []
    for position in range(0, len(body), max_payload):
        chunk = body[position : position + max_payload]
        parts += (_BODY_START.pack(0xCE, BODY, channel, len(chunk)), chunk)
    return parts


def read_properties(data: bytes, position: int) -> Properties:  # noqa: C901 (one step a property, as they lie there)
    """Read a content header's payload at a position.

    Headers that can't be decoded are left out; they can't come from a broker that checks them.
    @raise IndexError, struct.error: if it is cut short.
    """
    size, flags = _SIZE_AND_FLAGS.unpack_from(data, position + 4)
    position += 14
    if flags & _CONTENT_TYPE:
        position += 1 + data[position]
    if flags & _CONTENT_ENCODING:
        position += 1 + data[position]
    headers = NO_HEADERS
    if flags & _HEADERS:
        try:
            headers = decode_table(data, position)[0]
        except TableError:
            headers = NO_HEADERS
        position += 4 + int(_LENGTH.unpack_from(data, position)[0])
    if flags & _DELIVERY_MODE:
        position += 1
    if flags & _PRIORITY:
        position += 1
    correlation_id = reply_to = message_id = b""
    if flags & _CORRELATION_ID:
        start = position + 1
        position = start + data[position]
        correlation_id = data[start:position]
    if flags & _REPLY_TO:
        start = position + 1
        position = start + data[position]
        reply_to = data[start:position]
    if flags & _EXPIRATION:
        position += 1 + data[position]
    if flags & _MESSAGE_ID:
        start = position + 1
        message_id = data[start : start + data[position]]
    try:
        return size, message_id.decode(), correlation_id.decode(), reply_to.decode(), headers
    except UnicodeDecodeError:
        return size, read_text(message_id), read_text(correlation_id), read_text(reply_to), headers


def read_short_string(data: bytes, position: int) -> tuple[str, int]:
    """@return: the text, and the position after it."""
    start = position + 1
    end = start + data[position]
    return read_text(data[start:end]), end


def read_text(raw: bytes) -> str:
    """@return: text; what is not UTF-8 in it becomes question marks, so that it never grows."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return str(raw, "utf-8", "replace").replace("\ufffd", "?")
