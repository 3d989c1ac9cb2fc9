"""The page for integrators says what the structs say."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from css.messages.catalogue import MESSAGES
from css.messages.codec import wire_type

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
ROW = re.compile(r"^\| `([A-Z0-9_]+)` \| [^|]+ \| ([^|]*) \|", re.MULTILINE)


class ProtocolPageTests(SynchronousTestCase):
    """`docs/protocol.md` against the catalogue."""

    def test_one_row_a_message_with_its_fields(self) -> None:
        section = PAGE.read_text("utf-8").split("## 3. Messages")[1].split("\n## ")[0]
        rows = ROW.findall(section)
        self.assertEqual(sorted(name for name, _ in rows), sorted(wire_type(struct) for struct in MESSAGES))
        fields = dict(rows)
        for struct in MESSAGES:
            required, _, optional = fields[wire_type(struct)].partition("optional ")
            told = dict.fromkeys(re.findall(r"`(\w+)`", required), True)
            told |= dict.fromkeys(re.findall(r"`(\w+)`", optional), False)
            self.assertEqual(told, {field.encode_name: field.required for field in msgspec.structs.fields(struct)})
