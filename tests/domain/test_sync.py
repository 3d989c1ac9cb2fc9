"""Sync with an MCU's list: each row of seed 9.2 as the requirements settle it, and lists that come twice or late."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Conference, Missed, Situation, State
from css.domain.decision import Decision
from css.domain.effects import (
    AnswerCreated,
    Bill,
    EndReason,
    FreeLoad,
    ReleaseOnMcu,
    ReportRunning,
    SaveRow,
    TakeLoad,
    TellReleased,
    TellRestored,
)
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import CM, EPOCH, FRESH_EPOCH, NOW, NOW_MS, RULES, absent, listed


def record(decision: Decision) -> Conference:
    """What a decision leaves."""
    assert decision.record is not None
    return decision.record


def ongoing(**changes: Any) -> Conference:
    """Its MCU said when it started: a minute ago, by its own clock."""
    return samples.ongoing(**{"acked_time": NOW - 60, **changes})


class Base(SynchronousTestCase):
    """Short ways to say what is expected."""

    def ignores(self, decision: Decision, *effects: Any) -> None:
        """The record is left alone."""
        self.assertEqual((decision.changed, decision.effects), (False, effects), decision.because)


class ListedWhereItIs(Base):
    """Listed, the record is this MCU's."""

    def test_ongoing(self) -> None:
        """Nothing to do, with an epoch and without."""
        for epoch in (EPOCH, None):
            self.ignores(decide(ongoing(), listed(epoch=epoch), RULES))

    def test_ongoing_and_missed_before(self) -> None:
        """The earlier list was wrong, or older: forgotten."""
        after = record(decide(ongoing(missed=Missed(NOW, NOW_MS)), listed(), RULES))
        self.assertIsNone(after.missed)

    def test_pending_restore(self) -> None:
        """`ongoing` again, whether RMS has been asked or not; its end is watched again; its place was kept."""
        for c in (samples.pending_restore(), samples.restore_asking_rms(), samples.pending_restore(legacy=True)):
            for epoch in (EPOCH, None):
                decision = decide(c, listed(epoch=epoch), RULES)
                after = record(decision)
                self.assertEqual((after.state, after.attempt, after.lost_ms), (State.ONGOING, None, 0))
                self.assertEqual((after.ip, after.pid, after.epoch), (c.ip, c.pid, c.epoch))
                self.assertEqual(after.due_ms, (c.endtime - 300) * 1000)
                self.assertEqual(decision.effects, (ReportRunning(), SaveRow()))

    def test_rms_answers_after_that(self) -> None:
        """Nothing is placed any more."""
        after = record(decide(samples.restore_asking_rms(), listed(), RULES))
        self.ignores(decide(after, samples.given(), RULES))

    def test_voided_is_not_this_mcus(self) -> None:
        """It is released again whenever it is listed."""
        for epoch in (EPOCH, None):
            released = ReleaseOnMcu("10.0.0.1", "11", epoch)
            self.ignores(decide(samples.voided(), listed(epoch=epoch), RULES), released)


