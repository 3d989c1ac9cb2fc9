"""The port's structs as arguments of the scripts, and the scripts' replies as the port's structs.

Arrays instead of maps where Lua hands them on as they are; bytes go beside the MessagePack argument, since the
servers' `cmsgpack` knows no binary type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from css.ports.store import Commit, CommitResult, Fields, Loaded, OutboxEntry, Outcome

_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}


def flat(fields: Mapping[str, str]) -> list[str]:
    """@return: field, value, field, value …"""
    return list(chain.from_iterable(fields.items()))


def packed_commit(commit: Commit) -> tuple[Any, list[bytes]]:
    """@return: the argument of `commit.lua`, and the blobs beside it: outbox data, then request values."""
    requests = commit.answers if commit.request is None else (commit.request, *commit.answers)
    expected, version = commit.expected, 1
    if expected is not None:
        version = expected[1] + 1
    argument = (
        commit.e164,
        commit.touch_record,
        () if expected is None else (expected[0], str(expected[1])),
        [*chain.from_iterable(commit.set_fields.items()), "version", str(version)],
        commit.drop_fields,
        flat(commit.set_conf) if commit.set_conf else (),
        commit.delete_record,
        commit.index_add,
        commit.index_drop,
        [(r.set_name, r.member, r.limit_key, r.limit_field, r.required) for r in commit.reserve],
        commit.unreserve,
        [(request.key, request.ttl_seconds, request.only_new) for request in requests],
        commit.request is not None,
        None if commit.tombstone is None else flat(commit.tombstone.fields),
        0 if commit.tombstone is None else commit.tombstone.ttl_seconds,
        commit.above_tombstone,
        commit.guards,
        packed_outbox(commit.outbox),
        commit.cleared,
        packed_hashes(commit.hashes),
        flat(commit.strings),
    )
    return argument, [*[entry.data for entry in commit.outbox], *[request.value for request in requests]]


def packed_hashes(hashes: Mapping[str, Fields | None]) -> list[Any]:
    """@return: key, fields, key, fields …; no fields: the hash is deleted."""
    return list(chain.from_iterable((key, flat(value or {})) for key, value in hashes.items()))


def packed_outbox(entries: Iterable[OutboxEntry]) -> list[tuple[str, str, str, int]]:
    """Outbox entries without their data."""
    return [(entry.platform, entry.lane, entry.mark, entry.due_ms) for entry in entries]


def commit_result(reply: Any) -> CommitResult:
    """The reply of `commit.lua`."""
    if reply == 1:
        return CommitResult(Outcome.DONE)
    head, *rest = reply
    if head == 1:
        return CommitResult(Outcome.DONE, waiting=tuple(map(text, rest)))
    outcome = _OUTCOMES[head]
    loaded_ = loaded(rest[1:]) if outcome is not Outcome.GUARD else None
    return CommitResult(outcome, loaded_, text(rest[0]))


def loaded(reply: Sequence[Any]) -> Loaded:
    """Record, conf, tombstone, request."""
    record, conf, tombstone, request = reply
    return Loaded(fields(record), fields(conf) if conf else {}, fields(tombstone) if tombstone else {}, request)


def fields(reply: Sequence[bytes]) -> Fields:
    """What HGETALL answers."""
    words = [str(word, "utf-8", "replace") for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def text(word: bytes) -> str:
    """A value, which others may have written in any encoding."""
    return str(word, "utf-8", "replace")
