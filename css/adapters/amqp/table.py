"""AMQP field tables: all types that RabbitMQ sends, in both directions. txamqp knows four of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MAX_DEPTH = 32
"""Tables and arrays nested deeper than this are refused: they would be an attack on the stack."""

_LONG = struct.Struct(">I")
_TYPED_INT = struct.Struct(">cq")
_TYPED_LONG = struct.Struct(">cI")
_DECIMAL = struct.Struct(">Bi")


class TableError(ValueError):
    """A table can't be decoded, or a value can't be encoded."""


class Timestamp(int):
    """Seconds since the epoch, as AMQP's own type: it stays one when it is sent again."""


Value = Any
Decoded = tuple[Value, int]
"""A value, and the position after it."""


def encode_table(table: Mapping[str, Value]) -> bytes:
    """@return: the table with its length in front. @raise TableError: for what AMQP has no type for."""
    return _encode_table(table, 0)


def decode_table(data: bytes, position: int) -> Decoded:
    """Decode the table at a position. Text that is not UTF-8 is given as bytes.

    @raise TableError: if it is cut short, nested too deeply or has an unknown type.
    """
    try:
        return _decode_table(data, position, 0)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise TableError(f"undecodable field table: {error!r}") from error


def _encode_table(table: Mapping[str, Value], depth: int) -> bytes:
    _check_depth(depth)
    parts: list[bytes] = []
    for key, value in table.items():
        name = _KEYS.get(key) or _encode_key(key)
        # What CSS itself says in headers are integers.
        parts.append(name + (_encode_int(value, depth) if type(value) is int else _encode_value(value, depth)))
    content = b"".join(parts)
    return _LONG.pack(len(content)) + content


_KEYS: dict[str, bytes] = {}
_MAX_KEYS = 256


def _encode_key(key: str) -> bytes:
    """Encode a field's name; those that come first, which are CSS's own, are kept."""
    name = key.encode()
    if len(name) > 255:
        raise TableError("a key is longer than 255 bytes")
    encoded = bytes((len(name),)) + name
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[key] = encoded
    return encoded


def _encode_value(value: Value, depth: int) -> bytes:
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        for known, candidate in _ENCODERS.items():
            if isinstance(value, known):
                encoder = candidate
                break
        else:
            raise TableError(f"no AMQP type for {type(value).__name__}")
    return encoder(value, depth)


def _encode_text(value: str, _depth: int) -> bytes:
    text = value.encode()
    return _TYPED_LONG.pack(b"S", len(text)) + text


def _encode_bytes(value: bytes, _depth: int) -> bytes:
    return _TYPED_LONG.pack(b"x", len(value)) + value


def _encode_bool(value: bool, _depth: int) -> bytes:
    return b"t\x01" if value else b"t\x00"


def _encode_int(value: int, _depth: int) -> bytes:
    try:
        return _TYPED_INT.pack(b"l", value)
    except struct.error:
        raise TableError("an integer exceeds 64 bits") from None


def _encode_timestamp(value: Timestamp, _depth: int) -> bytes:
    return struct.pack(">cQ", b"T", value)


def _encode_datetime(value: datetime, depth: int) -> bytes:
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    return _encode_timestamp(Timestamp(moment.timestamp()), depth)


def _encode_float(value: float, _depth: int) -> bytes:
    return struct.pack(">cd", b"d", value)


def _encode_decimal(value: Decimal, _depth: int) -> bytes:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise TableError("AMQP decimals are finite")
    scale = max(0, -exponent)
    try:
        return b"D" + _DECIMAL.pack(scale, int(value.scaleb(scale)))
    except (struct.error, ArithmeticError):
        raise TableError("a decimal exceeds 32 bits") from None


def _encode_none(_value: None, _depth: int) -> bytes:
    return b"V"


def _encode_array(value: list[Value] | tuple[Value, ...], depth: int) -> bytes:
    _check_depth(depth + 1)
    content = b"".join([_encode_value(item, depth + 1) for item in value])
    return _TYPED_LONG.pack(b"A", len(content)) + content


