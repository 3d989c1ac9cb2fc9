"""What is left when all conferences of a stage have ended: nothing but what expires or belongs to none of them."""

from __future__ import annotations

import re
from typing import Any

from css.handlers import addresses as to
from tests.scenarios.ground import Site, Stage

LASTING = re.compile(
    r"domain/[^/]+/(info|license)|css/hashes/\w+|css/domains/generation|css/slots|css/incarnation|css/duty"
    r"|css/turn/.+|css/upu/(seq|(book|moids|cleared)/.+)"
    r"|css/mcu/[^/]+|css/rooms|css/roomseqs|css/processes|css/gone|css/ledger"
)
"""Keys that belong to no conference."""
EXPIRING = {
    re.compile(r"css/ended/\d+"): 24 * 3600,
    re.compile(r"css/req/(fwd-)?[0-9a-f-]+@?"): 600,
    re.compile(r"css/penalty/.+"): 30,
    re.compile(r"css/losses/.+"): 1200,
    re.compile(r"css/loss/.+"): 60,
    re.compile(r"css/(listseq|replaced)/.+"): 24 * 3600,
    re.compile(r"css/unknown/.+"): 3600,
    re.compile(r"css/bucket/\w+"): 70,
    re.compile(r"css/ledger/.+"): 30 * 24 * 3600,
}
"""Keys that may stay for a while, with the most seconds that they may have to live."""


async def leftovers(stage: Stage) -> list[str]:
    """A line for each thing that should not be there (any more); poll until there is none."""
    found: list[str] = []
    for site in stage.sites.values():
        found += await _keys(stage.ground, site)
        found += await _queues(stage.ground, site)
        found += [f"load {ip}: {load}" for ip, load in (await _loads(stage.ground, site)).items() if load]
        rows = await stage.ground.database.confinfo_page(site.moid, "", 10)
        found += [f"row {row.e164}" for row in rows]
        found += [f"{service.name} is busy" for service in site.instances if service.work.in_flight]
    return found


async def _keys(ground: Any, site: Site) -> list[str]:
    found = []
    for key in await ground.dump(site.moid):
        if LASTING.fullmatch(key):
            continue
        limit = next((seconds for pattern, seconds in EXPIRING.items() if pattern.fullmatch(key)), None)
        if limit is None:
            found.append(key)
            continue
        ttl_ms = await ground.ttl_ms(site.moid, key)
        if ttl_ms is None or ttl_ms > limit * 1000:
            found.append(f"{key} lives for {ttl_ms} ms")
    return found


async def _queues(ground: Any, site: Site) -> list[str]:
    lengths = await ground.queue_lengths(site.moid, queue_names(site))
    return [f"queue {queue}: {length}" for queue, length in lengths.items() if length]


def queue_names(site: Site) -> list[str]:
    """Every queue that CSS or a peer of the platform declares by a known name."""
    own = [queue.name for queue in to.OWN_TOPOLOGY.queues]
    theirs = [queue.name for peer in site.peers.all() for queue in peer.topology().queues]
    return list(dict.fromkeys([*own, *theirs]))


async def _loads(ground: Any, site: Site) -> dict[str, int]:
    loads: dict[str, int] = await ground.loads(site.moid, list(site.peers.hosts))
    return loads
