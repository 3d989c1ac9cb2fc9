"""One commit on a keyspace: the checks in their order, then all writes. The Lua script `commit.lua` does the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from css.adapters.memory.keys import (
    conf_key,
    ended_key,
    index_key,
    outbox_due_key,
    outbox_key,
    outbox_lanes_key,
    record_key,
    request_key,
    set_key,
)
from css.adapters.memory.keyspace import Keyspace
from css.adapters.outbox import mark_position
from css.ports.store import Commit, CommitResult, Fields, Loaded, OutboxEntry, Outcome, Reservation


def load(keyspace: Keyspace, e164: str, request: str) -> Loaded:
    """All that is known of a number, and of a request unless its key is empty."""
    return Loaded(
        record=keyspace.hash(record_key(e164)),
        conf=keyspace.hash(conf_key(e164)),
        tombstone=keyspace.hash(ended_key(e164)),
        request=keyspace.string(request_key(request)) if request else None,
    )


def apply(keyspace: Keyspace, commit: Commit) -> CommitResult:
    """Check, then write everything, or nothing."""
    refused = _refusal(keyspace, commit)
    if refused is not None:
        if refused.outcome is not Outcome.GUARD:
            refused.loaded = load(keyspace, commit.e164, commit.request.key if commit.request else "")
        return refused
    if commit.touch_record:
        _write_record(keyspace, commit)
    _write_beside(keyspace, commit)
    replace_hashes(keyspace, commit.hashes)
    for key, value in commit.strings.items():
        if value:
            keyspace.set_string(key, value.encode())
        else:
            keyspace.delete(key)
    for platform, lane, mark in commit.cleared:
        clear_entry(keyspace, platform, lane, commit.e164, mark)
    waiting = append_outbox(keyspace, commit.e164, commit.outbox)
    for platform, lane, _ in commit.cleared:
        close_lane(keyspace, platform, lane)
    return CommitResult(Outcome.DONE, waiting=waiting)


def replace_hashes(keyspace: Keyspace, hashes: Mapping[str, Fields | None]) -> None:
    """Replace public hashes (None: delete); a list of their family that was made is kept right."""
    for key, fields in hashes.items():
        keyspace.delete(key)
        keyspace.update_hash(key, fields or {})
        family, slash, _ = key.partition("/")
        if slash and not fields:
            keyspace.drop_member(f"css/hashes/{family}", key)
        elif slash and keyspace.members(f"css/hashes/{family}"):
            keyspace.add_member(f"css/hashes/{family}", key)


def append_outbox(keyspace: Keyspace, e164: str, entries: Iterable[OutboxEntry]) -> tuple[str, ...]:
    """Keep effects. @return: lanes in which earlier ones of the number still wait."""
    entries = list(entries)
    waiting = dict.fromkeys(
        entry.lane
        for entry in entries
        for mark in keyspace.hash(outbox_key(entry.platform, entry.lane, e164))
        if mark_position(mark) < mark_position(entry.mark)
    )
    for entry in entries:
        keyspace.update_hash(outbox_key(entry.platform, entry.lane, e164), {entry.mark: entry.data})
        # An earlier due time, or the lease of whoever carries the number's effects out now, stands.
        keyspace.score(outbox_due_key(entry.platform, entry.lane), e164, entry.due_ms, only_new=True)
        keyspace.add_member(outbox_lanes_key(entry.platform), entry.lane)
    return tuple(waiting)


def clear_entry(keyspace: Keyspace, platform: str, lane: str, e164: str, mark: str) -> None:
    """Forget one entry of a number; the lane is left to `close_lane`. What waited for it to be carried out is due."""
    key = outbox_key(platform, lane, e164)
    known = mark in keyspace.hash(key)
    keyspace.drop_fields(key, (mark,))
    if not keyspace.hash_size(key):
        keyspace.unscore(outbox_due_key(platform, lane), e164)
    elif known:
        keyspace.score(outbox_due_key(platform, lane), e164, keyspace.now_ms())


def close_lane(keyspace: Keyspace, platform: str, lane: str) -> None:
    """A lane in which nothing waits any more is not listed."""
    if not len(keyspace.sorted_set(outbox_due_key(platform, lane))):
        keyspace.drop_member(outbox_lanes_key(platform), lane)


def _refusal(keyspace: Keyspace, commit: Commit) -> CommitResult | None:
    request = commit.request
    if request is not None and request.only_new and keyspace.string(request_key(request.key)) is not None:
        return CommitResult(Outcome.DUPLICATE)
    for key, value in commit.guards:
        if not _guard_holds(keyspace, key, value):
            return CommitResult(Outcome.GUARD, detail=key)
    if commit.touch_record:
        if not _is_expected(keyspace.hash(record_key(commit.e164)), commit.expected):
            return CommitResult(Outcome.CONFLICT)
        ended: str = keyspace.hash(ended_key(commit.e164)).get("epoch", "")
        if commit.above_tombstone and ended.isdecimal() and int(commit.above_tombstone) <= int(ended):
            return CommitResult(Outcome.OLD_EPOCH)
    full = _full_set(keyspace, commit)
    return CommitResult(Outcome.LIMIT, detail=full) if full is not None else None


def _is_expected(record: Fields, expected: tuple[str, int] | None) -> bool:
    if expected is None:
        return not record
    return (record.get("first_epoch"), record.get("version")) == (expected[0], str(expected[1]))


def _guard_holds(keyspace: Keyspace, key: str, value: str) -> bool:
    try:
        return (keyspace.string(key) or b"") == value.encode()
    except TypeError:  # another type of key is no such value
        return False


def _full_set(keyspace: Keyspace, commit: Commit) -> str | None:
    """@return: the name of the first set that can't take its reservation, None if all can."""
    wanted = {(each.set_name, each.member) for each in commit.reserve}
    leaving = {pair for pair in commit.unreserve if pair not in wanted and _is_member(keyspace, pair)}
    entering: set[tuple[str, str]] = set()
    for reservation in commit.reserve:
        name = reservation.set_name
        if (name, reservation.member) in entering or _is_member(keyspace, (name, reservation.member)):
            continue
        size = len(keyspace.members(set_key(name))) + _of_set(entering, name) - _of_set(leaving, name)
        if not _fits(keyspace, reservation, size):
            return name
        entering.add((name, reservation.member))
    return None


