"""CMs plan reserved conferences, templates and virtual rooms under all faults; the locators must come to know it."""

from __future__ import annotations

from random import Random

import msgspec

from css.peers.upu import UpuEntry
from css.ports.planned import CHANNEL, FAMILIES
from css.simulation.invariants import Invariant
from css.simulation.world import Site, World

NUMBERS = 12
"""Of so few a platform that the same one is planned again and again, under several kinds, too."""
PLAN_SECONDS = (0.05, 4.0)
"""Between two changes, over all platforms."""
NAMES = ("周会", "月会", "年会")


class PlansTold(Invariant):
    """Seed 7. Settled: each locator knows what is planned for its own platform, and nothing else of that sort. At the
    end nothing is planned, and nobody knows of anything.

    Chance is its own: the rest of the world does what it would do without it.
    """

    code = "plan"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.changes = 0
        self._random = Random(f"plans {world.seed}")
        self._cleared = False
        self._soon()

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        found = []
        for moid, site in self.world.sites.items():
            truth = self._planned(site)
            told = {e164: entry for (e164, running), entry in site.upu.table().items() if not running}
            found += [
                f"the locator of {moid} knows {e164} as {told.get(e164)}, it is {truth.get(e164)}"
                for e164 in sorted({*told, *truth})
                if told.get(e164) != truth.get(e164)
            ]
        return found

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        if not self._cleared:
            self._cleared = True
            for site in self.world.sites.values():
                for family in FAMILIES:
                    for key in site.redis.store.server.keyspace.keys_with(f"{family}/"):
                        self._write(site, key, "")
        return self.settled()

    def _soon(self) -> None:
        timeline = self.world.timeline
        timeline.at(timeline.now + self._random.uniform(*PLAN_SECONDS), self._plan)

    def _plan(self) -> None:
        """One change, told at once to whoever listens just then."""
        if not self.world.faulty:
            return
        site = self._random.choice(list(self.world.sites.values()))
        e164 = f"9{site.moid.encode().hex()}{self._random.randrange(NUMBERS)}"
        key = f"{self._random.choice(list(FAMILIES))}/{e164}"
        self._write(site, key, self._random.choice((*NAMES, "", "")))
        self._soon()

    def _write(self, site: Site, key: str, name: str) -> None:
        self.changes += 1
        server = site.redis.store.server
        server.keyspace.delete(key)
        if name:
            server.keyspace.update_hash(key, {"confname": name, "moid": site.users["free"]})
        kind, _, e164 = key.partition("/")
        server.channels.publish(CHANNEL, msgspec.json.encode({"op": "mod", "kind": kind, "e164": e164}))

    def _planned(self, site: Site) -> dict[str, UpuEntry]:
        """What its locator should know: of a number that is planned twice, the first kind."""
        keys, found = site.redis.store.server.keyspace, dict[str, UpuEntry]()
        for family, kind in FAMILIES.items():
            for key in keys.keys_with(f"{family}/"):
                fields, e164 = keys.hash(key), key.partition("/")[2]
                found.setdefault(e164, UpuEntry(fields["confname"], kind, fields["moid"], site.moid))
        return found
