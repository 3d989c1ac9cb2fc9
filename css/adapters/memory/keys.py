"""The names of the keys, the same as the Redis adapter's (see `docs/redis-keys.md`)."""

from __future__ import annotations


def record_key(e164: str) -> str:
    return f"confex/{e164}"


def conf_key(e164: str) -> str:
    return f"conf/{e164}"


def ended_key(e164: str) -> str:
    return f"css/ended/{e164}"


def request_key(key: str) -> str:
    return f"css/req/{key}"


def index_key(name: str) -> str:
    return f"css/index/{name}"


def set_key(name: str) -> str:
    return f"css/set/{name}"


def outbox_key(platform: str, lane: str, e164: str) -> str:
    return f"css/out/{platform}/{lane}/{e164}"


def outbox_due_key(platform: str, lane: str) -> str:
    return f"css/outdue/{platform}/{lane}"


def outbox_lanes_key(platform: str) -> str:
    return f"css/outlanes/{platform}"
