"""One page of running conferences: its cursor, and how it is read without keeping other requests waiting."""

from __future__ import annotations

import re

import msgspec

from css.ports.running import IRunningConferences

MOST = 1000
USUAL = 100
CHUNK = 250
"""As many are read, and encoded, in one go: a few milliseconds of Redis, one of this process."""

_CURSOR = re.compile(r"after-([0-9]{1,32})", re.ASCII)
_encode = msgspec.json.Encoder().encode


def cursor_after(e164: str) -> str:
    """What a client gives back to go on after a number. To clients it is opaque."""
    return f"after-{e164}"


def parse_cursor(cursor: str) -> str | None:
    """The number after which to go on: empty for no cursor; None: this is none of ours."""
    if not cursor:
        return ""
    match = _CURSOR.fullmatch(cursor)
    return match[1] if match else None


async def read_page(running: IRunningConferences, after: str, limit: int) -> bytes:
    """The JSON of one page. Fails with `StoreError`."""
    parts: list[bytes] = []
    count, more = 0, True
    while more and count < limit:
        page = await running.page(after, min(CHUNK, limit - count))
        if page.conferences:
            count += len(page.conferences)
            parts.append(_encode(page.conferences)[1:-1])
        after, more = page.last, page.more
    cursor = _encode(cursor_after(after) if more else None)
    return b'{"conferences":[%b],"cursor":%b}' % (b",".join(parts), cursor)
