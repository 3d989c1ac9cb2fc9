"""What must always be true of records, epochs, limits and queues (I2, I4 to I7, I10); one small class each.

`committed` looks at every commit, `look` is called each second, `settled` after the heal when every request has its
answer, `ended` when all conferences have been released: the last two return what is not (yet) as it should be.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import ClassVar

from css.adapters.memory.keys import conf_key, ended_key, index_key, record_key, set_key
from css.domain.conference import State, from_fields, indexes
from css.handlers import addresses as to
from css.ports.store import Outcome
from css.simulation.servers import Loss
from css.simulation.world import Committed, Watcher, World

PREFETCH = 20
LONGEST_QUEUE = 5_000
LONGEST_CLAIM_MS = 65_000
"""A claim's lease, and a minute by which the clock of Redis was set back since."""


class Invariant(Watcher):
    """One of them."""

    code: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world

    def look(self) -> None:
        """Called each second."""

    def settled(self) -> list[str]:
        """After the heal: what has not settled."""
        return []

    def ended(self) -> list[str]:
        """At the end: what has been left behind."""
        return []

    def fail(self, text: str, about: str = "") -> None:
        """It does not hold."""
        self.world.violate(self.code, text, about)


class IndexesEqualRecords(Invariant):
    """I4, at each commit: the record's number is in just those indexes that its fields say, with their scores."""

    code = "I4"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._names: dict[str, dict[str, None]] = {}
        """By platform, every index that a commit has ever named."""

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        if c.result.outcome is not Outcome.DONE or not c.commit.touch_record:
            return
        e164 = c.commit.e164
        names = self._names.setdefault(c.moid, {})
        names.update(dict.fromkeys((*c.commit.index_add, *c.commit.index_drop)))
        record = c.keys.hash(record_key(e164))
        wanted = indexes(from_fields(e164, record, c.keys.hash(conf_key(e164)))) if record else {}
        scores = {name: c.keys.sorted_set(index_key(name)).scores for name in names}
        found = {name: of_index[e164] for name, of_index in scores.items() if e164 in of_index}
        claimed = [name for name in wanted if name not in c.commit.index_add and self._may_be_claimed(c, name, found)]
        wanted.update({name: found[name] for name in claimed if found[name] > wanted[name]})
        if found != wanted:
            self.fail(f"{e164} is in the indexes {found}, by its record in {wanted}", e164)

    def _may_be_claimed(self, c: Committed, name: str, found: dict[str, int]) -> bool:
        """Whether the score is a claim's: a commit that leaves the deadline as it was leaves the claim as well."""
        is_claimed = name.startswith(("due/", "restore/", "pending/"))
        return is_claimed and 0 < found.get(name, 0) <= c.keys.now_ms() + LONGEST_CLAIM_MS


class EpochsGrow(Invariant):
    """I5, at each commit: no epoch of a number is ever followed by a lower one, what is taken off its host or put on
    another has a new one, so that nobody takes what comes late for something of the new placement; a stale write is
    refused."""

    code = "I5"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._highest: dict[tuple[str, str], int] = {}

    def rolled_back(self, loss: Loss) -> None:
        """See `Watcher.rolled_back`: the lost epochs are known to nobody; what is there counts."""
        keys = self.world.redis[loss.moid].store.server.keyspace
        for e164 in loss.numbers:
            known = keys.hash(record_key(e164)) or keys.hash(ended_key(e164))
            self._highest[loss.moid, e164] = int(known.get("epoch", "0"))

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE or not commit.touch_record:
            return
        stands = (c.before["first_epoch"], int(c.before["version"])) if c.before else None
        if commit.expected != stands:
            self.fail(f"{commit.e164}: decided on {commit.expected}, written over {stands}", commit.e164)
        if commit.delete_record:
            return
        record = c.keys.hash(record_key(commit.e164))
        epoch, ip = int(record["epoch"]), c.before.get("ip", "")
        if ip and record["ip"] != ip and epoch <= int(c.before["epoch"]):
            self.fail(f"{commit.e164} leaves {ip} and keeps its epoch, {epoch}", commit.e164)
        highest = self._highest.get((c.moid, commit.e164), 0)
        if epoch < highest or (epoch == highest and not c.before):
            self.fail(f"{commit.e164}: epoch {epoch} after {highest}", commit.e164)
        self._highest[c.moid, commit.e164] = max(epoch, highest)


class EndedStaysEnded(Invariant):
    """I6, at each commit: what has ended is never written again, and a new record lies above the tombstone."""

    code = "I6"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._over: set[tuple[str, str, str]] = set()

    def rolled_back(self, loss: Loss) -> None:
        """See `Watcher.rolled_back`: what had ended goes on, if that was lost."""
        keys = self.world.redis[loss.moid].store.server.keyspace
        for e164 in loss.numbers:
            record = keys.hash(record_key(e164))
            if record:
                self._over.discard((loss.moid, e164, record["first_epoch"]))

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE or not commit.touch_record:
            return
        e164 = commit.e164
        first = c.before.get("first_epoch") or commit.set_fields.get("first_epoch", "")
        if commit.delete_record:
            self._over.add((c.moid, e164, first))
            tombstone = c.keys.hash(ended_key(e164)).get("epoch", "0")
            if c.before and int(tombstone) < int(c.before["epoch"]):
                self.fail(f"{e164} ended at epoch {c.before['epoch']}, its tombstone says {tombstone}", e164)
        elif (c.moid, e164, first) in self._over:
            self.fail(f"{e164}: what began at {first} had ended, and is written again", e164)


