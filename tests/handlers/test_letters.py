"""Ids of messages."""

from __future__ import annotations

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from css.handlers.letters import _NAMESPACE, message_id


class MessageIdTests(SynchronousTestCase):
    """`message_id`."""

    @settings(deadline=None)
    @given(st.lists(st.one_of(st.text(), st.integers(), st.binary()), max_size=5))
    def test_is_the_uuid_of_version_5(self, identity: list[object]) -> None:
        text = ":".join(map(str, identity))
        self.assertEqual(message_id(*identity), str(uuid.uuid5(_NAMESPACE, text)))

    def test_same_for_the_same_effect_only(self) -> None:
        self.assertEqual(message_id("0660175", 1, 2, "", 0), message_id("0660175", 1, 2, "", 0))
        self.assertNotEqual(message_id("0660175", 1, 2, "", 0), message_id("0660175", 1, 2, "", 1))