class ListedWhileAsked(Base):
    """Listed, the record is `creating`: the ACK was lost."""

    def test_create_confirmed_by_its_epoch(self) -> None:
        """The CM gets its ACK."""
        decision = decide(samples.asking_mcu(), listed(createtime=NOW + 1), RULES)
        after = record(decision)
        self.assertEqual((after.state, after.pid, after.epoch, after.acked_time), (State.ONGOING, "11", EPOCH, NOW + 1))
        self.assertEqual(decision.effects, (AnswerCreated(CM), ReportRunning(), SaveRow()))

    def test_restore_confirmed_by_its_epoch(self) -> None:
        """The CM is told that it runs again."""
        c = samples.restoring()
        decision = decide(c, listed(epoch=c.epoch), RULES)
        self.assertIs(record(decision).state, State.ONGOING)
        self.assertEqual(decision.effects, (TellRestored(), ReportRunning(), SaveRow()))

    def test_the_ack_comes_after_all(self) -> None:
        """Once is enough."""
        after = record(decide(samples.asking_mcu(), listed(), RULES))
        self.ignores(decide(after, samples.accepted(), RULES))

    def test_not_by_another_epoch(self) -> None:
        """An older placement there is released under its epoch."""
        self.ignores(
            decide(samples.asking_mcu(), listed(epoch=EPOCH - 1), RULES), ReleaseOnMcu("10.0.0.1", "11", EPOCH - 1)
        )

    def test_without_epochs_by_host_and_time(self) -> None:
        """From that `ip`, with `createtime` not before the request."""
        for c in (samples.asking_mcu(), samples.restoring()):
            self.assertIs(record(decide(c, listed(epoch=None, createtime=NOW), RULES)).state, State.ONGOING)

    def test_without_epochs_from_before_the_request(self) -> None:
        """Not confirmed; not released either: that would end what the host has just been asked for."""
        for c in (samples.asking_mcu(), samples.restoring()):
            self.ignores(decide(c, listed(epoch=None, createtime=NOW - 2), RULES))

    def test_without_epochs_from_another_host(self) -> None:
        """Released there."""
        for c in (samples.asking_mcu(), samples.restoring(), samples.asking_rms()):
            elsewhere = listed(ip="10.0.0.9", epoch=None, createtime=NOW)
            self.ignores(decide(c, elsewhere, RULES), ReleaseOnMcu("10.0.0.9", "11", None))

    def test_while_rms_is_asked(self) -> None:
        """Nothing has been asked for: what runs is older."""
        self.ignores(
            decide(samples.asking_rms(), listed(epoch=EPOCH - 1), RULES), ReleaseOnMcu("10.0.0.1", "11", EPOCH - 1)
        )


