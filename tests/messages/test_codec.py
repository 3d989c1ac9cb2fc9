"""What the codec refuses, whatever the message; what it keeps; and that it raises nothing but `Malformed`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from css.messages import control, create, mcu
from css.messages.codec import MAX_BODY_BYTES, Malformed, decode, encode, nack_for_malformed, wire_type
from tests.messages.examples import EXAMPLES, SPELLINGS

RELEASE = b'{"type":"CM_MAU_RELEASECONF_REQ","confE164":"0660175","mtreqid":"r-1"%s}'


def refusal(body: bytes) -> Malformed | None:
    """What `decode` raises; None if it takes the body."""
    try:
        decode(body)
    except Malformed as malformed:
        return malformed
    return None


def kind(body: bytes) -> str | None:
    """The first word of the reason for which a body is refused; None if it is taken."""
    malformed = refusal(body)
    return malformed.reason.split(":")[0] if malformed else None


class RefusalTests(SynchronousTestCase):
    """Each kind of bad body, and the good ones next to it."""

    def test_no_json(self) -> None:
        for body in (b"", b"x", b"{", b"{}{}", b"\x00", b"\xef\xbb\xbf{}", b"[1,2]", b'"text"', b"5", b"null"):
            self.assertEqual(kind(body), "bad_json", body)

    def test_encoding(self) -> None:
        for value in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", "会".encode("gbk")):
            self.assertEqual(kind(RELEASE % (b',"x":"' + value + b'"')), "bad_json", value)
            self.assertEqual(kind(RELEASE % (b',"' + value + b'":1')), "bad_json", value)
        self.assertIsNone(kind(RELEASE % ',"会":"议"'.encode()))

    def test_lone_surrogates(self) -> None:
        for value in (rb"\ud800", rb"\udc00", rb"\udc00\ud800", rb"\ud800x", rb"\ud83d\u0041"):
            self.assertEqual(kind(RELEASE % (b',"x":"' + value + b'"')), "bad_json", value)
        self.assertIsNone(kind(RELEASE % rb',"x":"\ud83d\ude00"'))

    def test_numbers(self) -> None:
        for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"01", b"+1", b"1.", b"9" * 5000):
            self.assertEqual(kind(RELEASE % (b',"x":' + value)), "bad_json", value)
        for value in (b"1e300", b"-0", b"9" * 300, b"0.1234567890123456789"):
            self.assertIsNone(kind(RELEASE % (b',"x":' + value)), value)

    def test_depth(self) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            inner = b"1" if opening != b"[" else b""
            for depth in (1, 15):
                self.assertIsNone(kind(RELEASE % (b',"x":' + opening * depth + inner + closing * depth)), depth)
            for depth in (16, 17, 200, 100_000):
                body = RELEASE % (b',"x":' + opening * depth + inner + closing * depth)
                self.assertEqual(kind(body), "too_deep", depth)
        self.assertEqual(kind(b"[" * 1_000_000), "too_deep")

    def test_width_is_no_depth(self) -> None:
        self.assertIsNone(kind(RELEASE % (b',"x":[' + b"[],{}," * 5000 + b"[]]")))

    def test_brackets_in_strings_are_no_depth(self) -> None:
        self.assertIsNone(kind(RELEASE % (b',"x":"' + b"[{" * 50 + b'"')))

    def test_depth_within_a_typed_field(self) -> None:
        template = b'{"type":"ADD_TEMPLATE_REQ","e164":"1","moid":"u","name":"","content":{"a":%s}}'
        self.assertIsNone(kind(template % (b"[" * 14 + b"]" * 14)))
        self.assertEqual(kind(template % (b"[" * 15 + b"]" * 15)), "too_deep")

    def test_duplicate_keys(self) -> None:
        for more in (
            b',"mtreqid":"r-1"',
            b',"type":"CM_MAU_RELEASECONF_REQ"',
            b',"x":1,"x":1',
            b',"x":{"a":[{"b":1,"b":2}]}',
            rb',"x":{"a":1,"\u0061":2}',
            b',"mtreqid":5',
            rb',"x":"\"","y":{"a\"":1,"a\"":2}',
            b',"x":{"a":"","a":"\\\\"}',
        ):
            self.assertEqual(kind(RELEASE % more), "duplicate_key", more)

    def test_no_duplicate_keys(self) -> None:
        for more in (
            b',"x":{"confE164":"1"},"y":{"x":1}',
            rb',"x":"\"a\":1,\"a\":2"',
            rb',"x":"\\","y":"\\\"","z":"\u0022\u005c"',
            b',"":"","x":{"":""}',
            b',"a":"\\\\","b":"\\\\\\\\"',
        ):
            self.assertIsNone(kind(RELEASE % more), more)

    def test_duplicate_of_a_coerced_field(self) -> None:
        """An integer that becomes a string must not make up for a vanished key."""
        body = b'{"type":"MCU_MAU_HEARTBEAT_NTF","ip":"h","pid":5,"pid":5}'
        self.assertEqual(kind(body), "duplicate_key")

    def test_duplicate_in_a_list(self) -> None:
        entry = b'{"confE164":"1","createtime":1,"createtime":2}'
        body = b'{"type":"MCU_MAU_CONFLIST_NTF","ip":"h","pid":"1","confdatainfo":[' + entry + b"]}"
        self.assertEqual(kind(body), "duplicate_key")

    def test_type(self) -> None:
        for body in (b"{}", b'{"type":5}', b'{"type":null}', b'{"type":["CM_MAU_RELEASECONF_REQ"]}'):
            self.assertEqual(kind(body), "no_type", body)
        for name in ("", "X", "CM_MAU_NEW_REQ", "cm_mau_releaseconf_req", "CM_CMU_REQ", "CM_CMU__ASK", "CM_CMU_X_req"):
            self.assertEqual(kind(json.dumps({"type": name, "confE164": "1"}).encode()), "unknown_type", name)

    def test_size(self) -> None:
        empty = len(RELEASE % b',"x":""')
        fits = RELEASE % (b',"x":"' + b"a" * (MAX_BODY_BYTES - empty) + b'"')
        self.assertEqual(len(fits), MAX_BODY_BYTES)
        self.assertIsNone(kind(fits))
        self.assertEqual(kind(fits + b" "), "too_large")

    def test_reason_is_short_and_tells_no_value(self) -> None:
        body = json.dumps({"type": "CM_MAU_CREATECONF_REQ", "confE164": "1", "password": "secret" * 1000}).encode()
        malformed = refusal(body)
        assert malformed is not None
        self.assertLessEqual(len(malformed.reason), 200)
        self.assertNotIn("secret", malformed.reason)


class MalformedTests(SynchronousTestCase):
    """What is kept of a bad message, and the NACK that it gets."""

    def test_telling_fields(self) -> None:
        malformed = refusal(b'{"type":"X","confE164":"0a","e164":"7","mtreqid":"m","ip":"h","pid":"p"}')
        assert malformed is not None
        told = (malformed.type, malformed.confE164, malformed.e164, malformed.mtreqid, malformed.ip, malformed.pid)
        self.assertEqual(told, ("X", "0a", "7", "m", "h", "p"))

    def test_fields_that_are_no_strings(self) -> None:
        malformed = refusal(b'{"type":"X","confE164":12,"e164":null,"mtreqid":77,"ip":[],"pid":true}')
        assert malformed is not None
        told = (malformed.type, malformed.confE164, malformed.e164, malformed.mtreqid, malformed.ip, malformed.pid)
        self.assertEqual(told, ("X", None, None, "77", None, None))

    def nack(self, **fields: Any) -> dict[str, Any] | None:
        malformed = refusal(json.dumps(fields).encode())
        assert malformed is not None, fields
        answer = nack_for_malformed(malformed)
        return json.loads(answer) if answer is not None else None

    def test_nack(self) -> None:
        for request, nack in {
            "CM_MAU_CREATECONF_REQ": "MAU_CM_CREATECONF_NACK",
            "CM_MAU_RELEASECONF_REQ": "MAU_CM_RELEASECONF_NACK",
            "CM_MAU_DELAYCONF_REQ": "CM_MAU_DELAYCONF_NACK",
            "MCU_MAU_DELAYCONF_REQ": "MAU_MCU_DELAYCONF_NACK",
            "CMU_MAU_DELAYCONF_REQ": "MAU_MCU_DELAYCONF_NACK",
            "CM_CMU_LOCK_REQ": "CMU_CM_LOCK_NACK",
            "CM_CMU_STARTMONITOR_REQ": "CMU_CM_STARTMONITOR_NACK",
            "CMU_CM_MODIFYCONFNAME_REQ": "CM_CMU_MODIFYCONFNAME_NACK",
        }.items():
            self.assertEqual(
                self.nack(type=request, confE164="x1", mtreqid=5),
                {"type": nack, "confE164": "x1", "mtreqid": "5", "errcode": "BAD_REQUEST"},
            )

    def test_template_nack(self) -> None:
        for verb in ("ADD", "MOD", "DEL"):
            self.assertEqual(
                self.nack(type=f"{verb}_TEMPLATE_REQ", e164="1", mtreqid="m"),
                {"type": f"{verb}_TEMPLATE_NACK", "e164": "1", "mtreqid": "m", "errcode": "BAD_REQUEST"},
            )

    def test_licence_nack(self) -> None:
        self.assertEqual(self.nack(type="GET_LICENSE_REQ"), {"type": "GET_LICENSE_NACK", "errcode": "BAD_REQUEST"})

    def test_nack_says_only_what_was_a_string(self) -> None:
        self.assertEqual(
            self.nack(type="CM_MAU_CREATECONF_REQ", confE164=5, mtreqid=None),
            {"type": "MAU_CM_CREATECONF_NACK", "errcode": "BAD_REQUEST"},
        )

    def test_no_nack(self) -> None:
        for name in ("MCU_MAU_HEARTBEAT_NTF", "CM_CMU_X_NTF", "CMU_CM_X_ACK", "LICENSE_NTF", "NEW_REQ", ""):
            self.assertIsNone(self.nack(type=name, confE164="x", mtreqid=[], moid=5))

    def test_no_nack_for_what_is_no_json(self) -> None:
        self.assertIsNone(nack_for_malformed(Malformed("bad_json")))


class KeptTests(SynchronousTestCase):
    """Messages whose unknown fields are passed on."""

    BODY = (
        '{ "confE164":"001", "type":"CM_MAU_CREATECONF_REQ","confname":"会议😀","moid":"u","mtreqid":7,"ip":"cm",'
        '"big":123456789012345678901234567890,"f":0.10,"deep":{"a":[1.50,null]},"vrs":"mine","epoch":1}'
    ).encode()

    def test_original(self) -> None:
        message = decode(self.BODY)
        assert isinstance(message, create.CreateRequest)
        self.assertEqual(message.original, self.BODY)
        self.assertEqual(encode(message), self.BODY)

    def test_original_of_one_made_here(self) -> None:
        message = create.CreateRequest(confE164="1", confname="a", moid="u", duration=5)
        expected = {"type": "CM_MAU_CREATECONF_REQ", "confE164": "1", "confname": "a", "moid": "u", "duration": 5}
        self.assertEqual(json.loads(message.original), expected)
        self.assertEqual(encode(message), message.original)

    def test_mcu_create_body(self) -> None:
        body = create.mcu_create_body(self.BODY, ip="10.0.0.1", roommoid="r", epoch=2**53 - 1, xmpu=1, vrs="10.0.0.9")
        for kept in ('"会议😀"', '"big":123456789012345678901234567890,', '"f":0.10,', '{"a":[1.50,null]}'):
            self.assertIn(kept.encode(), body)
        placement = {"ip": "10.0.0.1", "roommoid": "r", "epoch": 2**53 - 1, "xmpu": 1, "vrs": {"ip": "10.0.0.9"}}
        expected = {**json.loads(self.BODY), "type": "MAU_MCU_CREATECONF_REQ", **placement}
        self.assertEqual(json.loads(body), expected)
        message = decode(body)
        assert isinstance(message, create.McuCreateRequest)
        self.assertEqual(message.vrs, create.Server("10.0.0.9"))
        self.assertEqual(message.original, body)

    def test_mcu_create_body_without_recorder(self) -> None:
        body = create.mcu_create_body(self.BODY, ip="10.0.0.1", roommoid="", epoch=1, xmpu=0, vrs="")
        self.assertNotIn("vrs", json.loads(body))
        self.assertIs(type(decode(body)), create.McuCreateRequest)

    def test_mcu_restore_body(self) -> None:
        changed = {"confname": "新名", "password": "9", "duration": 5, "endtime": 1_700_000_000, "ip": "10.0.0.2"}
        changed |= {"roommoid": "r2", "epoch": 77, "xmpu": 0}
        body = create.mcu_restore_body(self.BODY, vrs="", **changed)  # type: ignore[arg-type]
        expected = {**json.loads(self.BODY), "type": "MAU_CMU_RESTORECONF_REQ", **changed}
        del expected["vrs"]
        self.assertEqual(json.loads(body), expected)
        self.assertIn(b'"f":0.10,', body)
        self.assertIs(type(decode(body)), mcu.McuRestoreRequest)

    def test_control_is_passed_on_unchanged(self) -> None:
        body = b'{"type":"CM_CMU_KICK_CMD","confE164":"01","terminals":[{"id": 1.50}]}'
        message = decode(body)
        assert isinstance(message, control.Control)
        self.assertEqual((wire_type(message), message.confE164, message.original), ("CM_CMU_KICK_CMD", "01", body))

    def test_control_class_has_no_type_of_its_own(self) -> None:
        self.assertRaises(TypeError, wire_type, control.CmControl)


class LongListTests(SynchronousTestCase):
    """A conference list of some megabytes."""

    def test_megabytes(self) -> None:
        entries = [{"confE164": f"{n:010}", "createtime": n, "epoch": 2**52 + n} for n in range(40_000)]
        fields = {"type": "MCU_MAU_CONFLIST_NTF", "ip": "h", "pid": 1, "confdatainfo": entries, "new": "field"}
        body = json.dumps(fields).encode()
        self.assertGreater(len(body), 2_500_000)
        message = decode(body)
        assert isinstance(message, mcu.ConfListNotice)
        self.assertEqual(len(message.confdatainfo), 40_000)
        self.assertEqual(message.confdatainfo[-1], mcu.ConfListEntry("0000039999", 39_999, 2**52 + 39_999))


TYPES = st.sampled_from([*(example.name for example in EXAMPLES), *SPELLINGS, "X", ""])
FIELDS = st.sampled_from(sorted({name for example in EXAMPLES for name in {**example.required, **example.optional}}))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class FuzzTests(SynchronousTestCase):
    """`decode` raises `Malformed` or returns what encodes again; nothing else."""

    def check(self, body: bytes) -> None:
        try:
            message = decode(body)
        except Malformed as malformed:
            answer = nack_for_malformed(malformed)
            if answer is not None:
                self.assertEqual(json.loads(answer)["errcode"], "BAD_REQUEST")
            return
        self.assertEqual(decode(encode(message)), message)

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_bytes(self, body: bytes) -> None:
        self.check(body)

    @given(TYPES, st.dictionaries(FIELDS, VALUES, max_size=6), st.booleans())
    @settings(max_examples=500, deadline=None)
    def test_fields(self, name: str, fields: dict[str, Any], ascii_only: bool) -> None:
        self.check(json.dumps({"type": name, **fields}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))

    @given(st.sampled_from(EXAMPLES), st.data())
    @settings(max_examples=500, deadline=None)
    def test_damaged_examples(self, example: Any, data: st.DataObject) -> None:
        body = bytearray(json.dumps(example.object(), ensure_ascii=False).encode())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(body) - 1))
            body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        self.check(bytes(body))

    @given(st.text('ab\\"', max_size=4), st.text('ab\\"', max_size=4), st.booleans())
    @settings(max_examples=300, deadline=None)
    def test_keys_are_compared_as_decoded(self, one: str, other: str, escaped: bool) -> None:
        def quoted(text: str) -> str:
            return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"' if escaped else json.dumps(text)

        body = RELEASE % f',"x":{{{json.dumps(one)}:"",{quoted(other)}:""}}'.encode()
        self.assertEqual(kind(body), "duplicate_key" if one == other else None)
