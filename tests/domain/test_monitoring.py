"""Monitors of a conference (seed 10): noted, kept alive, ended, forgotten."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Conference, Monitor
from css.domain.decision import Decision
from css.domain.effects import StopMonitorOnMcu, TellMonitorStopped
from css.domain.errors import ErrCode
from css.domain.events import Event, MonitorHeard, MonitorsDue, MonitorStarted, MonitorStopped
from css.domain.machine import decide
from css.domain.monitoring import MOST_MONITORS, refusal
from tests.domain import samples
from tests.domain.samples import EPOCH, MONITOR, NOW_MS, RULES

MINUTE_MS = 60_000
FULL = tuple(Monitor(f"w{n}", NOW_MS, NOW_MS + n + 1) for n in range(MOST_MONITORS))


ONGOING = samples.ongoing(monitors=(MONITOR,))


class Case(SynchronousTestCase):
    """One step."""

    def after(self, c: Conference, event: Event) -> tuple[Monitor, ...]:
        """The monitors after a step that must change them, and causes nothing else."""
        decision = decide(c, event, RULES)
        assert decision.changed and decision.record is not None, decision.because
        self.assertEqual((decision.effects, replace(decision.record, monitors=c.monitors)), ((), c))
        return decision.record.monitors

    def ignored(self, decision: Decision) -> None:
        """Nothing follows."""
        self.assertEqual((decision.changed, decision.effects), (False, ()))


class Started(Case):
    """Noted before the MCU is asked."""

    def start(self, monitorid: str = "w2", now_ms: int = NOW_MS, epoch: int = EPOCH, on: str = "pA") -> MonitorStarted:
        """A CM starts one."""
        return MonitorStarted(now_ms=now_ms, monitorid=monitorid, platform=on, epoch=epoch)

    def test_another(self) -> None:
        """Beside those that there are, with a time-out."""
        wanted = (MONITOR, Monitor("w2", NOW_MS, NOW_MS + MINUTE_MS))
        self.assertEqual(self.after(ONGOING, self.start()), wanted)

    def test_the_same_again(self) -> None:
        """Takes the place of the one before."""
        wanted = (Monitor("w1", NOW_MS, NOW_MS + MINUTE_MS),)
        self.assertEqual(self.after(ONGOING, self.start("w1")), wanted)

    def test_moved_meanwhile(self) -> None:
        """The MCU that will be asked does not run it any more, or another platform does."""
        self.ignored(decide(replace(ONGOING, epoch=EPOCH + 1), self.start(), RULES))
        self.ignored(decide(replace(ONGOING, platformmoid="pB"), self.start(), RULES))

    def test_full(self) -> None:
        """One more is refused, one of those is not."""
        c = samples.ongoing(monitors=FULL)
        self.assertEqual(refusal(c, "another"), ErrCode.NO_RESOURCE)
        self.ignored(decide(c, self.start("another"), RULES))
        self.assertIsNone(refusal(c, "w0"))
        self.assertEqual(len(self.after(c, self.start("w0"))), MOST_MONITORS)
        self.assertIsNone(refusal(samples.ongoing(monitors=FULL[1:]), "another"))


class Heard(Case):
    """Kept alive."""

    def test_later(self) -> None:
        """Its time begins anew, whatever the conference is doing; who started it, and when, stays."""
        wanted = (replace(MONITOR, until_ms=NOW_MS + MINUTE_MS),)
        for c in (ONGOING, samples.pending_restore(), samples.voided(), samples.restoring()):
            c = replace(c, monitors=(MONITOR,))
            self.assertEqual(self.after(c, MonitorHeard(now_ms=NOW_MS, monitorid="w1")), wanted)

    def test_twice(self) -> None:
        """In the same moment: once is enough."""
        heard = MonitorHeard(now_ms=NOW_MS, monitorid="w1")
        c = samples.ongoing(monitors=self.after(ONGOING, heard))
        self.ignored(decide(c, heard, RULES))

    def test_unknown(self) -> None:
        """Never started, or over: a heartbeat starts nothing."""
        self.ignored(decide(ONGOING, MonitorHeard(now_ms=NOW_MS, monitorid="w9"), RULES))
        self.ignored(decide(samples.ongoing(monitors=()), MonitorHeard(now_ms=NOW_MS, monitorid="w1"), RULES))


class Stopped(Case):
    """The MCU has acknowledged it."""

    def test_stopped(self) -> None:
        """Forgotten; the others stay."""
        other = replace(MONITOR, monitorid="w2")
        c = samples.ongoing(monitors=(MONITOR, other))
        stopped = MonitorStopped(now_ms=NOW_MS, monitorid="w1", started_ms=MONITOR.started_ms)
        self.assertEqual(self.after(c, stopped), (other,))

    def test_started_anew_meanwhile(self) -> None:
        """The stop was of an earlier one."""
        stopped = MonitorStopped(now_ms=NOW_MS, monitorid="w1", started_ms=MONITOR.started_ms - 1)
        self.ignored(decide(ONGOING, stopped, RULES))

    def test_unknown(self) -> None:
        """Nothing to forget."""
        self.ignored(decide(ONGOING, MonitorStopped(now_ms=NOW_MS, monitorid="w9", started_ms=0), RULES))


class Expired(Case):
    """Not heard of for too long."""

    def test_to_the_millisecond(self) -> None:
        """Only those whose time has run out; their MCU is told of each."""
        c = samples.ongoing(monitors=FULL)
        decision = decide(c, MonitorsDue(now_ms=NOW_MS + 2, platform="pA"), RULES)
        assert decision.record is not None
        self.assertEqual(decision.effects, (StopMonitorOnMcu("w0"), StopMonitorOnMcu("w1")))
        self.assertEqual(decision.record.monitors, FULL[2:])
        self.ignored(decide(c, MonitorsDue(now_ms=NOW_MS, platform="pA"), RULES))

    def test_on_another_platform(self) -> None:
        """That one's business."""
        c = replace(ONGOING, platformmoid="pB")
        self.ignored(decide(c, MonitorsDue(now_ms=NOW_MS + MINUTE_MS, platform="pA"), RULES))


