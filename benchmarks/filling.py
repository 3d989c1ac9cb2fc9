"""Fills a store with as many conferences as one likes: what CSS itself would have written, but in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec
from msgspec.structs import replace

from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.store import RedisStore
from css.domain.conference import Conference, State, indexes, to_conf_fields, to_fields
from css.domain.expiry import schedule
from css.handlers.rebuilding import INCARNATION_KEY
from css.handlers.steps import licence_set
from css.ports.store import McuSeen

CHUNK = 2_000
EPOCH = 1_835_008_000_000_000
HOSTS = [f"10.{number // 100}.{number % 100}.1" for number in range(200)]
"""MCU hosts, of one process each: with a million conferences 5,000 on each."""
PID, ROOM, USER = "4711", "room-1", "user-1"
DAY_SECONDS = 24 * 3600
PROCESSES = [(ip, PID) for ip in HOSTS]

_WRITE = """
for _, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local e164, record, conf, scores, ip, token, licences = unpack(each)
  redis.call('HSET', 'confex/' .. e164, unpack(record))
  redis.call('HSET', 'conf/' .. e164, unpack(conf))
  for i = 1, #scores, 2 do
    redis.call('ZADD', 'css/index/' .. scores[i], scores[i + 1], e164)
  end
  redis.call('SADD', 'css/load/' .. ip, token)
  redis.call('HSET', 'css/booked', token, ip)
  for i = 1, #licences, 2 do
    redis.call('SADD', 'css/set/' .. licences[i], licences[i + 1])
  end
end
"""


def conferences(platform: str, count: int, now: int) -> Iterator[Conference]:
    """Ongoing ones, which end in a day, spread over `HOSTS`. @param now: seconds since the epoch."""
    create = '{"type":"CM_MAU_CREATECONF_REQ","confE164":"12345678","confname":"周会 12345678","moid":"user-1",'
    first = Conference(
        e164="",
        moid=USER,
        source=platform,
        platformmoid=platform,
        state=State.ONGOING,
        epoch=EPOCH,
        first_epoch=EPOCH,
        version=3,
        roommoid=ROOM,
        pid=PID,
        createtime=now,
        begintime=now,
        endtime=now + DAY_SECONDS,
        duration=DAY_SECONDS // 60,
        licensed_under=(USER, platform),
        confname="周会",
        create=create + '"conftype":1,"duration":1440,"maxjoinmt":8,"mtreqid":"12345678"}',
    )
    first = schedule(first, now * 1000)
    for number in range(count):
        ip = HOSTS[number % len(HOSTS)]
        yield replace(first, e164=f"{number:08}", ip=ip, epoch=EPOCH + number, first_epoch=EPOCH + number)


async def fill(store: RedisStore, count: int, now: int) -> None:
    """Fill an empty store with its domains, conferences, and the MCU processes that run them."""
    platform = store.platform
    await _write_domains(store)
    chunk: list[tuple[object, ...]] = []
    for c in conferences(platform, count, now):
        chunk.append(_written(c))
        if len(chunk) == CHUNK:
            await _write(store, chunk)
            chunk.clear()
    await _write(store, chunk)
    await heard_of(store, now)


async def heard_of(store: RedisStore, now: int) -> None:
    """All MCU processes are alive."""
    await RedisPlatformState(store.link).note_seen([McuSeen(ip, pid, now * 1000, ROOM) for ip, pid in PROCESSES])


async def _write_domains(store: RedisStore) -> None:
    """As a first start on an empty Redis does, which makes the list of their keys, too."""
    platform = store.platform
    levels = {platform: ("1", ""), USER: ("0", platform)}
    fields = {
        f"domain/{moid}/info": {"moid": moid, "level": level, "uplevelmoid": above, "name": moid, "used": "1"}
        for moid, (level, above) in levels.items()
    }
    await store.write_hashes(dict(fields), bump=INCARNATION_KEY)
    await store.read_hashes("domain/", "/info")


def _written(c: Conference) -> tuple[object, ...]:
    licences = chain.from_iterable((licence_set(moid, c.size), c.licence_member) for moid in c.licensed_under)
    return (
        c.e164,
        list(chain.from_iterable({**to_fields(c), "version": str(c.version)}.items())),
        list(chain.from_iterable(to_conf_fields(c).items())),
        list(chain.from_iterable(indexes(c).items())),
        c.ip,
        c.placement,
        list(licences),
    )


async def _write(store: RedisStore, chunk: list[tuple[object, ...]]) -> None:
    if chunk:
        await store.link.command("EVAL", _WRITE, 0, msgspec.msgpack.encode(chunk))
