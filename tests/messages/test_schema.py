"""Every message, field by field: an example, each field missing, of a wrong type, at its limits and beyond."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from css.messages import base, catalogue, control, create
from css.messages.codec import Malformed, decode, encode, wire_type
from tests.messages.examples import EXAMPLES, LIMITS, SPELLINGS, Example

REQUIRED = [(example, name) for example in EXAMPLES for name in example.required]
FIELDS = [(example, *field) for example in EXAMPLES for field in {**example.required, **example.optional}.items()]
WITHOUT_LIMITS = frozenset({"content", "vrs"})
"""Fields that may be anything of their type."""


def body(fields: dict[str, Any]) -> bytes:
    """As a peer would write it."""
    return json.dumps(fields, ensure_ascii=False).encode()


def wrong_types(name: str, value: Any) -> Iterator[Any]:
    """Values of other JSON types than that of the example."""
    others: list[Any] = [True, 1.5, [], {}, "x", 7]
    for other in others:
        digits_will_do = name in ("pid", "mtreqid") and other == 7
        if type(other) is not type(value) and not digits_will_do:
            yield other


class SchemaTests(SynchronousTestCase):
    """The whole catalogue against the examples."""

    def refused(self, fields: dict[str, Any], hint: str) -> Malformed:
        """What `decode` raises for this object."""
        try:
            message = decode(body(fields))
        except Malformed as malformed:
            return malformed
        raise self.failureException(f"{fields['type']} with {hint} was taken: {message!r}")

    def test_every_message_has_an_example(self) -> None:
        named = {example.name for example in EXAMPLES if not issubclass(example.struct, control.Control)}
        self.assertEqual(named, {wire_type(struct) for struct in catalogue.MESSAGES})

    def test_every_struct_is_in_the_catalogue(self) -> None:
        def below(struct: type[Any]) -> Iterator[type[Any]]:
            for child in struct.__subclasses__():
                yield child
                yield from below(child)

        bases = {base.Named, base.Kept, control.Control}
        bases |= {create.Wanted, create.Placed, create.PlacedAck, create.PlacedNack}
        structs = {struct for struct in below(base.Message) if struct not in bases}
        self.assertEqual(structs, {*catalogue.MESSAGES, control.CmControl, control.McuControl})

    def test_example(self) -> None:
        for example in EXAMPLES:
            message = decode(body(example.object()))
            self.assertIs(type(message), example.struct)
            self.assertEqual(wire_type(message), example.name)
            for name, value in {**example.required, **example.optional}.items():
                self.assertEqual(msgspec.to_builtins(getattr(message, name)), value, f"{example.name}.{name}")

    def test_round_trip(self) -> None:
        for example in EXAMPLES:
            message = decode(body(example.object()))
            self.assertEqual(json.loads(encode(message)), example.object())
            self.assertEqual(decode(encode(message)), message)

    def test_required_alone_will_do(self) -> None:
        for example in EXAMPLES:
            message = decode(body(example.without(*example.optional)))
            self.assertIs(type(message), example.struct)
            self.assertEqual(json.loads(encode(message)), {"type": example.name, **example.required})

    def test_missing_required_field(self) -> None:
        for example, name in REQUIRED:
            malformed = self.refused(example.without(name), f"no {name}")
            self.assertEqual(malformed.reason.split(":")[0], "bad_fields")
            self.assertIn(name, malformed.reason)

    def test_null_for_a_required_field(self) -> None:
        for example, name in REQUIRED:
            self.refused(example.object(**{name: None}), f"{name} null")

    def test_wrong_type(self) -> None:
        for example, name, value in FIELDS:
            wrongs = list(wrong_types(name, value))
            reasons = [self.refused(example.object(**{name: wrong}), f"{name} = {wrong!r}").reason for wrong in wrongs]
            self.assertGreaterEqual(len(reasons), 4, name)

    def test_every_field_has_its_limits_tested(self) -> None:
        self.assertEqual({name for _, name, _ in FIELDS}, set(LIMITS))
        self.assertEqual({name for name, (_, beyond) in LIMITS.items() if not beyond}, WITHOUT_LIMITS)

    def test_limits(self) -> None:
        for example, name, _ in FIELDS:
            taken = [decode(body(example.object(**{name: value}))) for value in LIMITS[name][0]]
            self.assertEqual({type(message) for message in taken} - {example.struct}, set(), name)

    def test_beyond_the_limits(self) -> None:
        for example, name, _ in FIELDS:
            beyond = [value for value in LIMITS[name][1] if not self.lenient(example, name, value)]
            refused = [self.refused(example.object(**{name: value}), f"{name} = {value!r}"[:80]) for value in beyond]
            self.assertEqual([malformed.reason.split(":")[0] for malformed in refused], ["bad_fields"] * len(beyond))

    @staticmethod
    def lenient(example: Example, name: str, value: Any) -> bool:
        """An MCU's answer may do without a number."""
        return example.struct is control.McuControl and name == "confE164" and value == ""

    def test_other_spellings(self) -> None:
        for spelling, meant in SPELLINGS.items():
            example = next(example for example in EXAMPLES if example.name == meant)
            message = decode(body(example.object(type=spelling)))
            self.assertEqual(message, decode(body(example.object())))
            self.assertIs(type(message), example.struct)
            self.assertEqual(wire_type(message), meant)

    def test_integers_for_pid_and_mtreqid(self) -> None:
        found = [(example, name) for example, name, _ in FIELDS if name in ("pid", "mtreqid")]
        self.assertEqual({name for _, name in found}, {"pid", "mtreqid"})
        messages = [(name, decode(body(example.object(**{name: 26603})))) for example, name in found]
        self.assertEqual({getattr(message, name) for name, message in messages}, {"26603"})
        for example, name in found:
            self.refused(example.object(**{name: 26603.0}), f"{name} as a float")

    def test_unknown_fields_are_ignored(self) -> None:
        for example in EXAMPLES:
            more = {"x-new": {"深": [1, None, 2.5, 'a"b\\c', 10**30]}, "original": "x", "_original": 5}
            self.assertEqual(decode(body(example.object(**more))), decode(body(example.object())))
