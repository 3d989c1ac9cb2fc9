"""Bytes to messages and back, with every check that stands between the wire and the handlers.

A body that decodes is a JSON object in valid UTF-8, at most `MAX_DEPTH` deep, with unique keys at every level, finite
numbers, no lone surrogates, a known `type`, and fields within their limits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from css.domain.errors import ErrCode
from css.messages.base import Kept, Message, keep
from css.messages.catalogue import Entry, answer_type, entry_of

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 16

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Malformed(Exception):
    """A body that is no valid message. `reason` begins with a word that tells the kind, and holds none of its values.

    Kinds: `too_large`, `bad_json`, `too_deep`, `no_type`, `unknown_type`, `duplicate_key`, `bad_fields`.
    What can be told of the message is kept where it was a string (an integer `pid` or `mtreqid`: its digits).
    """

    def __init__(self, reason: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        fields = fields or {}
        self.reason = reason
        self.type = fields.get("type")
        self.confE164 = fields.get("confE164")
        self.e164 = fields.get("e164")
        self.mtreqid = fields.get("mtreqid")
        self.ip = fields.get("ip")
        self.pid = fields.get("pid")


class _Envelope(msgspec.Struct, gc=False):
    type: str


def decode(body: bytes) -> Message:
    """The message in a body.

    @raise Malformed: and nothing else, whatever the bytes are.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Malformed(f"too_large: {len(body)} bytes")
    return _decode_quickly(body) or _decode_thoroughly(body)


def encode(message: Message) -> bytes:
    """The message's body: UTF-8 JSON with its `type`; optional fields that equal their default are left out.

    A message that was decoded with fields beyond its struct's (`Kept`) gives the body that it came in.
    """
    return message.original if isinstance(message, Kept) else _encoder.encode(message)


def encode_as(message: Kept, body: bytes) -> bytes:
    """The body of a message that is passed on: as it came, but for a `type` that CSS spells otherwise."""
    tag = message.__struct_config__.tag
    if not isinstance(tag, str) or _envelope.decode(body).type == tag:
        return body
    return _encoder.encode({**_anything.decode(body), "type": tag})


def wire_type(message: Message | type[Message]) -> str:
    """The `type` of a message, or that of all messages of a class, as CSS spells it.

    @raise TypeError: for the class of a message whose type is a field, `Control`.
    """
    tag = message.__struct_config__.tag
    if isinstance(tag, str):
        return tag
    named = getattr(message, "type", None)
    if isinstance(message, Message) and isinstance(named, str):
        return named
    raise TypeError(f"{message!r} does not stand for one type")


def nack_for_malformed(malformed: Malformed) -> bytes | None:
    """The NACK (`BAD_REQUEST`) for a request that was malformed; None if it was no request, or one without a NACK."""
    nack = answer_type(malformed.type, "NACK") if malformed.type else None
    if nack is None:
        return None
    known = {name: getattr(malformed, name) for name in ("confE164", "e164", "mtreqid")}
    fields = {name: value for name, value in known.items() if value is not None}
    return _encoder.encode({"type": nack, **fields, "errcode": ErrCode.BAD_REQUEST})


def _decode_quickly(body: bytes) -> Message | None:
    """Straight into the struct, for bodies with nothing in them but its fields: None if that is not certain.

    Every string that the struct encodes to was in the body; as many strings on both sides means that the body has no
    key that the struct lacks, nor one twice.
    """
    try:
        entry = entry_of(_envelope.decode(body).type)
        if entry is None or not entry.quick:
            return None
        message: Message = entry.decoder.decode(body)
    except _UNDECODABLE:
        return None
    return message if _count_strings(body) == _count_strings(_encoder.encode(message)) else None


def _decode_thoroughly(body: bytes) -> Message:
    try:
        tree = _anything.decode(body)
    except RecursionError:
        raise Malformed("too_deep: beyond all bounds") from None
    except _UNDECODABLE as error:
        raise Malformed(f"bad_json: {error}"[:200]) from None
    if not isinstance(tree, dict):
        raise Malformed("bad_json: not an object")
    try:
        return _checked(body, tree)
    except Malformed as malformed:
        raise Malformed(malformed.reason, _telling_fields(tree)) from None


def _checked(body: bytes, tree: dict[str, Any]) -> Message:
    type_name = tree.get("type")
    if not isinstance(type_name, str):
        raise Malformed("no_type: missing or not a string")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(tree, MAX_DEPTH):
        raise Malformed(f"too_deep: more than {MAX_DEPTH} levels")
    if _count_strings(body) != _count_strings(_encoder.encode(tree)):
        raise Malformed("duplicate_key")
    entry = entry_of(type_name)
    if entry is None:
        raise Malformed("unknown_type")
    return _convert(body, tree, entry)


def _convert(body: bytes, tree: dict[str, Any], entry: Entry) -> Message:
    for name in ("pid", "mtreqid"):
        if type(tree.get(name)) is int:
            tree[name] = str(tree[name])
    if entry.canonical:
        tree["type"] = entry.canonical
    try:
        message: Message = msgspec.convert(tree, entry.struct)
    except msgspec.ValidationError as error:
        raise Malformed(f"bad_fields: {error}"[:200]) from None
    if isinstance(message, Kept):
        keep(message, body)
    return message


def _count_strings(data: bytes) -> int:
    """The quotes that delimit strings in valid JSON: two for each string, keys included."""
    if b"\\" not in data:
        return data.count(b'"')
    data = data.replace(b"\\\\", b"")
    return data.count(b'"') - data.count(b'\\"')


def _deeper_than(tree: dict[str, Any], levels: int) -> bool:
    level: list[Any] = [tree]
    for _ in range(levels):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node


def _telling_fields(tree: dict[str, Any]) -> dict[str, str]:
    fields = {}
    for name in ("type", "confE164", "e164", "mtreqid", "ip", "pid"):
        value = tree.get(name)
        if isinstance(value, str):
            fields[name] = value
        elif type(value) is int and name in ("mtreqid", "pid"):
            fields[name] = str(value)
    return fields


_envelope = msgspec.json.Decoder(_Envelope)
_anything = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
