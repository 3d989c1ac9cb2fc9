"""Public templates (seed 6): what is refused, and whose write counts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.errors import ErrCode
from css.domain.template import Standing, Verb, is_newest, refusal, standing_from

PUT, DEL, NONE = Standing(7, True), Standing(7, False), Standing()


class Refusals(SynchronousTestCase):
    """What is there when no write is under way, and what will be there when one is."""

    def test_what_is_missing(self) -> None:
        """Can't be changed or deleted; it can be added."""
        for verb in (Verb.MOD, Verb.DEL):
            self.assertEqual(refusal(verb, NONE, False), ErrCode.CONF_NOT_FOUND)
            self.assertIsNone(refusal(verb, NONE, True))
        for in_sql in (False, True):
            self.assertIsNone(refusal(Verb.ADD, NONE, in_sql))

    def test_while_a_write_is_under_way(self) -> None:
        """What it leaves counts, whatever SQL says now."""
        for verb in (Verb.MOD, Verb.DEL):
            for in_sql in (False, True):
                self.assertIsNone(refusal(verb, PUT, in_sql))
                self.assertEqual(refusal(verb, DEL, in_sql), ErrCode.CONF_NOT_FOUND)


class Standings(SynchronousTestCase):
    """The text beside a template."""

    def test_there_and_back(self) -> None:
        """None under way is no text."""
        for standing in (PUT, DEL, NONE, Standing(2**53 - 1, True), Standing(7, False, 2)):
            self.assertEqual(standing_from(str(standing)), standing)
        self.assertEqual(str(NONE), "")

    def test_of_somebody_else(self) -> None:
        """Counts as none."""
        for text in ("x", "-1 put", "put 7"):
            self.assertEqual(standing_from(text), NONE)

    def test_newest(self) -> None:
        """Its own, or none: then it settles what Redis has."""
        self.assertTrue(is_newest(7, PUT))
        self.assertTrue(is_newest(7, NONE))
        self.assertFalse(is_newest(6, PUT))
