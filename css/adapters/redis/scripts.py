"""The Lua scripts: files of this package, never built from input."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import hiredis

_FOLDER = files("css.adapters.redis") / "lua"


class Script:
    """One script, and how its calls begin on the wire."""

    def __init__(self, name: str, *parts: str) -> None:
        """@param parts: the files of shared functions (`_<part>.lua`) that it uses."""
        texts = [(_FOLDER / f"{file}.lua").read_text("utf-8") for file in (*(f"_{part}" for part in parts), name)]
        self.name = name
        self.source = "\n".join(texts).encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()
        self._by_sha = (b"EVALSHA", self.sha.encode(), b"0")
        self._by_source = (b"EVAL", self.source, b"0")

    def call(self, arguments: tuple[bytes, ...], with_source: bool = False) -> bytes:
        """@return: the command as it goes over the wire; `with_source` for a server that has forgotten the script."""
        words: Any = (*(self._by_source if with_source else self._by_sha), *arguments)
        packed: bytes = hiredis.pack_command(words)
        return packed


LOAD = Script("load", "loaded")
COMMIT = Script("commit", "loaded", "now", "outbox", "hashes")
CLAIM_DUE = Script("claim_due", "now")
READY_RESTORES = Script("ready_restores", "now")
CLAIM_RESTORES = Script("claim_restores", "now")
TAKE_OUTBOX = Script("take_outbox", "now")
CLEAR_OUTBOX = Script("clear_outbox", "now", "outbox")
OUTBOX_SIZE = Script("outbox_size")
WRITE_HASHES = Script("write_hashes", "now", "outbox", "hashes")
INDEX_SIZE = Script("index_size")
BOOK = Script("book", "now", "mcu", "losses")
UNBOOK = Script("unbook")
SETTLE_BOOKINGS = Script("settle_bookings")
LOADS = Script("loads")
PENALISE = Script("penalise", "now", "mcu")
NOTE_SEEN = Script("note_seen", "now", "losses")
HOSTS = Script("hosts")
STANDINGS = Script("standings", "now", "mcu")
CLAIM_GONE = Script("claim_gone", "now")
EXPECT_PROCESSES = Script("expect_processes", "now")
FORGET_PROCESSES = Script("forget_processes", "now", "losses")
DIFFERING = Script("differing")
REBOOK = Script("rebook", "now")
ACCEPT_LIST = Script("accept_list", "now")
UNKNOWN_SINCE = Script("unknown_since", "now")
LEDGER_OPEN = Script("ledger_open")
LEDGER_NOTE = Script("ledger_note")
DRAW = Script("draw", "now")
SWEEP_RESERVATIONS = Script("sweep_reservations")
RUNNING_PAGE = Script("running_page")
RUNNING_FILL = Script("running_fill")
PLANNED_READ = Script("planned_read")
BOOK_TELL = Script("book_tell", "now", "outbox", "book")
BOOK_WITHDRAW = Script("book_withdraw", "now", "outbox", "book")
BOOK_FORGET = Script("book_forget")
SET_ROOM = Script("set_room")
REPLACE_ROOMS = Script("replace_rooms")
NOTE_DUTY = Script("note_duty", "now")
CLAIM_SLOT = Script("claim_slot", "now")
RELEASE_SLOT = Script("release_slot")

ALL: tuple[Script, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Script))