def _is_member(keyspace: Keyspace, pair: tuple[str, str]) -> bool:
    return pair[1] in keyspace.members(set_key(pair[0]))


def _of_set(pairs: set[tuple[str, str]], name: str) -> int:
    return sum(1 for set_name, _ in pairs if set_name == name)


def _fits(keyspace: Keyspace, reservation: Reservation, size: int) -> bool:
    limits = keyspace.hash(reservation.limit_key)
    if not limits:
        return not reservation.required
    expires: str = limits.get("expires", "")
    if expires.isascii() and expires.isdecimal() and int(expires) <= keyspace.now_ms() // 1000:
        return False
    limit: str = limits.get(reservation.limit_field, "")
    return not (limit.isascii() and limit.isdecimal()) or size < int(limit)


def _write_record(keyspace: Keyspace, commit: Commit) -> None:
    if commit.delete_record:
        keyspace.delete(record_key(commit.e164))
        keyspace.delete(conf_key(commit.e164))
    else:
        version = commit.expected[1] + 1 if commit.expected else 1
        keyspace.drop_fields(record_key(commit.e164), commit.drop_fields)
        keyspace.update_hash(record_key(commit.e164), {**commit.set_fields, "version": str(version)})
        keyspace.update_hash(conf_key(commit.e164), commit.set_conf or {})
    if commit.tombstone is not None:
        keyspace.delete(ended_key(commit.e164))
        keyspace.update_hash(ended_key(commit.e164), commit.tombstone.fields)
        keyspace.expire_at(ended_key(commit.e164), keyspace.now_ms() + commit.tombstone.ttl_seconds * 1000)


def _write_beside(keyspace: Keyspace, commit: Commit) -> None:
    for name in commit.index_drop:
        keyspace.unscore(index_key(name), commit.e164)
    for name, score in commit.index_add.items():
        keyspace.score(index_key(name), commit.e164, score)
    wanted = {(each.set_name, each.member) for each in commit.reserve}
    for name, member in commit.unreserve:
        if (name, member) not in wanted:
            keyspace.drop_member(set_key(name), member)
    for name, member in wanted:
        keyspace.add_member(set_key(name), member)
    for request in (commit.request, *commit.answers):
        if request is not None:
            until = keyspace.now_ms() + request.ttl_seconds * 1000
            keyspace.set_string(request_key(request.key), request.value, until)
