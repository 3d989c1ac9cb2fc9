"""What CSS does must rest on something: what an MCU has told, what a CM has asked, a time that has come."""

from __future__ import annotations

import msgspec

from css.adapters.memory.keys import record_key
from css.adapters.memory.keyspace import Keyspace
from css.domain.conference import Attempt
from css.domain.effects import EndReason
from css.handlers import addresses as to
from css.messages.codec import Malformed, decode, wire_type
from css.messages.create import McuReleaseNotice, PlacedAck
from css.messages.mcu import ConfListNotice, RestoreNotice
from css.peers.cm import NOTICES
from css.peers.cmu_process import TO_CSS as MCU_TO_CSS
from css.peers.inbox import Received
from css.peers.peer import Peer
from css.ports.bus import Outgoing
from css.ports.store import Outcome
from css.simulation.invariants import Invariant
from css.simulation.world import Committed, Site, World

Told = tuple[str, str, int | None]
"""A number, the address of its host, the epoch as its host knows it; hosts that know no epochs say None."""

PROMPT_SECONDS = 2.0
"""How soon a late ACK is answered with a release, where nothing keeps CSS from it."""
LONGEST_OVER_SECONDS = 10.0
"""By how much a conference may outlive its end, where nothing keeps CSS from ending it."""
LONGEST_RESTORING_SECONDS = 45.0
"""The same for one that is not `ongoing`: somebody may just have been asked to restore it."""


class GroundedInMcus(Invariant):
    """I2, at each commit: a placement begins to run, or ends on its MCU, only if its MCU has said so of this placement.
    What is said to be lost does not run there. What is said to be over has reached its end time."""

    code = "I2"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._begun: set[Told] = set()
        self._over: set[Told] = set()

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """See `Watcher.published`."""
        match _from_mcu(message):
            case PlacedAck(confE164=e164, ip=ip, epoch=epoch):
                self._begun.add((e164, ip, epoch))
            case McuReleaseNotice(confE164=e164, ip=ip, epoch=epoch):
                self._over.add((e164, ip, epoch))
            case ConfListNotice() as notice:
                self._begun.update((entry.confE164, notice.ip, entry.epoch) for entry in notice.confdatainfo)

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE or not commit.touch_record:
            return
        e164 = commit.e164
        if commit.delete_record:
            if c.before.get("state") == "ongoing" and not commit.answers and commit.tombstone is not None:
                self._judge_end(c, commit.tombstone.fields["reason"])
        elif commit.set_fields.get("state") == "ongoing":
            record = c.keys.hash(record_key(e164))
            if not _is_among(self._begun, e164, record["ip"], record["epoch"]):
                self.fail(f"{e164} is ongoing on {record['ip']} with epoch {record['epoch']}: no MCU said so", e164)

    def _judge_end(self, c: Committed, reason: str) -> None:
        e164, before = c.commit.e164, c.before
        ip, epoch, end = before["ip"], before["epoch"], int(before.get("endtime", "0"))
        if reason == EndReason.RELEASED and not _is_among(self._over, e164, ip, epoch):
            self.fail(f"{e164} with epoch {epoch} ended on {ip}, which never said so", e164)
        elif reason == EndReason.LOST and self._runs(before["platformmoid"], e164, ip, epoch):
            self.fail(f"{e164} with epoch {epoch} is given up for lost, and runs on {ip}", e164)
        elif reason == EndReason.EXPIRED and not 0 < end * 1000 <= c.keys.now_ms() + CLOCK_ERROR_MS:
            self.fail(f"{e164} is over before its end, {end}", e164)

    def _runs(self, moid: str, e164: str, ip: str, epoch: str) -> bool:
        host = self.world.sites[moid].hosts.get(ip)
        running = host.conferences.get(e164) if host else None
        return running is not None and running.epoch == int(epoch)

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        found = []
        for site in self.world.sites.values():
            now_ms = site.redis.store.server.keyspace.now_ms()
            over = (c for c in site.conferences() if 0 < c.endtime * 1000 < now_ms - CLOCK_ERROR_MS)
            found += [f"{c.e164} is {c.situation.value}, its end was at {c.endtime}" for c in over]
        return found


CLOCK_ERROR_MS = 120_000
"""By how much an instance may be wrong about the clock of Redis, which was set."""