class Forgotten(SynchronousTestCase):
    """With the placement."""

    def monitored(self, c: Conference) -> Conference:
        """By two."""
        return replace(c, monitors=(MONITOR, replace(MONITOR, monitorid="w2")))

    def told(self, c: Conference, event: Event) -> list[str]:
        """Of which monitors the CM is told that they have stopped. None is left."""
        decision = decide(self.monitored(c), event, RULES)
        assert decision.record is not None
        self.assertEqual(decision.record.monitors, ())
        return [each.monitorid for each in decision.effects if isinstance(each, TellMonitorStopped)]

    def test_restored(self) -> None:
        """By an ACK, by a list that stands for it, and by one that names a newer placement."""
        restoring = samples.restoring(epoch=EPOCH)
        for event in (samples.accepted(), samples.listed()):
            self.assertEqual(self.told(restoring, event), ["w1", "w2"])
        newer = samples.listed(ip="10.0.0.9", epoch=EPOCH + 900)
        for c in (ONGOING, samples.pending_restore(), samples.voided()):
            self.assertEqual(self.told(c, newer), ["w1", "w2"])

    def test_kept_while_it_may_yet_be_listed(self) -> None:
        """Its MCU has it after all, with its monitors."""
        c = self.monitored(samples.ongoing())
        for event in (samples.lost(), samples.listed()):
            decision = decide(c, event, RULES)
            assert decision.record is not None or not decision.changed
            c = decision.record or c
            self.assertEqual(len(c.monitors), 2)
            self.assertFalse([each for each in decision.effects if isinstance(each, TellMonitorStopped)])

    def test_ended(self) -> None:
        """Nobody is told but of the end."""
        decision = decide(self.monitored(samples.ongoing()), samples.release_asked(), RULES)
        self.assertIsNone(decision.record)
        self.assertFalse([each for each in decision.effects if isinstance(each, TellMonitorStopped | StopMonitorOnMcu)])
