"""The faults of MCU hosts, rooms and RMS, and what users do while their conferences are being restored."""

from __future__ import annotations

from css.domain.conference import Conference, Situation
from css.peers.mood import Mood
from css.simulation.fault import Fault, Heal
from css.simulation.world import Site


class CrashMcu(Fault):
    """An MCU host dies with its conferences, and comes back empty."""

    code, name, seconds = "15a", "MCU crash", (1.0, 40.0)
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        host = self.random.choice(list(site.hosts.values()))
        if not host.processes:
            return None
        _ = host.crash()
        return host.restart


class MuteMcu(Fault):
    """An MCU host serves and reports nothing."""

    code, name, seconds = "15b", "MCU mute", (5.0, 60.0)
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        host = self.random.choice(list(site.hosts.values()))
        host.mute()
        return host.unmute


class MoodyMcu(Fault):
    """An MCU host answers late, refuses, swallows requests, or does them and says nothing."""

    code, name, seconds, weight = "16", "MCU late or moody", (2.0, 60.0), 2.0
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        mood: Mood = self.random.choice(list(site.hosts.values())).mood
        match self.random.randrange(5):
            case 0 | 1:
                mood.late(self.random.uniform(0.5, 45.0))
            case 2:
                mood.reject("FULL")
            case 3:
                mood.silent()
            case _:
                mood.lose_answers()
        return mood.resume


class MoodyRms(Fault):
    """RMS answers late, or not at all, or refuses."""

    code, name, seconds = "16r", "RMS late or silent", (2.0, 30.0)
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        match self.random.randrange(3):
            case 0:
                site.rms.late(self.random.uniform(0.5, 12.0))
            case 1:
                site.rms.silent()
            case _:
                site.rms.mood.reject("NONE")
        return site.rms.resume


class RoomLost(Fault):
    """The PMS says that a room is abnormal; its hosts are dead at times, and at times still serve."""

    code, name, seconds = "17a", "room lost", (2.0, 60.0)
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        room = self.random.choice(site.rooms)
        if room in site.lost_rooms:
            return None
        site.lose_room(room)
        hosts = [host for host in site.hosts.values() if host.roommoid == room and host.processes]
        dead = hosts if self.random.random() < 0.4 else []
        for host in dead:
            _ = host.crash()

        def heal() -> None:
            for host in dead:
                host.restart()
            site.regain_room(room)

        return heal


class CapacityGone(Fault):
    """The hosts can take less than is asked of them."""

    code, name, seconds = "17b", "capacity below demand", (5.0, 90.0)
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        hosts = list(site.hosts.values())
        if any(host.capacity is not None for host in hosts):
            return None
        for host in hosts:
            host.capacity = self.random.randint(0, 3)

        def heal() -> None:
            for host in hosts:
                host.capacity = None

        return heal


WATCHED_SECONDS = 40.0
"""How long the end of a conference waits for its restore."""
LOOK_SECONDS = 0.2
RESTORING = (Situation.PENDING_RESTORE, Situation.RESTORE_ASKING_RMS, Situation.RESTORE_ASKING_MCU)


class UserEndsRestore(Fault):
    """A host dies, and users end some of its conferences, or move their ends, at any instant of their restores."""

    code, name, seconds, weight = "22", "ended or extended in mid-restore", (20.0, 45.0), 1.0
    spares_css = True

    def begin(self, site: Site) -> Heal | None:
        hosts = [host for host in site.hosts.values() if host.conferences]
        if not hosts:
            return None
        host = self.random.choice(hosts)
        numbers = sorted(host.conferences)
        chosen = self.random.sample(numbers, self.random.randint(1, min(4, len(numbers))))
        _ = host.crash()
        until = self.world.timeline.now + WATCHED_SECONDS

        def look() -> None:
            # Each is ended the moment it is seen at one of the steps, which one chance decides.
            for c in site.conferences():
                if c.e164 in chosen and c.situation in RESTORING and self.random.random() < 0.3:
                    chosen.remove(c.e164)
                    self._act(site, c)
            if chosen and self.world.faulty and self.world.timeline.now < until:
                self.later(LOOK_SECONDS * self.random.random(), look)

        look()
        return host.restart

    def _act(self, site: Site, c: Conference) -> None:
        if c.endtime and self.random.random() < 0.7:
            self.note(f"extended {c.situation.value}")
            self.workloads[site.moid].delay(c.e164)
        else:
            self.note(f"ended {c.situation.value}")
            self.workloads[site.moid].release_all([c.e164])