class EndsInTime(Invariant):
    """Seed 9.3, while nothing keeps CSS from its work: what has reached its end is over soon."""

    code = "seed 9.3"

    def look(self) -> None:
        """See `Invariant.look`."""
        since = self.world.timeline.now - LONGEST_OVER_SECONDS
        if self.world.calm_since(since):
            restoring_too = self.world.calm_since(self.world.timeline.now - LONGEST_RESTORING_SECONDS)
            for redis in self.world.redis.values():
                self._look_at(redis.store.server.keyspace, restoring_too)

    def _look_at(self, keys: Keyspace, restoring_too: bool) -> None:
        now = keys.now_ms() / 1000
        for key in keys.keys_with("confex/"):
            record = keys.hash(key)
            end, runs = int(record["endtime"]), record["state"] == "ongoing"
            latest = now - (LONGEST_OVER_SECONDS if runs else LONGEST_RESTORING_SECONDS)
            if (runs or restoring_too) and 0 < end < latest:
                self.fail(f"{key} has outlived its end, {end}", key.partition("/")[2])


def _is_among(told: set[Told], e164: str, ip: str, epoch: str) -> bool:
    return (e164, ip, int(epoch)) in told or (e164, ip, None) in told


class LateAcksReleased(Invariant):
    """I2, while nothing keeps CSS from its work: an MCU that has begun what no record names any more is told to release
    it at once, not only when a list shows it."""

    code = "I2"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._late: list[tuple[float, Site, PlacedAck]] = []
        self._ended: dict[str, float] = {}
        """When the record of a number was deleted last."""

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        if c.result.outcome is Outcome.DONE and c.commit.delete_record:
            self._ended[c.commit.e164] = self.world.timeline.now

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """See `Watcher.published`."""
        ack = _from_mcu(message)
        if routed and isinstance(ack, PlacedAck) and ack.epoch is not None:
            self._late.append((self.world.timeline.now, self.world.sites[moid], ack))

    def look(self) -> None:
        """See `Invariant.look`."""
        until = self.world.timeline.now - PROMPT_SECONDS
        while self._late and self._late[0][0] <= until:
            when, site, ack = self._late.pop(0)
            # What has ended since was in time: its release is on its way.
            in_time = self._ended.get(ack.confE164, 0.0) > when
            if self.world.calm_since(when) and not in_time and self._still_runs(site, ack):
                self.fail(f"{ack.confE164} was begun too late on {ack.ip}, and runs there still", ack.confE164)

    def _still_runs(self, site: Site, ack: PlacedAck) -> bool:
        process = site.hosts[ack.ip].processes.get(ack.pid)
        running = process.conferences.get(ack.confE164) if process and process.serving else None
        if running is None or running.epoch != ack.epoch:
            return False
        stores = self.world.redis.values()
        records = [redis.store.server.keyspace.hash(record_key(ack.confE164)) for redis in stores]
        named = [record for record in records if record]
        return not any((each.get("ip"), each["epoch"]) == (ack.ip, str(ack.epoch)) for each in named)


class RestoresTold(Invariant):
    """I1. Settled: the CM was told once of each restore, and of each newer placement that a list or an ACK showed."""

    code = "I1"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._restored: dict[tuple[str, str, str], int] = {}
        self._told: dict[tuple[str, str, str], int] = {}
        self._ids: set[str] = set()

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE:
            return
        attempt = c.before.get("attempt")
        requester = _attempt.decode(attempt).requester if attempt else None
        record = c.keys.hash(record_key(commit.e164))
        began = commit.set_fields.get("state") == "ongoing" and c.before.get("state") == "creating" and attempt
        followed = "epoch" in commit.set_fields and record.get("state") == "ongoing"
        if requester is None and (began or followed):
            key = (commit.e164, record["ip"], record["pid"])
            self._restored[key] = self._restored.get(key, 0) + 1

    def received(self, peer: Peer, received: Received) -> None:
        """See `Watcher.received`."""
        if received.type != wire_type(RestoreNotice) or received.queue != NOTICES or received.message_id in self._ids:
            return
        self._ids.add(received.message_id)
        notice = _notice.decode(received.body)
        key = (notice.confE164, notice.ip, notice.pid)
        self._told[key] = self._told.get(key, 0) + 1

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        keys = sorted({*self._restored, *self._told})
        return [
            f"{key[0]}: {self._told.get(key, 0)} notices of {self._restored.get(key, 0)} restores on {key[1]}"
            for key in keys
            if self._told.get(key) != self._restored.get(key) and key[0] not in self.world.bereft
        ]


_attempt = msgspec.json.Decoder(Attempt)
_notice = msgspec.json.Decoder(RestoreNotice)


def _from_mcu(message: Outgoing) -> object:
    """What an MCU tells CSS with this message, None if it is no such message."""
    if (message.exchange, message.routing_key) not in (MCU_TO_CSS, ("", to.MCU_QUEUE)):
        return None
    try:
        return decode(message.body)
    except Malformed:
        return None
