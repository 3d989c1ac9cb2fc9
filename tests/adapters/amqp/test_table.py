"""Field tables: every type, checked against pamqp's; what is broken or hostile is refused in time."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode as pamqp_decode
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.amqp.table import MAX_DEPTH, TableError, Timestamp, decode_table, encode_table

_decimals = st.builds(
    lambda unscaled, scale: Decimal((0 if unscaled >= 0 else 1, tuple(map(int, str(abs(unscaled)))), -scale)),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 255),
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | st.binary(max_size=300)
    | _decimals
    | st.integers(0, 2**64 - 1).map(Timestamp)
)
_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4), max_leaves=20
)
tables = st.dictionaries(_keys, _values, max_size=6)


def field(key: bytes, kind: bytes, raw: bytes) -> bytes:
    return bytes((len(key),)) + key + kind + raw


def table(*fields: bytes) -> bytes:
    content = b"".join(fields)
    return struct.pack(">I", len(content)) + content


class Tables(SynchronousTestCase):
    @given(tables, st.binary(max_size=5))
    def test_round_trip(self, original: dict[str, Any], before: bytes) -> None:
        encoded = encode_table(original)
        decoded, end = decode_table(before + encoded + b"rest", len(before))
        self.assertEqual(decoded, original)
        self.assertEqual(end, len(before) + len(encoded))

    @given(tables)
    def test_a_decoded_table_is_encoded_the_same_way(self, original: dict[str, Any]) -> None:
        encoded = encode_table(original)
        self.assertEqual(encode_table(decode_table(encoded, 0)[0]), encoded)

    def test_pamqp_understands_it(self) -> None:
        original = {
            "文": "值",
            "i": 2**52,
            "b": True,
            "n": None,
            "l": [1, "二", {"x": False}],
            "f": 1.5,
            "x": b"\xff\x00",
            "D": Decimal("-1.25"),
        }
        self.assertEqual(pamqp_decode.field_table(encode_table(original))[1], original)

    def test_every_type(self) -> None:
        raw = table(
            field(b"t", b"t", b"\x01"),
            field(b"b", b"b", b"\xff"),
            field(b"B", b"B", b"\xff"),
            field(b"s", b"s", struct.pack(">h", -2)),
            field(b"U", b"U", struct.pack(">h", -3)),
            field(b"u", b"u", struct.pack(">H", 65535)),
            field(b"I", b"I", struct.pack(">i", -4)),
            field(b"i", b"i", struct.pack(">I", 2**32 - 1)),
            field(b"l", b"l", struct.pack(">q", -5)),
            field(b"L", b"L", struct.pack(">Q", 2**64 - 1)),
            field(b"f", b"f", struct.pack(">f", 0.5)),
            field(b"d", b"d", struct.pack(">d", 0.25)),
            field(b"D", b"D", b"\x02" + struct.pack(">i", 314)),
            field(b"S", b"S", struct.pack(">I", 3) + "会".encode()),
            field(b"S2", b"S", struct.pack(">I", 2) + b"\xff\xfe"),
            field(b"x", b"x", struct.pack(">I", 1) + b"\x00"),
            field(b"T", b"T", struct.pack(">Q", 1_700_000_000)),
            field(b"V", b"V", b""),
            field(b"F", b"F", table(field(b"k", b"t", b"\x00"))),
            field(b"A", b"A", struct.pack(">I", 3) + b"b\x01V"),
        )
        decoded, end = decode_table(raw, 0)
        self.assertEqual(end, len(raw))
        self.assertEqual(
            decoded,
            {"t": True, "b": -1, "B": 255, "s": -2, "U": -3, "u": 65535, "I": -4, "i": 2**32 - 1, "l": -5}
            | {"L": 2**64 - 1, "f": 0.5, "d": 0.25, "D": Decimal("3.14"), "S": "会", "S2": b"\xff\xfe"}
            | {"x": b"\x00", "T": 1_700_000_000, "V": None, "F": {"k": False}, "A": [1, None]},
        )
        self.assertIsInstance(decoded["T"], Timestamp)

    @given(tables, st.data())
    def test_cut_short(self, original: dict[str, Any], data: st.DataObject) -> None:
        encoded = encode_table(original)
        shorter = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
        self.assertRaises(TableError, decode_table, shorter, 0)

    @given(st.binary(max_size=200))
    def test_garbage(self, raw: bytes) -> None:
        try:
            decoded, end = decode_table(struct.pack(">I", len(raw)) + raw, 0)
        except TableError:
            return
        self.assertIsInstance(decoded, dict)
        self.assertEqual(end, len(raw) + 4)

    def test_value_longer_than_its_table(self) -> None:
        self.assertRaises(TableError, decode_table, struct.pack(">I", 4) + b"\x01kl\x00\x00\x00\x00\x00\x00\x00\x00", 0)
        array = struct.pack(">I", 2) + b"l\x00\x00\x00\x00\x00\x00\x00\x00"
        self.assertRaises(TableError, decode_table, table(field(b"a", b"A", array)), 0)

    def test_unknown_type(self) -> None:
        self.assertRaises(TableError, decode_table, table(field(b"k", b"?", b"")), 0)

    def test_too_deep(self) -> None:
        nested: dict[str, Any] = {}
        for _ in range(MAX_DEPTH + 1):
            nested = {"k": nested}
        self.assertRaises(TableError, encode_table, nested)
        raw = table()
        for _ in range(100_000):
            raw = table(field(b"", b"F", raw)) if len(raw) < 2000 else raw
        self.assertRaises(TableError, decode_table, raw, 0)
        bomb = b""
        for _ in range(500):
            bomb = b"A" + struct.pack(">I", len(bomb)) + bomb
        self.assertRaises(TableError, decode_table, table(field(b"", bomb[:1], bomb[1:])), 0)

    def test_what_has_no_type(self) -> None:
        for value in (object(), 2**63, Decimal("NaN"), Decimal(2**31), {1, 2}):
            self.assertRaises(TableError, encode_table, {"k": value})
        self.assertRaises(TableError, encode_table, {"长" * 100: 1})
        self.assertRaises(ValueError, encode_table, {"k": "\ud800"})

    def test_date(self) -> None:
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.assertEqual(decode_table(encode_table({"k": moment}), 0)[0], {"k": int(moment.timestamp())})

    def test_subclasses(self) -> None:
        class Text(str):
            pass

        self.assertEqual(encode_table({"k": Text("x")}), encode_table({"k": "x"}))
