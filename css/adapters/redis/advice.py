"""Says at start where a server is set otherwise than conferences need it."""

from __future__ import annotations

from twisted.logger import Logger

from css.adapters.redis.protocol import StoreProtocol
from css.adapters.redis.settings import RedisSettings
from css.ports.store import StoreError

_log = Logger()

_WANTED = ("appendonly", "maxmemory-policy", "min-replicas-to-write")


async def advise(protocol: StoreProtocol, settings: RedisSettings) -> None:
    """Log a warning for each setting that can lose conferences. Never fails."""
    try:
        found = {name: await _setting(protocol, name) for name in _WANTED}
        role = await protocol.execute_command("ROLE")
    except StoreError as error:
        _log.info("Redis {place}: its settings can't be read: {error}", place=settings.place, error=str(error))
        return
    for name, why in problems(found, has_replicas=settings.sentinel is not None or bool(role[2])):
        _log.warn(
            "Redis {place}: {name} is {value}: {why}", place=settings.place, name=name, value=found[name], why=why
        )


def problems(found: dict[str, str], has_replicas: bool) -> list[tuple[str, str]]:
    """@return: (setting, what it leads to) of each one that is not as recommended."""
    result = []
    if found["appendonly"] != "yes":
        result.append(("appendonly", "a restart of the server forgets conferences; recommended: yes"))
    if found["maxmemory-policy"] != "noeviction":
        result.append(("maxmemory-policy", "records may be evicted; recommended: noeviction"))
    if has_replicas and found["min-replicas-to-write"] == "0":
        result.append(("min-replicas-to-write", "a failover may lose what a cut-off master took; recommended: 1"))
    return result


async def _setting(protocol: StoreProtocol, name: str) -> str:
    reply: list[bytes] = await protocol.execute_command("CONFIG", "GET", name)
    return reply[1].decode() if len(reply) == 2 else ""
