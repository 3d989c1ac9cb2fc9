"""Messages that no library would send: headers given as bytes, through pika; and bodies that are no messages."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pika

_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID = (
    1 << bit for bit in (15, 13, 12, 10, 9, 7)
)


def text(value: str | bytes) -> bytes:
    """A short string."""
    raw = value.encode() if isinstance(value, str) else value
    return bytes((len(raw),)) + raw


def long_text(kind: bytes, raw: bytes) -> bytes:
    """A field value with a 32-bit length: kinds S, x, A, F."""
    return kind + struct.pack(">I", len(raw)) + raw


def field(name: str | bytes, value: bytes) -> bytes:
    """A field of a table. @param value: with its type in front."""
    return text(name) + value


EVERY_TYPE: dict[str, bytes] = {
    "t true": b"t\x01",
    "b": struct.pack(">cb", b"b", -5),
    "B": struct.pack(">cB", b"B", 200),
    "s": struct.pack(">ch", b"s", -300),
    "u": struct.pack(">cH", b"u", 60000),
    "I": struct.pack(">ci", b"I", -70000),
    "i": struct.pack(">cI", b"i", 4_000_000_000),
    "L": struct.pack(">cQ", b"L", 2**63 - 1),
    "l": struct.pack(">cq", b"l", -(2**40)),
    "f": struct.pack(">cf", b"f", 1.5),
    "d": struct.pack(">cd", b"d", 2.25),
    "D": struct.pack(">cBi", b"D", 2, 314),
    "D scale 255": struct.pack(">cBi", b"D", 255, 1),
    "D great": struct.pack(">cBI", b"D", 0, 2**32 - 1),
    "T": struct.pack(">cQ", b"T", 1_700_000_000),
    "T great": struct.pack(">cQ", b"T", 2**63),
    "S": long_text(b"S", "会议".encode()),
    "S no utf-8": long_text(b"S", b"\xff\xfe"),
    "S empty": long_text(b"S", b""),
    "x": long_text(b"x", b"\x00\xff"),
    "V": b"V",
    "A": long_text(b"A", b"V" + b"t\x00" + long_text(b"S", b"x") + long_text(b"A", b"V")),
    "F": long_text(b"F", field("in", b"V") + field("deep", long_text(b"F", field("er", b"t\x01")))),
}
"""A value of each type that RabbitMQ knows, with its type in front. It takes no `d` that is not finite."""


class RawProperties(pika.BasicProperties):
    """Properties whose field table is given as bytes, without its length."""

    def __init__(self, table: bytes, message_id: str | bytes, correlation_id: str | bytes, reply_to: bytes) -> None:
        super().__init__(message_id=str(message_id))
        self._table = table
        self._marks = (correlation_id, reply_to, message_id)

    def encode(self) -> list[bytes]:
        """Called by pika for the header frame."""
        flags = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _CORRELATION_ID | _REPLY_TO | _MESSAGE_ID
        table = struct.pack(">I", len(self._table)) + self._table
        correlation_id, reply_to, message_id = self._marks
        head = struct.pack(">H", flags) + text("application/json") + table + b"\x02"
        return [head, text(correlation_id), text(reply_to), text(message_id)]


def raw_properties(
    table: bytes, message_id: str | bytes = "raw", correlation_id: str | bytes = "", reply_to: bytes = b""
) -> Any:
    """Properties for pika's `basic_publish`."""
    return RawProperties(table, message_id, correlation_id, reply_to)


def nested(levels: int) -> bytes:
    """A table in a table in a table …"""
    value = b"V"
    for _ in range(levels):
        value = long_text(b"F", field("n", value))
    return field("n", value)


GOOD = {"type": "CM_MAU_CREATECONF_REQ", "confE164": "999", "confname": "x", "moid": "u1"}


def _with(change: bytes) -> bytes:
    return msgspec.json.encode(GOOD)[:-1] + b"," + change + b"}"


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "no json": b"hello",
    "cut": msgspec.json.encode(GOOD)[:-5],
    "two": msgspec.json.encode(GOOD) * 2,
    "array": b"[]",
    "null": b"null",
    "depth bomb": _with(b'"a":' + b"[" * 100_000 + b"]" * 100_000),
    "depth 17": _with(b'"a":' + b"[" * 16 + b"]" * 16),
    "objects in depth": _with(b'"a":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "duplicate key": _with(b'"confE164":"998"'),
    "duplicate unknown key": _with(b'"z":1,"z":2'),
    "duplicate key in depth": _with(b'"z":{"a":1,"a":1}'),
    "NaN": _with(b'"z":NaN'),
    "Infinity": _with(b'"duration":Infinity'),
    "minus Infinity": _with(b'"z":[-Infinity]'),
    "1e999": _with(b'"duration":1e999'),
    "lone surrogate": _with(b'"z":"\\ud800"'),
    "lone low surrogate": _with(b'"z":"\\udc00x"'),
    "no utf-8": _with(b'"z":"\xff\xfe"'),
    "utf-8 surrogate": _with(b'"z":"\xed\xa0\x80"'),
    "utf-16": msgspec.json.encode(GOOD).decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + msgspec.json.encode(GOOD),
    "control character": _with(b'"z":"\x01"'),
    "no type": b'{"confE164":"999"}',
    "type is a number": b'{"type":5}',
    "unknown type": b'{"type":"CM_MAU_NONSENSE_REQ","confE164":"999"}',
    "type of another": b'{"type":"MAU_CM_CREATECONF_ACK","confE164":"9","confname":"","mtreqid":"","ip":"1.1.1.1",'
    b'"pid":"1","roommoid":"r","platformmoid":"A","endtime":0}',
    "wrong types": b'{"type":"CM_MAU_CREATECONF_REQ","confE164":999,"confname":[],"moid":{}}',
    "huge number": _with(b'"duration":' + b"9" * 5000),
}
"""Bodies that no handler may ever see, by what is wrong with them."""