class ListedElsewhere(Base):
    """Listed, the record names another placement."""

    def test_higher_epoch_of_the_list_wins(self) -> None:
        """Adopted; the record's is released where it runs; load follows."""
        for c in (ongoing(), samples.pending_restore(), samples.restore_asking_rms()):
            decision = decide(c, listed(ip="10.0.0.5", pid="7", epoch=EPOCH + 1, roommoid="room-5"), RULES)
            after = record(decision)
            self.assertEqual((after.state, after.ip, after.pid), (State.ONGOING, "10.0.0.5", "7"))
            self.assertEqual((after.epoch, after.roommoid, after.createtime), (EPOCH + 1, "room-5", NOW - 60))
            self.assertEqual((after.endtime, after.attempt, after.lost_ms), (c.endtime, None, 0))
            self.assertEqual(
                decision.effects,
                (
                    TellRestored(),
                    ReportRunning(),
                    SaveRow(),
                    TakeLoad("10.0.0.5", after.placement, "pA"),
                    FreeLoad("10.0.0.1", c.placement, "pA"),
                    ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"),
                ),
            )

    def test_higher_epoch_on_the_same_process(self) -> None:
        """Adopted; there is nothing to release: the process has replaced the one by the other."""
        decision = decide(ongoing(), listed(epoch=EPOCH + 1), RULES)
        self.assertEqual(record(decision).epoch, EPOCH + 1)
        self.assertNotIn(ReleaseOnMcu, [type(each) for each in decision.effects])

    def test_higher_epoch_while_a_create_is_pending(self) -> None:
        """The CM that asked gets its ACK, once."""
        for c in (samples.asking_rms(), samples.asking_mcu()):
            decision = decide(c, listed(epoch=EPOCH + 1), RULES)
            self.assertEqual(
                [each for each in decision.effects if isinstance(each, AnswerCreated)], [AnswerCreated(CM)]
            )
            after = record(decision)
            self.assertEqual((after.begintime, after.endtime), (NOW, NOW + 3_600))
            self.ignores(decide(after, samples.accepted(), RULES), ReleaseOnMcu("10.0.0.1", "11", EPOCH))

    def test_lower_epoch_of_the_list_loses(self) -> None:
        """Released there under its epoch, in every situation."""
        for c in samples.IN_SITUATION.values():
            decision = decide(c, listed(ip="10.0.0.5", epoch=EPOCH - 1), RULES)
            self.ignores(decision, ReleaseOnMcu("10.0.0.5", "11", EPOCH - 1))

    def test_runs_on_another_platform(self) -> None:
        """What is older is released here, also where the addresses are the same."""
        c = ongoing(platformmoid="pB")
        for ip in ("10.0.0.1", "10.0.0.5"):
            decision = decide(c, listed(ip=ip, epoch=EPOCH - 1), RULES)
            self.ignores(decision, ReleaseOnMcu(ip, "11", EPOCH - 1))
        self.ignores(decide(c, samples.absent(), RULES))
        self.ignores(decide(c, samples.lost(), RULES))
        self.ignores(decide(c, samples.ended(), RULES))

    def test_equal_epochs_on_two_platforms(self) -> None:
        """The greater moid wins."""
        for event in (listed(), samples.accepted()):
            lesser = decide(ongoing(platformmoid="oB"), event, RULES)
            self.assertEqual(lesser.record.platformmoid if lesser.record else "", "pA")
            self.assertIn(ReleaseOnMcu("10.0.0.1", "11", EPOCH, "oB"), lesser.effects)
            self.assertFalse(decide(ongoing(platformmoid="pB"), event, RULES).changed)

    def test_end_notice_of_the_loser(self) -> None:
        """It does not touch the winner's record."""
        winner = record(decide(ongoing(), listed(ip="10.0.0.5", pid="7", epoch=EPOCH + 1), RULES))
        self.ignores(decide(winner, samples.ended(), RULES))
        self.ignores(decide(winner, samples.ended(epoch=None), RULES))

    def test_without_epochs_the_later_start_wins(self) -> None:
        """Adopted under a fresh epoch."""
        decision = decide(ongoing(), listed(ip="10.0.0.5", epoch=None, createtime=NOW - 54), RULES)
        after = record(decision)
        self.assertEqual((after.ip, after.epoch), ("10.0.0.5", FRESH_EPOCH))
        self.assertIn(ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"), decision.effects)

    def test_without_epochs_within_five_seconds_the_record_wins(self) -> None:
        """And so it does against an earlier start."""
        for createtime in (NOW - 55, NOW - 60, NOW - 99):
            event = listed(ip="10.0.0.5", epoch=None, createtime=createtime)
            self.ignores(decide(ongoing(), event, RULES), ReleaseOnMcu("10.0.0.5", "11", None))

    def test_on_another_process_of_the_host(self) -> None:
        """As on any other."""
        self.ignores(
            decide(ongoing(), listed(pid="12", epoch=EPOCH - 1), RULES), ReleaseOnMcu("10.0.0.1", "12", EPOCH - 1)
        )


class Missing(Base):
    """The record is this MCU's, the list lacks it."""

    def test_two_lists(self) -> None:
        """Ended as lost: cleaned up, reported, billed."""
        for c in (ongoing(), samples.pending_restore(acked_time=NOW - 60)):
            once = record(decide(c, absent(time=NOW), RULES))
            self.assertEqual((once.missed, once.state), (Missed(NOW, NOW_MS), c.state))
            decision = decide(once, absent(time=NOW + 1, now_ms=NOW_MS + 1), RULES)
            self.assertIs(decision.ended, EndReason.LOST)
            self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)
            self.assertIn(TellReleased(EndReason.LOST), decision.effects)
            self.assertIn(Bill(EndReason.LOST, NOW), decision.effects)

    def test_the_same_list_twice(self) -> None:
        """However late its copy comes."""
        for c, event in (
            (ongoing(), absent()),
            (ongoing(acked_time=None), absent()),
            (ongoing(), absent(time=None, seq=4)),
        ):
            once = record(decide(c, event, RULES))
            again = replace(event, now_ms=NOW_MS + 60_000)
            self.ignores(decide(once, again, RULES))

    def test_lists_from_before_its_start(self) -> None:
        """By the MCU's clock they are older than the ACK: they say nothing."""
        for time in (NOW - 61, NOW - 60):
            self.ignores(decide(ongoing(), absent(time=time), RULES))

    def test_without_the_mcus_clock(self) -> None:
        """Two lists that came 5 s apart, wherever the time is wanting."""
        for acked, time in ((None, None), (None, NOW), (NOW - 60, None)):
            once = record(decide(ongoing(acked_time=acked), absent(time=time), RULES))
            later = None if time is None else time + 9
            self.ignores(decide(once, absent(time=later, now_ms=NOW_MS + 4_999), RULES))
            decision = decide(once, absent(time=later, now_ms=NOW_MS + 5_000), RULES)
            self.assertIs(decision.ended, EndReason.LOST)

    def test_of_another_process(self) -> None:
        """Only its own process can miss it."""
        for event in (absent(pid="12"), absent(ip="10.0.0.2")):
            self.ignores(decide(ongoing(), event, RULES))

    def test_creating_or_voided(self) -> None:
        """Nothing."""
        for c in (samples.asking_rms(), samples.asking_mcu(), samples.restoring(), samples.voided()):
            self.ignores(decide(c, absent(), RULES))

    def test_listed_in_between(self) -> None:
        """Then it takes two lists again."""
        c = record(decide(ongoing(), absent(time=NOW), RULES))
        c = record(decide(c, listed(), RULES))
        c = record(decide(c, absent(time=NOW + 2), RULES))
        self.assertIs(c.situation, Situation.ONGOING)

    def test_a_restore_forgets_it(self) -> None:
        """What one MCU missed is nothing against the next."""
        c = samples.restoring(missed=Missed(NOW - 9, NOW_MS - 9_000))
        self.assertIsNone(record(decide(c, samples.accepted(epoch=c.epoch), RULES)).missed)
        self.assertIsNone(record(decide(ongoing(missed=Missed(NOW, NOW_MS)), samples.void(), RULES)).missed)


