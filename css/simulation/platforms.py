"""The faults of whole platforms, of what the PMS says of them, and of the links between them."""

from __future__ import annotations

from typing import ClassVar

from css.simulation.broker import Face
from css.simulation.fault import Fault, Heal
from css.simulation.instances import Instance
from css.simulation.network import Wire
from css.simulation.servers import ServerLink
from css.simulation.world import Site

LATEST_NEWS_SECONDS = 6.0
"""How much later one platform may hear of a state than another."""
SEEN_SECONDS = 1.0
"""How soon a new link is as broken as the old ones between two platforms."""


class PlatformFault(Fault):
    """What the PMS says of a platform that has a backup is this fault's business alone."""

    def begin(self, site: Site) -> Heal | None:
        if site.in_trouble or not site.backup_moids:
            return None
        site.in_trouble = True
        ends = self.strike(site)

        def heal() -> None:
            ends()
            site.in_trouble = False
            self.announce(site, "normal")

        return heal

    def strike(self, site: Site) -> Heal:
        """@return: what ends it, before the platform is said to be normal."""
        raise NotImplementedError

    def announce(self, site: Site, state: str) -> None:
        """The PMS says it to the platform and to its backups, to each when it will; some have to ask."""
        for hearer in (site, *site.backups):
            self._tell_soon(hearer, site, state)

    def _tell_soon(self, hearer: Site, site: Site, state: str) -> None:
        if not self.world.faulty:
            hearer.hear(site.moid, state)
            return
        aloud = self.random.random() < 0.8

        def tell() -> None:
            if site.in_trouble == (state == "abnormal"):
                hearer.hear(site.moid, state, aloud)

        self.later(self.random.choice((0.0, 1.0)) * self.random.uniform(0.0, LATEST_NEWS_SECONDS), tell)


class PlatformLost(PlatformFault):
    """A platform is abnormal: by decision only, or its CSS is dead, or its broker and hosts as well. Its backup may be
    nearly full. In the end it is normal again, whatever the backup is in the middle of."""

    code, name, weight, seconds = "18", "platform lost", 3.0, (5.0, 90.0)

    def strike(self, site: Site) -> Heal:
        self.announce(site, "abnormal")
        ends = []
        roll = self.random.random()
        if roll < 0.6:
            ends.append(self._stop_css(site))
        if roll < 0.3:
            ends.append(self._stop_hosts(site))
        if self.random.random() < 0.3:
            ends += [self._load(backup) for backup in site.backups]

        def end() -> None:
            for each in ends:
                each()

        return end

    def _stop_css(self, site: Site) -> Heal:
        site.dark = True
        for instance in site.running():
            instance.kill()

        def end() -> None:
            site.dark = False

        return end

    def _stop_hosts(self, site: Site) -> Heal:
        dead = [host for host in site.hosts.values() if host.processes]
        for host in dead:
            _ = host.crash()
        was_running = site.broker.running
        if was_running:
            site.broker.stop()

        def end() -> None:
            if was_running and not site.broker.running:
                site.broker.start()
            for host in dead:
                host.restart()

        return end

    def _load(self, backup: Site) -> Heal:
        hosts = [host for host in backup.hosts.values() if host.capacity is None]
        for host in hosts:
            host.capacity = len(host.conferences) + self.random.randint(0, 2)

        def end() -> None:
            for host in hosts:
                host.capacity = None

        return end


class MainReturns(PlatformFault):
    """A platform is abnormal and normal again, several times, in the middle of takeovers and handbacks; instances die
    meanwhile."""

    code, name, seconds = "20", "main returns in mid-takeover", (8.0, 60.0)

    def strike(self, site: Site) -> Heal:
        over = False

        def fall() -> None:
            if not over:
                site.in_trouble = True
                self.announce(site, "abnormal")
                self.later(self.random.uniform(0.3, 9.0), rise)

        def rise() -> None:
            if over:
                return
            site.in_trouble = False
            self.announce(site, "normal")
            site.in_trouble = True
            self._kill_one(site)
            self.later(self.random.uniform(0.3, 9.0), fall)

        def end() -> None:
            nonlocal over
            over = True

        fall()
        return end

    def _kill_one(self, site: Site) -> None:
        instance = self.instance(self.random.choice([site, *site.backups]))
        if instance is not None and self.random.random() < 0.4:
            instance.on_probe_kill = self.note
            instance.kill_at_probe(self.random.randint(1, 12))


