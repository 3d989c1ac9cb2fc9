"""Licences: their payload and the hash that they become (contract, sections 3 and 4)."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from css.domain.licence import NUMBERS, RESOURCES, Licence, combined, from_fields, parse_licence, to_fields


class Payload(SynchronousTestCase):
    """What is taken and what is not."""

    def test_all_numbers(self) -> None:
        """Each has its field of the same name."""
        numbers = {name: place for place, name in enumerate(NUMBERS)}
        licence = parse_licence(json.dumps(numbers | {"expires": 1_900_000_000}).encode())
        self.assertEqual(licence.expires, 1_900_000_000)
        fields = {"license": "token", "expires": "1900000000"} | {name: str(n) for name, n in numbers.items()}
        self.assertEqual(to_fields(licence, "token"), fields)
        self.assertEqual(from_fields(fields), licence)
        self.assertEqual(licence.numbers, numbers)

    def test_a_missing_number_is_no_limit(self) -> None:
        """It has no field, which the store reads as no limit; zero is a limit."""
        licence = parse_licence(b'{"smallconfnum": 0, "something else": [1]}')
        self.assertEqual(licence, Licence(smallconfnum=0))
        self.assertEqual(to_fields(licence, "t"), {"license": "t", "smallconfnum": "0"})

    def test_bad_ones(self) -> None:
        """Not JSON, no object, no number, negative: refused, and the error tells nothing but names."""
        bad = [b"", b"x", b"[]", b'"a"', b'{"smallconfnum": "5"}', b'{"largeconfnum": 1.5}', b'{"smallconfnum": true}']
        bad += [b'{"%s": %d}' % (name.encode(), n) for name in (*NUMBERS, "expires") for n in (-1, 2**53)]
        for payload in bad:
            self.assertRaises(ValueError, parse_licence, payload)

    def test_what_others_wrote(self) -> None:
        """A field that is no number counts as missing."""
        self.assertEqual(
            from_fields({"license": "t", "smallconfnum": "x", "largeconfnum": "", "expires": "²"}), Licence()
        )
        self.assertEqual(from_fields({}), Licence())


class Together(SynchronousTestCase):
    """The own licence with those of the possible platforms."""

    def test_resources_are_summed_and_conferences_are_not(self) -> None:
        """Each resource number over all platforms; the rest is the own one's."""
        own = Licence(**dict.fromkeys(NUMBERS, 10), expires=7)
        main = Licence(**dict.fromkeys(NUMBERS, 3), expires=5)
        wanted = {name: 16 if name in RESOURCES else 10 for name in NUMBERS}
        self.assertEqual(combined(own, [main, main]), Licence(**wanted, expires=7))
        self.assertEqual(combined(own, []), own)

    def test_a_missing_one_adds_nothing(self) -> None:
        """Own or another's; one that all lack stays without a limit."""
        own, main = Licence(softwarenumlimit=1), Licence(hardwarenumlimit=2, smallconfnum=9)
        self.assertEqual(combined(own, [main]), Licence(softwarenumlimit=1, hardwarenumlimit=2))
        self.assertEqual(combined(Licence(monitornumlimit=0), [Licence()]), Licence(monitornumlimit=0))

    def test_a_sum_stays_a_number_that_peers_can_read(self) -> None:
        """Two limits that mean *no limit* do not overflow."""
        huge = Licence(mediaportnumlimit=2**53 - 1)
        self.assertEqual(combined(huge, [huge]), huge)
