"""Method frames by txamqp's own description of the protocol, with its codec's faults mended."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from txamqp import spec as txamqp_spec
from txamqp.codec import Codec
from txamqp.connection import Frame, Method

from css.adapters.amqp.table import decode_table, encode_table

FRAME_END = b"\xce"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00" + FRAME_END


@functools.cache
def load_spec() -> Any:
    """@return: AMQP 0-9-1 with RabbitMQ's extensions, as txamqp's classes."""
    return txamqp_spec.load(str(Path(__file__).with_name("amqp0-9-1.xml")))


class MendedCodec(Codec):
    """txamqp's codec measures strings before it encodes them, and knows four of the types in tables."""

    def enc_str(self, fmt: str, s: str | bytes) -> None:
        raw = s.encode() if isinstance(s, str) else s
        self.pack(fmt, len(raw))
        self.write(raw)

    def dec_str(self, fmt: str) -> str:
        return str(self.read(self.unpack(fmt)), "utf-8", "replace")

    def encode_table(self, tbl: Mapping[str, Any]) -> None:
        self.write(encode_table(tbl))

    def decode_table(self) -> dict[str, Any]:
        prefix = self.read(4)
        (size,) = struct.unpack(">I", prefix)
        table: dict[str, Any] = decode_table(prefix + self.read(size), 0)[0]
        return table


def encode_method(channel: int, method: Method) -> bytes:
    """@return: the frame of a method that carries no content."""
    stream = BytesIO()
    codec = MendedCodec(stream)
    codec.encode_short(method.method.klass.id)
    codec.encode_short(method.method.id)
    for field, value in zip(method.method.fields, method.args, strict=True):
        codec.encode(field.type, value)
    codec.flush()
    payload = stream.getvalue()
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + FRAME_END


def decode_method(channel: int, payload: bytes) -> Frame:
    """@return: the frame of a method. @raise KeyError: if the protocol has no such method."""
    codec = MendedCodec(BytesIO(payload))
    described = load_spec().classes.byid[codec.decode_short()].methods.byid[codec.decode_short()]
    return Frame(channel, Method(described, *[codec.decode(field.type) for field in described.fields]))