class SplitView(PlatformFault):
    """The PMS says different things to the two sides: both serve a platform, or neither does."""

    code, name, seconds, weight = "20s", "PMS says two things", (3.0, 60.0), 2.0

    def strike(self, site: Site) -> Heal:
        hearers = site.backups if self.random.random() < 0.7 else [site]
        aloud = self.random.random() < 0.8
        for hearer in hearers:
            hearer.hear(site.moid, "abnormal", aloud)
        return _nothing_more


class LicenceInvalid(PlatformLost):
    """While a platform's conferences are taken over its licence becomes invalid, or allows nothing."""

    code, name, weight = "26", "licence invalid in mid-takeover", 1.0

    def strike(self, site: Site) -> Heal:
        end_loss = super().strike(site)
        good = dict(self.world.shape.licence)
        sites = (site, *site.backups)
        case = self.random.randrange(3)
        for each in sites:
            if case == 0:
                each.bmc.send_token(site.moid, "no licence")
            else:
                bad = {"expires": 1} if case == 1 else {"smallconfnum": 0, "largeconfnum": 0}
                each.bmc.update_licence(site.moid, {**good, **bad})

        def end() -> None:
            for each in sites:
                each.bmc.update_licence(site.moid, good)
            end_loss()

        return end


class PlatformsParted(Fault):
    """The links of a platform's instances to other platforms' brokers, or Redis, or both, let nothing through, in one
    direction or in both; also what they connect anew."""

    code, name, weight, seconds = "19c", "platforms parted", 3.0, (2.0, 60.0)
    TO: ClassVar[tuple[tuple[bool, bool], ...]] = ((True, False), (False, True), (True, True))
    """Whether brokers, and whether Redis, are concerned."""

    def begin(self, site: Site) -> Heal | None:
        if len(self.world.sites) == 1:
            return None
        brokers, redis = self.random.choice(self.TO)
        ways = self.random.choice(("out", "back", "both"))
        cut: dict[Wire, None] = {}
        healed = False

        def clog() -> None:
            if healed:
                return
            for end in _abroad(site, brokers, redis):
                for wire in _wires(end, ways):
                    wire.clog()
                    cut[wire] = None
                if isinstance(end, ServerLink):
                    end.watch_time()
            self.later(SEEN_SECONDS, clog)

        def heal() -> None:
            nonlocal healed
            healed = True
            for wire in cut:
                wire.clear()

        clog()
        return heal


def _nothing_more() -> None:
    """It ends with what the PMS says next."""


def _abroad(site: Site, brokers: bool, redis: bool) -> list[Face | ServerLink]:
    """The connections of a platform's instances to other platforms' servers."""
    found: list[Face | ServerLink] = []
    for instance in site.running():
        if brokers:
            found += [face for face in instance.faces if face.server.moid != site.moid]
        if redis:
            found += _foreign_redis(site, instance)
    return found


def _foreign_redis(site: Site, instance: Instance) -> list[ServerLink]:
    others = [redis for moid, redis in site.world.redis.items() if moid != site.moid]
    return [link for link in instance.links if link.server in others]


def _wires(end: Face | ServerLink, ways: str) -> tuple[Wire, ...]:
    return (end.out, end.back) if ways == "both" else (end.out,) if ways == "out" else (end.back,)


BETWEEN_PLATFORMS: tuple[type[Fault], ...] = (PlatformLost, PlatformsParted, MainReturns, SplitView, LicenceInvalid)
"""What can't strike a platform that is alone."""