class InAnyOrder(SynchronousTestCase):
    """Lists come twice, late, and in any order."""

    def test_three_placements(self) -> None:
        """Whatever the order of the lists of three MCUs, the highest epoch survives, and only the others are ended."""
        lists = [listed(ip=f"10.0.0.{n}", pid="1", epoch=EPOCH + n) for n in (1, 2, 3)]
        for order in permutations(lists):
            c, released = ongoing(), set()
            for event in (*order, *order):
                decision = decide(c, event, RULES)
                c = decision.record or c
                released |= {each.epoch for each in decision.effects if isinstance(each, ReleaseOnMcu)}
            self.assertEqual((c.ip, c.epoch, c.state), ("10.0.0.3", EPOCH + 3, State.ONGOING))
            self.assertEqual(released, {EPOCH, EPOCH + 1, EPOCH + 2})

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.sampled_from([-2, -1, 0, 1, 2, None]), st.integers(-90, 9)), max_size=8
        ),
        st.sampled_from(list(samples.IN_SITUATION.values())),
    )
    def test_epochs_never_fall_and_the_present_is_never_released(
        self, entries: list[tuple[int, int | None, int]], c: Conference
    ) -> None:
        """Whatever lists say; and applied twice at once an entry changes nothing the second time."""
        epochs, released_present, not_settled = [c.epoch], [], []
        for host, newer, since in entries:
            event = listed(
                ip=f"10.0.0.{host}",
                epoch=None if newer is None else EPOCH + newer,
                createtime=NOW + since,
                fresh_epoch=c.epoch + 7,
            )
            decision = decide(c, event, RULES)
            c = decision.record or c
            epochs.append(c.epoch)
            releases = [each for each in decision.effects if isinstance(each, ReleaseOnMcu)]
            released_present += [
                each for each in releases if (each.ip, each.pid) == (c.ip, c.pid) and each.epoch in (None, c.epoch)
            ]
            not_settled += [event] if decide(c, event, RULES).changed else []
        self.assertEqual(epochs, sorted(epochs))
        self.assertEqual((released_present, not_settled), ([], []))