def _encode_nested(value: Mapping[str, Value], depth: int) -> bytes:
    return b"F" + _encode_table(value, depth + 1)


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    str: _encode_text,
    Timestamp: _encode_timestamp,
    bool: _encode_bool,
    int: _encode_int,
    bytes: _encode_bytes,
    float: _encode_float,
    type(None): _encode_none,
    list: _encode_array,
    tuple: _encode_array,
    dict: _encode_nested,
    Mapping: _encode_nested,
    Decimal: _encode_decimal,
    datetime: _encode_datetime,
}


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TableError(f"nested deeper than {MAX_DEPTH}")


def _decode_table(data: bytes, position: int, depth: int) -> Decoded:
    _check_depth(depth)
    position, end = _extent(data, position)
    table: dict[str, Value] = {}
    while position < end:
        start = position + 1
        position = start + data[position]
        key = str(data[start:position], "utf-8", "replace")
        table[key], position = _DECODERS[data[position]](data, position + 1, depth)
    if position != end:
        raise TableError("a value exceeds its table")
    return table, end


def _decode_value(data: bytes, position: int, depth: int) -> Decoded:
    return _DECODERS[data[position]](data, position + 1, depth)


def _extent(data: bytes, position: int) -> tuple[int, int]:
    """Where something with a length in front begins and ends."""
    start = position + 4
    end = start + int(_LONG.unpack_from(data, position)[0])
    if end > len(data):
        raise TableError("cut short")
    return start, end


def _decode_text(data: bytes, position: int, _depth: int) -> Decoded:
    start, end = _extent(data, position)
    raw = data[start:end]
    try:
        return str(raw, "utf-8"), end
    except UnicodeDecodeError:
        return raw, end


def _decode_bytes(data: bytes, position: int, _depth: int) -> Decoded:
    start, end = _extent(data, position)
    return data[start:end], end


def _decode_array(data: bytes, position: int, depth: int) -> Decoded:
    _check_depth(depth + 1)
    position, end = _extent(data, position)
    items = []
    while position < end:
        item, position = _decode_value(data, position, depth + 1)
        items.append(item)
    if position != end:
        raise TableError("a value exceeds its array")
    return items, end


def _decode_nested(data: bytes, position: int, depth: int) -> Decoded:
    return _decode_table(data, position, depth + 1)


def _decode_bool(data: bytes, position: int, _depth: int) -> Decoded:
    return data[position] != 0, position + 1


def _decode_none(_data: bytes, position: int, _depth: int) -> Decoded:
    return None, position


def _decode_decimal(data: bytes, position: int, _depth: int) -> Decoded:
    scale, unscaled = _DECIMAL.unpack_from(data, position)
    sign, digits = (1 if unscaled < 0 else 0), tuple(map(int, str(abs(unscaled))))
    return Decimal((sign, digits, -scale)), position + 5


def _decode_timestamp(data: bytes, position: int, _depth: int) -> Decoded:
    return Timestamp(struct.unpack_from(">Q", data, position)[0]), position + 8


def _fixed(code: str) -> Callable[[bytes, int, int], Decoded]:
    number = struct.Struct(">" + code)
    unpack_from, size = number.unpack_from, number.size

    def decode(data: bytes, position: int, _depth: int) -> Decoded:
        return unpack_from(data, position)[0], position + size

    return decode


_DECODERS: dict[int, Callable[[bytes, int, int], Decoded]] = {
    ord("S"): _decode_text,
    ord("x"): _decode_bytes,
    ord("A"): _decode_array,
    ord("F"): _decode_nested,
    ord("t"): _decode_bool,
    ord("V"): _decode_none,
    ord("D"): _decode_decimal,
    ord("T"): _decode_timestamp,
    ord("b"): _fixed("b"),
    ord("B"): _fixed("B"),
    ord("s"): _fixed("h"),
    ord("U"): _fixed("h"),
    ord("u"): _fixed("H"),
    ord("I"): _fixed("i"),
    ord("i"): _fixed("I"),
    ord("l"): _fixed("q"),
    ord("L"): _fixed("Q"),
    ord("f"): _fixed("f"),
    ord("d"): _fixed("d"),
}
