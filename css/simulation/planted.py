"""Planted bugs: mutations of the real classes, each of which the checks must catch. A checker that never fails proves
nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec

from css.adapters import consuming
from css.adapters.memory import commit as commits
from css.adapters.memory.bus import MemoryBus
from css.adapters.memory.sql import MemoryDatabase
from css.domain import creation, ending, expiry, machine, recovery
from css.domain.conference import Requester, Situation
from css.domain.decision import Decision, end, ignore
from css.domain.effects import Bill, EndReason, FreeLoad, ReleaseOnMcu, TellRestored
from css.domain.epochs import EpochSource
from css.domain.events import Absent, DeadlinePassed, McuAccepted, McuEnded
from css.handlers import control, create, dispatch, effects, outbox, passing, release, requests, steps
from css.handlers.due import DueWork
from css.handlers.letters import Letter, unpack_letters
from css.handlers.passing import PassedRequests
from css.handlers.strangers import Strangers
from css.ports.bus import Outgoing
from css.ports.sql import RowWrite
from css.ports.store import Commit, RequestWrite
from css.simulation import instances
from css.simulation.plant import Mutations, Plant
from css.simulation.planted_abroad import PLANTED_ABROAD
from css.timers import sweep
from css.timers.bookings import BookingCheck
from css.timers.restore import RestoreTimer


async def _do_nothing(*_: object, **__: object) -> None:
    """In the place of work."""


def _forgetful(requester: Requester, certain: bool) -> RequestWrite:
    return RequestWrite(requester.request_key, b"", 600, only_new=False)


def _creates_not_deduped(m: Mutations) -> None:
    m.set(create, "pending", _forgetful)


def _releases_not_deduped(m: Mutations) -> None:
    m.set(release, "pending", _forgetful)


def _ack_before_work(m: Mutations) -> None:
    def run(handler: Any, delivery: Any, done: Any, token: Any) -> None:
        done(None, token)
        real(handler, delivery, lambda error, token: None, token)

    real = m.set(consuming, "run_handler", run)


def _failures_acknowledged(m: Mutations) -> None:
    m.set(consuming.Consumer, "_pause", lambda self, error, token: self.acknowledge(token))


def _poison_dropped(m: Mutations) -> None:
    m.set(dispatch.Dispatcher, "_park", _do_nothing)


def _unbounded_prefetch(m: Mutations) -> None:
    def consume(self: Any, queue: str, handler: Any, prefetch: int = 20) -> Any:
        return real(self, queue, handler, 10_000)

    real = m.set(MemoryBus, "consume", consume)


def _epoch_of_ack_ignored(m: Mutations) -> None:
    for module in (creation, recovery):
        m.set(module, "is_asked", lambda c, event: event.ip == c.ip)


def _no_version_check(m: Mutations) -> None:
    m.set(commits, "_is_expected", lambda record, expected: bool(record) == (expected is not None))


def _limit_ignored(m: Mutations) -> None:
    m.set(commits, "_full_set", lambda keyspace, commit: None)


def _guard_ignored(m: Mutations) -> None:
    m.set(commits, "_guard_holds", lambda keyspace, key, value: True)


def _tombstone_ignored(m: Mutations) -> None:
    def refusal(keyspace: Any, commit: Any) -> Any:
        return real(keyspace, msgspec.structs.replace(commit, above_tombstone=""))

    real = m.set(commits, "_refusal", refusal)


def _licence_not_returned(m: Mutations) -> None:
    m.alter(steps, "_ending", unreserve=())


def _no_tombstone(m: Mutations) -> None:
    m.alter(steps, "_ending", tombstone=None)


def _index_left_behind(m: Mutations) -> None:
    m.alter(steps, "_commit_of", index_drop=())


def _load_not_freed(m: Mutations) -> None:
    m.put(effects._WRITERS, FreeLoad, lambda sheet, effect: None)


def _release_not_sent(m: Mutations) -> None:
    m.put(effects._WRITERS, ReleaseOnMcu, lambda sheet, effect: None)


def _late_ack_not_released(m: Mutations) -> None:
    m.set(machine, "_decide_absent", lambda event: ignore("nothing"))
    for situation in Situation:
        if situation is not Situation.ABSENT:
            m.put(machine.TABLE, (situation, McuAccepted), _unless_late(machine.TABLE[situation, McuAccepted]))


def _unless_late(rule: machine.Rule) -> machine.Rule:
    def accepted(c: Any, event: Any, rules: Any) -> Decision:
        asked = creation.is_asked(c, event)
        return rule(c, event, rules) if asked else ignore("nothing")

    return accepted


def _ended_by_number_only(m: Mutations) -> None:
    def ended(c: Any, event: Any, rules: Any) -> Decision:
        return end(c, EndReason.RELEASED, event.now_ms, "ended on some MCU")

    m.put(machine.TABLE, (Situation.ONGOING, McuEnded), ended)


def _billed_twice(m: Mutations) -> None:
    def bill_again(*each: Any, **more: Any) -> Decision:
        decision: Decision = real(*each, **more)
        bills = tuple(effect for effect in decision.effects if isinstance(effect, Bill))
        return msgspec.structs.replace(decision, effects=(*decision.effects, *bills))

    real = m.set(ending, "end", bill_again)


def _hints_trusted(m: Mutations) -> None:
    def until_committed(self: Any, *each: Any) -> Any:
        bound = signature.bind(self, *each)
        bound.arguments["is_hint"] = False
        return real(*bound.args)

    real = m.set(steps.Steps, "_until_committed", until_committed)
    signature = inspect.signature(real)


def _no_outbox(m: Mutations) -> None:
    m.set(outbox.Outbox, "entries", lambda self, *_: ())


def _no_sweep(m: Mutations) -> None:
    m.set(sweep.OutboxSweep, "tick", _do_nothing)


def _sweep_with_new_ids(m: Mutations) -> None:
    numbers = count()

    def renamed(letter: Letter) -> Letter:
        outgoing: Outgoing = msgspec.structs.replace(letter.outgoing, message_id=f"again-{next(numbers)}")
        return msgspec.structs.replace(letter, outgoing=outgoing)

    m.set(sweep, "unpack_letters", lambda data: [renamed(letter) for letter in unpack_letters(data)])


def _effects_overtake(m: Mutations) -> None:
    def carry_out(self: Any, *each: Any) -> Any:
        bound = signature.bind(self, *each)
        bound.arguments["waiting"] = ()
        return real(*bound.args)

    real = m.set(outbox.Outbox, "carry_out", carry_out)
    signature = inspect.signature(real)


def _unconfirmed_is_done(m: Mutations) -> None:
    async def fate(self: Any, *each: Any) -> Any:
        return outbox._Fate.DONE

    m.set(outbox.Post, "_fate", fate)


def _no_booking_check(m: Mutations) -> None:
    m.set(BookingCheck, "tick", _do_nothing)


def _no_deadlines(m: Mutations) -> None:
    m.set(DueWork, "tick", _do_nothing)


def _silence_on_control(m: Mutations) -> None:
    m.set(PassedRequests, "tick", _do_nothing)


def _control_answered_by_both(m: Mutations) -> None:
    """The silence and the late answer of an MCU each count as the answer."""

    def forgetful(**parts: Any) -> Commit:
        if parts.get("guards"):
            parts |= {"guards": (), "answers": parts["answers"][1:]}
        return Commit(**parts)

    m.set(passing, "Commit", forgetful)


def _control_passed_again(m: Mutations) -> None:
    """A repeated control request is a new one."""
    m.set(control, "requester_of", _marked)


_marks = count(1)


def _marked(message: Any, delivery: Any, e164: str, mtreqid: str) -> tuple[Requester, bool]:
    requester, certain = requests.requester_of(message, delivery, e164, mtreqid)
    return msgspec.structs.replace(requester, request_key=f"{requester.request_key}{next(_marks):x}"), certain


def _wrong_reply_queue(m: Mutations) -> None:
    last = [""]

    def address(requester: Requester) -> Any:
        before, last[0] = last[0], requester.reply_to
        return real(msgspec.structs.replace(requester, reply_to=before or requester.reply_to))

    real = m.set(effects, "answer_address", address)
    m.set(requests, "answer_address", address)


def _rows_out_of_order(m: Mutations) -> None:
    async def apply(self: Any, writes: list[RowWrite]) -> None:
        self._answer()
        for write in writes:
            if write.row is None:
                self.rows.pop(write.e164, None)
            else:
                self.rows[write.e164] = write.row

    m.set(MemoryDatabase, "apply", apply)


def _epochs_fall(m: Mutations) -> None:
    m.set(EpochSource, "next", lambda self, now_ms, above=0: now_ms * 1024 + self._slot)


def _timers_follow_the_clock(m: Mutations) -> None:
    m.set(instances, "keeps_pace", lambda: False)


def _restores_unpaced(m: Mutations) -> None:
    async def draw(self: Any, want: int) -> int:
        return want

    m.set(RestoreTimer, "_draw", draw)


def _no_restores(m: Mutations) -> None:
    m.set(RestoreTimer, "tick", _do_nothing)


def _restores_not_told(m: Mutations) -> None:
    m.put(effects._WRITERS, TellRestored, lambda sheet, effect: None)


def _strangers_left(m: Mutations) -> None:
    m.set(Strangers, "judge", _do_nothing)


def _missing_once_is_lost(m: Mutations) -> None:
    def absent(c: Any, event: Any, rules: Any) -> Decision:
        if (event.ip, event.pid) != (c.ip, c.pid):
            return ignore("missing from the list of another MCU process")
        return end(c, EndReason.LOST, event.now_ms, "missing from one list")

    m.put(machine.TABLE, (Situation.ONGOING, Absent), absent)


def _never_over(m: Mutations) -> None:
    m.set(expiry, "expire", lambda c, now_ms: ignore("later"))


def _over_at_the_first_notice(m: Mutations) -> None:
    def due(c: Any, event: Any, rules: Any) -> Decision:
        return expiry.expire(c, event.now_ms)

    m.put(machine.TABLE, (Situation.ONGOING, DeadlinePassed), due)


_DEATHS = ("1", "1p", "4", "12")

PLANTED: dict[str, Plant] = {
    "creates-not-deduped": Plant(_creates_not_deduped),
    "releases-not-deduped": Plant(_releases_not_deduped, ("2", "3", "13a", "23", "25")),
    "ack-before-work": Plant(_ack_before_work),
    "failures-acknowledged": Plant(_failures_acknowledged),
    "poison-dropped": Plant(_poison_dropped),
    "unbounded-prefetch": Plant(_unbounded_prefetch, ("13a", "23")),
    "epoch-of-ack-ignored": Plant(_epoch_of_ack_ignored, ("16", "16r", "3", "23")),
    "no-version-check": Plant(_no_version_check),
    "limit-ignored": Plant(_limit_ignored),
    "guard-ignored": Plant(_guard_ignored),
    "tombstone-ignored": Plant(_tombstone_ignored, ("21b", "1", "23")),
    "no-tombstone": Plant(_no_tombstone, ("21b", "1", "23")),
    "licence-not-returned": Plant(_licence_not_returned),
    "index-left-behind": Plant(_index_left_behind),
    "load-not-freed": Plant(_load_not_freed),
    "release-not-sent": Plant(_release_not_sent),
    "late-ack-not-released": Plant(_late_ack_not_released, ("16",)),
    "ended-by-number-only": Plant(_ended_by_number_only, ("3", "2", "25")),
    "billed-twice": Plant(_billed_twice),
    "hints-trusted": Plant(_hints_trusted),
    "no-outbox": Plant(_no_outbox),
    "no-sweep": Plant(_no_sweep),
    "sweep-with-new-ids": Plant(_sweep_with_new_ids, _DEATHS),
    "effects-overtake": Plant(_effects_overtake, ("2", "5", "7", "23")),
    "unconfirmed-is-done": Plant(_unconfirmed_is_done),
    "no-booking-check": Plant(_no_booking_check, _DEATHS),
    "no-deadlines": Plant(_no_deadlines),
    "silence-on-control": Plant(_silence_on_control),
    "control-answered-by-both": Plant(_control_answered_by_both),
    "control-passed-again": Plant(_control_passed_again),
    "wrong-reply-queue": Plant(_wrong_reply_queue),
    "rows-out-of-order": Plant(_rows_out_of_order, (*_DEATHS, "14", "2")),
    "epochs-fall": Plant(_epochs_fall, ("21b", "23")),
    "restores-unpaced": Plant(_restores_unpaced, ("15a", "17a", "17b", "22")),
    "no-restores": Plant(_no_restores),
    "restores-not-told": Plant(_restores_not_told),
    "strangers-left": Plant(_strangers_left, ("16", "6b")),
    "missing-once-is-lost": Plant(_missing_once_is_lost),
    "never-over": Plant(_never_over, ("16", "15a")),
    "over-at-the-first-notice": Plant(_over_at_the_first_notice),
    "timers-follow-the-clock": Plant(_timers_follow_the_clock, ("21a",)),
    **PLANTED_ABROAD,
}


@contextmanager
def planted(name: str) -> Iterator[Plant]:
    """Have a bug for a while."""
    mutations = Mutations()
    try:
        PLANTED[name].mutate(mutations)
        yield PLANTED[name]
    finally:
        mutations.undo()