class LimitsHold(Invariant):
    """I7, at each commit: no set of licences is above its limit when something enters it. At the end all are empty,
    and no MCU carries load."""

    code = "I7"

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        if c.result.outcome is not Outcome.DONE:
            return
        for reservation in c.commit.reserve:
            limits = c.keys.hash(reservation.limit_key)
            limit: str = limits.get(reservation.limit_field, "")
            size = len(c.keys.members(set_key(reservation.set_name)))
            if (reservation.required and not limits) or (limit and size > int(limit)):
                self.fail(f"{reservation.set_name} has {size} members, its limit is {limit or 'missing'}")

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        found = []
        for moid, redis in self.world.redis.items():
            keys = redis.store.server.keyspace
            for prefix in ("css/set/licence/", "css/load/"):
                found += [f"{moid}: {key} {sorted(keys.members(key))}" for key in keys.keys_with(prefix)]
        return found


class DomainIsOpen(Invariant):
    """At each commit that begins a conference: its user domain is not stopped at that instant (seed 3)."""

    code = "seed 3"

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is Outcome.DONE and commit.touch_record and not c.before and not commit.delete_record:
            moid = commit.set_fields["moid"]
            domain = c.keys.hash(f"domain/{moid}/info")
            if domain.get("used") != "1":
                self.fail(f"{commit.e164} begins in the domain {moid}, which is {domain or 'unknown'}", commit.e164)


class OnePlacement(Invariant):
    """I2, when settled and at the end: what runs on an MCU is the placement that its record names, nothing else; so no
    conference runs twice, be it on one platform or on two."""

    code = "I2"

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        ongoing = (c for c in self.world.conferences() if c.state is State.ONGOING)
        named = {(c.e164, c.epoch): (c.platformmoid, c.ip) for c in ongoing}
        runs = [
            (e164, running.epoch, moid, ip)
            for moid, site in self.world.sites.items()
            for ip, host in site.hosts.items()
            for e164, running in host.conferences.items()
        ]
        places = Counter(e164 for e164, *_ in runs)
        strange = [
            f"{e164} runs on {ip} of {moid} with epoch {epoch}, which no record names"
            for e164, epoch, moid, ip in runs
            if named.get((e164, epoch)) != (moid, ip)
        ]
        return strange + [f"{e164} runs in {number} places" for e164, number in places.items() if number > 1]

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        return self.settled()


class Bounded(Invariant):
    """I10, each second: no consumer holds more than its prefetch, no queue grows without end."""

    code = "I10"

    def look(self) -> None:
        """See `Invariant.look`."""
        for moid, broker in self.world.brokers.items():
            held, queue = broker.most_unacknowledged()
            if held > PREFETCH:
                self.fail(f"{moid}: {held} deliveries of {queue} under way in one consumer")
            length, queue = broker.longest_queue()
            if length > LONGEST_QUEUE:
                self.fail(f"{moid}: {length} messages in {queue}")

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        found = []
        for moid, broker in self.world.brokers.items():
            dead = self.world.sites[moid].dead_queues()
            for name in broker.queue_names():
                waiting = broker.queue_length(name) + broker.unacknowledged(name)
                if waiting and name != to.PARK_QUEUE and name not in dead:
                    found.append(f"{moid}: {waiting} messages in {name}")
        return found

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        busy = [f"{each.name} is busy" for each in self.world.instances() if each.service.work.in_flight]
        return [*self.settled(), *busy]


LASTING = re.compile(
    r"domain/[^/]+/(info|license)|css/hashes/\w+|css/domains/generation|css/slots|css/incarnation|css/duty"
    r"|css/turn/.+|css/upu/(seq|(book|moids|cleared)/.+)"
    r"|css/mcu/[^/]+|css/rooms|css/roomseqs?|css/processes|css/gone|css/ledger"
)
"""Keys that belong to no conference."""
EXPIRING = re.compile(
    r"css/ended/\d+|css/req/(fwd-)?[0-9a-f-]+@?|css/(penalty|loss|losses)/.+|css/(listseq|replaced|unknown|bucket|ledger)/.+"
)
"""Keys that may stay for a while."""


class NothingLeft(Invariant):
    """I10 and seed 1.1, at the end: no key but those that last or expire; no row in SQL; the outbox is empty."""

    code = "I10"

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        # See `EndsReported` for rows of what was lost.
        found = [f"row {e164}" for e164 in self.world.sql.database.rows if e164 not in self.world.bereft]
        for moid, redis in self.world.redis.items():
            keys = redis.store.server.keyspace
            keys.purge()
            for key in keys.all_keys():
                expires = bool(EXPIRING.fullmatch(key)) and keys.ttl_ms(key) is not None
                if not expires and not LASTING.fullmatch(key):
                    found.append(f"{moid}: {key}")
        return found
