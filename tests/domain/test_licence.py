"""Licences: their payload and the hash that they become (contract, sections 3 and 4)."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from css.domain.licence import NUMBERS, Licence, parse_licence, to_fields


class Payload(SynchronousTestCase):
    """What is taken and what is not."""

    def test_all_numbers(self) -> None:
        """Each has its field of the same name."""
        numbers = {name: place for place, name in enumerate(NUMBERS)}
        licence = parse_licence(json.dumps(numbers | {"expires": 1_900_000_000}).encode())
        self.assertEqual(licence.expires, 1_900_000_000)
        self.assertEqual(
            to_fields(licence, "token"), {"license": "token"} | {name: str(number) for name, number in numbers.items()}
        )

    def test_a_missing_number_is_no_limit(self) -> None:
        """It has no field, which the store reads as no limit; zero is a limit."""
        licence = parse_licence(b'{"smallconfnum": 0, "something else": [1]}')
        self.assertEqual(licence, Licence(smallconfnum=0))
        self.assertEqual(to_fields(licence, "t"), {"license": "t", "smallconfnum": "0"})

    def test_bad_ones(self) -> None:
        """Not JSON, no object, no number, negative: refused, and the error tells nothing but names."""
        bad = [b"", b"x", b"[]", b'"a"', b'{"smallconfnum": "5"}', b'{"largeconfnum": 1.5}', b'{"smallconfnum": true}']
        bad += [b'{"%s": -1}' % name.encode() for name in NUMBERS]
        for payload in bad:
            self.assertRaises(ValueError, parse_licence, payload)
