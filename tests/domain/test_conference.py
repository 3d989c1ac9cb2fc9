"""The record: its hashes, its indexes, its tokens."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain import conference as records
from css.domain.conference import Attempt, Conference, Monitor, Requester, Situation, Size, State
from tests.domain import samples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MOIDS = st.from_regex(r"\A[!-.0-~]{1,20}\Z")
BIG = st.integers(0, 2**53 - 1)
REQUESTERS = st.builds(Requester, TEXT, TEXT, TEXT, TEXT, MOIDS)
ATTEMPTS = st.builds(
    Attempt,
    deadline_ms=BIG,
    requester=st.none() | REQUESTERS,
    roommoid=MOIDS,
    mcus=st.none() | st.lists(st.from_regex(r"\A[0-9a-f.:]{1,20}\Z")).map(tuple),
    vrs=TEXT,
    xmpu=st.booleans(),
)
CONFERENCES = st.builds(
    Conference,
    e164=st.from_regex(r"\A[0-9]{1,32}\Z"),
    moid=MOIDS,
    source=MOIDS,
    platformmoid=MOIDS,
    state=st.sampled_from(State),
    epoch=BIG,
    first_epoch=BIG,
    version=st.integers(1, 2**31),
    roommoid=TEXT,
    ip=TEXT,
    pid=TEXT,
    createtime=BIG,
    endtime=BIG,
    legacy=st.booleans(),
    priority=st.integers(0, 9),
    conftype=st.integers(1, 4),
    size=st.sampled_from(Size),
    licensed_under=st.lists(MOIDS, max_size=2).map(tuple),
    due_ms=BIG,
    attempt=st.none() | ATTEMPTS,
    create=TEXT,
    confname=TEXT,
    password=TEXT,
    begintime=BIG,
    duration=st.integers(0, 10_000_000),
    monitors=st.lists(st.builds(Monitor, TEXT, BIG, BIG), max_size=3).map(tuple),
)


def stored(c: Conference) -> tuple[dict[str, str], dict[str, str]]:
    """The two hashes as a store would have them."""
    return records.to_fields(c) | {"version": str(c.version)}, records.to_conf_fields(c) if c.has_run else {}


class RoundTrip(SynchronousTestCase):
    """What is written is what is read."""

    @settings(max_examples=150, deadline=None)
    @given(CONFERENCES)
    def test_any_conference(self, c: Conference) -> None:
        """Whatever it holds."""
        record, conf = stored(c)
        self.assertEqual(records.from_fields(c.e164, record, conf), c)

    @settings(max_examples=50, deadline=None)
    @given(CONFERENCES)
    def test_values_are_text(self, c: Conference) -> None:
        """In Redis every value is text (contract, section 1)."""
        record, conf = stored(c)
        self.assertEqual({type(value) for value in (*record.values(), *conf.values())}, {str})

    def test_public_fields(self) -> None:
        """Fields of `confex/` and `conf/` that the contract names, with its spelling and values (section 4)."""
        record, conf = stored(samples.ongoing(legacy=True))
        self.assertEqual(
            {name: record[name] for name in ("moid", "platformmoid", "roommoid", "ip", "pid", "state", "epoch")},
            {
                "moid": "u1",
                "platformmoid": "pA",
                "roommoid": "room-1",
                "ip": "10.0.0.1",
                "pid": "11",
                "state": "ongoing",
                "epoch": "7000",
            },
        )
        self.assertEqual((record["legacy"], record["createtime"]), ("1", str(samples.NOW - 60)))
        self.assertEqual(record["endtime"], str(samples.NOW - 60 + 3_600))
        self.assertNotIn("confname", record)
        self.assertEqual(
            conf, {"confname": "晨会", "password": "123", "begintime": str(samples.NOW - 60), "duration": "60"}
        )

    def test_a_new_creating(self) -> None:
        """It has `platformmoid` and `epoch`; `ip`, `roommoid` and `pid` are empty (contract, section 4)."""
        record, conf = stored(samples.asking_rms())
        self.assertEqual(record["state"], "creating")
        self.assertEqual((record["platformmoid"], record["epoch"]), ("pA", "7000"))
        self.assertEqual((record["ip"], record["roommoid"], record["pid"]), ("", "", ""))
        self.assertEqual(conf, {})

    def test_an_attempt_of_a_version_that_knew_no_other_platforms_requesters(self) -> None:
        """Instances of both versions run side by side while one is rolled out."""
        fields, conf = stored(samples.asking_rms(version=3))
        attempt = msgspec.json.decode(fields["attempt"])
        attempt[1] = attempt[1][:4]
        old = records.from_fields("1", fields | {"attempt": msgspec.json.encode(attempt).decode()}, conf)
        assert old.attempt is not None and old.attempt.requester is not None
        self.assertEqual(old.attempt.requester.origin, "")
        attempt[1] = [*attempt[1], "pB", "of a version to come"]
        new = records.from_fields("1", fields | {"attempt": msgspec.json.encode(attempt).decode()}, conf)
        assert new.attempt is not None and new.attempt.requester is not None
        self.assertEqual(new.attempt.requester.origin, "pB")

    def test_an_attempt_that_is_over_has_no_field(self) -> None:
        """Nor has a running conference a copy of what `conf/` has."""
        record, _ = stored(samples.ongoing())
        self.assertNotIn("attempt", record)
        self.assertNotIn("asked", record)
        self.assertIn("attempt", stored(samples.restoring())[0])

    def test_unreadable(self) -> None:
        """Every damage is one kind of error, with the key in it."""
        good, conf = stored(samples.asking_mcu())
        bad_records = [{name: value for name, value in good.items() if name != gone} for gone in ("moid", "version")]
        bad_values = {
            "state": "running",
            "epoch": "x",
            "size": "huge",
            "attempt": "{",
            "asked": "5",
            "due_ms": "",
        }
        bad_records += [good | {name: value} for name, value in bad_values.items()]
        bad_records += [good | {"asked": '["a",1,"x"]'}, good | {"asked": '["a","b"]'}]
        for record in bad_records:
            error = self.assertRaises(ValueError, records.from_fields, "0755001", record, conf)
            self.assertIn("confex/0755001", str(error))
        running, ran = stored(samples.ongoing())
        for broken in ({"confname": "x"}, ran | {"begintime": "soon"}):
            error = self.assertRaises(ValueError, records.from_fields, "0755001", running, broken)
            self.assertIn("confex/0755001", str(error))


class Indexes(SynchronousTestCase):
    """Every index is derived from the record."""

    def test_in_each_situation(self) -> None:
        """By platform always; by due time where it awaits something; by host and room where it has one."""
        base = {"platform/pA": samples.NOW, "live/pA": samples.NOW}
        due = samples.NOW_MS + 5_000
        self.assertEqual(records.indexes(samples.asking_rms()), base | {"due/pA": due})
        self.assertEqual(
            records.indexes(samples.asking_mcu()),
            base | {"due/pA": due, "room/pA/room-1": samples.NOW},
        )
        began = samples.NOW - 60
        self.assertEqual(
            records.indexes(samples.ongoing()),
            {
                "platform/pA": began,
                "live/pA": began,
                "mcu/pA/10.0.0.1/11": began,
                "room/pA/room-1": began,
                "due/pA": samples.ongoing().due_ms,
                "running/pA": 0,
            },
        )

    def test_monitored(self) -> None:
        """By when the first of its monitors expires, where it runs, and only while it does."""
        later = replace(samples.MONITOR, monitorid="w2", until_ms=samples.MONITOR.until_ms + 1)
        c = samples.ongoing(platformmoid="pB", monitors=(later, samples.MONITOR))
        self.assertEqual(records.indexes(c)["monitor/pB"], samples.MONITOR.until_ms)
        monitors = (samples.MONITOR,)
        unmonitored = samples.ongoing()
        for other in (samples.pending_restore(monitors=monitors), samples.restoring(monitors=monitors), unmonitored):
            self.assertNotIn("monitor/pA", records.indexes(other))

    def test_legacy(self) -> None:
        """Those that are bound to old hardware are found among all others."""
        self.assertEqual(records.indexes(samples.ongoing(legacy=True))["legacy/pA"], samples.NOW - 60)

    def test_lost_with_its_platform(self) -> None:
        """What runs or is being placed there; not what waits, nor what is bound to old hardware and runs."""
        lost = [samples.asking_rms(), samples.asking_rms(legacy=True), samples.asking_mcu(), samples.restoring()]
        for c in (*lost, samples.ongoing()):
            self.assertIn("live/pA", records.indexes(c), c.situation)
        for c in (samples.pending_restore(), samples.restore_asking_rms(), samples.ongoing(legacy=True)):
            self.assertNotIn("live/pA", records.indexes(c), c.situation)

    def test_owner_of_the_deadline(self) -> None:
        """Where it really runs; a conference that waits to be restored belongs to its source."""
        elsewhere = samples.asking_rms(platformmoid="pB")
        self.assertIn("due/pB", records.indexes(elsewhere))
        waiting = samples.pending_restore(platformmoid="pB", due_ms=5)
        self.assertEqual(records.indexes(waiting)["restore/pA"], 5)
        self.assertFalse({"due/pA", "due/pB"} & records.indexes(waiting).keys())
        self.assertIn("platform/pB", records.indexes(waiting))

    def test_what_waits_for_a_restore(self) -> None:
        """Its next attempt, how urgent it is, and its end are found each for itself."""
        waiting = samples.pending_restore(due_ms=5, endtime=7)
        found = records.indexes(waiting)
        self.assertEqual(
            [found[f"{name}/pA"] for name in ("restore", "urgency", "pending")], [5, records.urgency(waiting), 7000]
        )
        self.assertNotIn("pending/pA", records.indexes(samples.pending_restore(due_ms=5, endtime=0)))

    def test_what_waits_for_something_else(self) -> None:
        """Old hardware, or an answer of RMS: nothing to be restored."""
        asking = records.Attempt(deadline_ms=9)
        for waiting in (
            samples.pending_restore(due_ms=5, legacy=True),
            samples.pending_restore(due_ms=5, attempt=asking),
        ):
            found = records.indexes(waiting)
            self.assertEqual(found["pending/pA"], 5)
            self.assertFalse({"restore/pA", "urgency/pA"} & found.keys())

    def test_urgency(self) -> None:
        """Higher priority first, then the one that began earlier."""
        ordered = [(9, 5), (9, 6), (8, 1), (8, 2**35), (0, 0)]
        found = [records.urgency(samples.pending_restore(priority=p, begintime=t)) for p, t in ordered]
        self.assertEqual(found, sorted(found))
        self.assertLess(found[-1], 2**53)

    def test_urgency_of_one_that_can_not_be_restored(self) -> None:
        """A level less for each half minute, at most so many that the number stays exact."""

        def after(seconds: int) -> int:
            return records.urgency(samples.pending_restore(priority=9, lost_ms=5, due_ms=5 + seconds * 1000))

        found = [after(seconds) for seconds in (29, 30, 59, 60, 300, 10**9)]
        levels = [number >> 40 for number in found]
        self.assertEqual(levels, [0, 1, 1, 2, 10, 4096])
        self.assertLess(found[-1], 2**53)
        self.assertGreater(after(300), records.urgency(samples.pending_restore(priority=0)))


class Derived(SynchronousTestCase):
    """What is computed from a record."""

    def test_situations(self) -> None:
        """The state, and within `creating` whose answer is awaited."""
        self.assertIs(samples.asking_rms().situation, Situation.ASKING_RMS)
        self.assertIs(samples.asking_rms(attempt=None).situation, Situation.ASKING_RMS)
        self.assertIs(samples.asking_mcu(left=()).situation, Situation.ASKING_MCU)
        self.assertIs(samples.ongoing().situation, Situation.ONGOING)
        self.assertIs(samples.pending_restore().situation, Situation.PENDING_RESTORE)
        self.assertIs(samples.restore_asking_rms().situation, Situation.RESTORE_ASKING_RMS)
        self.assertIs(samples.restoring().situation, Situation.RESTORE_ASKING_MCU)

    def test_licence_member_outlives_restores(self) -> None:
        """It is counted under the epoch that it was created with, so a restore takes no second place."""
        c = samples.restoring()
        self.assertNotEqual(c.epoch, c.first_epoch)
        self.assertEqual(c.licence_member, f"0755001:{samples.EPOCH}")

    @settings(max_examples=100, deadline=None)
    @given(MOIDS, st.from_regex(r"\A[0-9]{1,32}\Z"), BIG)
    def test_placement_token(self, source: str, e164: str, epoch: int) -> None:
        """A token says what it was made of."""
        self.assertEqual(records.parse_placement(records.placement_token(source, e164, epoch)), (source, e164, epoch))

    def test_no_placement_token(self) -> None:
        """What peers put into a correlation id of their own is none."""
        for text in ("", "x", "a/b", "a/b/", "a/b/-1", "a/b/1.5", "a/b/１", "a/b/c"):
            self.assertIsNone(records.parse_placement(text), text)

    def test_token_of_a_record(self) -> None:
        """A placement names source, number and epoch."""
        c = replace(samples.ongoing(), source="pS")
        self.assertEqual(c.placement, "pS/0755001/7000")
