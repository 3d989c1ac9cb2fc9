"""What must be true of restores: what is lost waits for one, they are paced, and all succeed (I3, I8, I11, I12)."""

from __future__ import annotations

from css.adapters.memory.keys import conf_key, record_key
from css.domain.conference import Situation, from_fields
from css.ports.store import Outcome
from css.simulation.invariants import Invariant
from css.simulation.servers import Loss
from css.simulation.world import Committed, World

LONGEST_WAIT_MS = 360_000
"""The longest wait for the next attempt: that of a conference that is bound to old hardware, and a minute by which an
instance may be wrong about the clock of Redis, which was set."""

RESTORING = (Situation.PENDING_RESTORE, Situation.RESTORE_ASKING_RMS, Situation.RESTORE_ASKING_MCU)


class AliveOrPending(Invariant):
    """I3. At each commit: what waits to be restored has a next attempt, not in a time that is far away (that it is in
    the timers' index is I4). Settled: what is `ongoing` runs on the MCU process that its record names."""

    code = "I3"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._latest_ms: dict[str, int] = {}
        """By platform, the latest that its Redis's clock has ever shown: it may have been set back since."""

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE or not commit.touch_record:
            return
        now_ms = c.keys.now_ms()
        latest_ms = self._latest_ms[c.moid] = max(now_ms, self._latest_ms.get(c.moid, 0))
        if commit.delete_record or commit.set_fields.get("state", c.before.get("state")) == "ongoing":
            return
        after = from_fields(commit.e164, c.keys.hash(record_key(commit.e164)), c.keys.hash(conf_key(commit.e164)))
        if after.situation in RESTORING and not 0 < after.due_ms <= latest_ms + LONGEST_WAIT_MS:
            self.fail(f"{after.e164} is {after.situation.value}, its next attempt at {after.due_ms}", after.e164)

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        found = []
        for c in self.world.conferences():
            if c.situation is Situation.ONGOING:
                host = self.world.sites[c.platformmoid].hosts.get(c.ip)
                process = host.processes.get(c.pid) if host else None
                if process is None or c.e164 not in process.conferences:
                    found.append(f"{c.e164} is ongoing on {c.ip}:{c.pid}, which does not run it")
        return found


class RestoresPaced(Invariant):
    """I8. At each draw: the bucket gives no more than its rate. At each restore that begins: a place was drawn."""

    code = "I8"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._levels: dict[str, tuple[float, float, float]] = {}
        """By platform: places left, when (true time), and how wrong the clock of Redis was."""
        self._unused = 0
        """Places that were drawn, on any platform, and have not been used: a backup restores in another's store."""

    def rolled_back(self, loss: Loss) -> None:
        """See `Watcher.rolled_back`: the places that were drawn are there again."""
        self._levels.pop(loss.moid, None)

    def drawn(self, moid: str, burst: int, places: int) -> None:
        """See `Watcher.drawn`."""
        now, wrong = self.world.timeline.now, self.world.redis[moid].clock.offset_seconds
        level, at, was_wrong = self._levels.get(moid, (burst, now, wrong))
        # A clock that was set may fill the bucket, but not above its brim.
        level = burst if wrong != was_wrong else min(burst, level + (now - at) * self.world.shape.restore_rate)
        self._levels[moid] = (level - places, now, wrong)
        self._unused += places
        if level - places < -1:
            self.fail(f"{moid}: {places} places were drawn where there were {level:.1f}")

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        if c.result.outcome is not Outcome.DONE or c.before.get("state") != "pending_restore":
            return
        if c.before.get("attempt") or not c.commit.set_fields.get("attempt"):
            return
        self._unused -= 1
        if self._unused < 0:
            self.fail(f"{c.commit.e164}: its restore begins without a place in the rate", c.commit.e164)


class VoidedWithReason(Invariant):
    """I3 and seed 2.3.1, at each commit: a placement that runs is void only if its room or its platform has been
    abnormal, or the platform has just been that; what is bound to old hardware is left where it is."""

    code = "seed 2.3.1"

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        before, commit = c.before, c.commit
        voided = commit.set_fields.get("state") == "pending_restore" and before.get("state") == "ongoing"
        if c.result.outcome is not Outcome.DONE or not voided or c.keys.hash(record_key(commit.e164))["ip"]:
            return
        site = self.world.sites[before["platformmoid"]]
        if before["legacy"] == "1":
            self.fail(f"{commit.e164} is taken off old hardware", commit.e164)
        elif not site.troubled_lately and before["roommoid"] not in site.rooms_lost_lately:
            self.fail(f"{commit.e164} is taken off {before['ip']} for no reason", commit.e164)


class OnePlatform(Invariant):
    """I11. Settled: a conference has one record, and runs on hosts of one platform only, that which the record says."""

    code = "I11"

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        records: dict[str, list[str]] = {}
        for c in self.world.conferences():
            records.setdefault(c.e164, []).append(c.platformmoid)
        running: dict[str, set[str]] = {}
        for moid, site in self.world.sites.items():
            for host in site.hosts.values():
                for e164 in host.conferences:
                    running.setdefault(e164, set()).add(moid)
        several = [f"{e164} has {len(moids)} records" for e164, moids in records.items() if len(moids) > 1]
        astray = [
            f"{e164} runs on {sorted(moids)}, by its record on {records.get(e164)}"
            for e164, moids in running.items()
            if sorted(moids) != records.get(e164)
        ]
        return several + astray


class AllRestored(Invariant):
    """I12. Settled: nothing waits to be restored, since there is capacity again; but for what is bound to old hardware
    that has gone, which ends when its time is over."""

    code = "I12"

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        return [
            f"{c.e164} is still {c.situation.value}"
            for c in self.world.conferences()
            if c.situation in RESTORING and not (c.legacy and c.situation is Situation.PENDING_RESTORE)
        ]
