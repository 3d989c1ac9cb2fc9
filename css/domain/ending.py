"""Decisions that end a conference: a CM's release, an MCU's end notice (contract: "Release")."""

from __future__ import annotations

from css.domain.conference import Conference
from css.domain.creation import give_up, is_asked
from css.domain.decision import Decision, end, ignore
from css.domain.effects import AnswerRefused, AnswerReleased, Effect, EndReason, release_on_mcu
from css.domain.errors import ErrCode
from css.domain.events import McuEnded, ReleaseAsked, Rules


def release(c: Conference, event: ReleaseAsked, rules: Rules) -> Decision:
    """A CM ends the conference, in any state. A create that is still pending gets its NACK."""
    effects: list[Effect] = [AnswerReleased(event.requester)]
    if c.ip and c.pid:
        effects.append(release_on_mcu(c))
    pending = c.attempt.requester if c.attempt else None
    if pending is not None:
        effects.append(AnswerRefused(pending, ErrCode.CONF_NOT_RUNNING))
    reason = EndReason.RELEASED if c.has_run else EndReason.FAILED
    return end(c, reason, event.now_ms, "released by the CM", *effects)


def ended_by_mcu(c: Conference, event: McuEnded, rules: Rules) -> Decision:
    """The MCU process that runs it says that it is over; a notice of any other placement is ignored (seed 9.2)."""
    is_its_process = (event.platform, event.ip, event.pid) == (c.platformmoid, c.ip, c.pid)
    if not is_its_process or event.epoch not in (None, c.epoch):
        return ignore("an end notice of another placement")
    return end(c, EndReason.RELEASED, event.now_ms, "ended on its MCU")


def ended_while_asked(c: Conference, event: McuEnded, rules: Rules) -> Decision:
    """An end notice while the MCU is being asked: if it names this very placement, the attempt has failed."""
    if event.epoch is None or not is_asked(c, event):
        return ignore("an end notice of another placement")
    return give_up(c, ErrCode.MCU_REJECTED, event.now_ms, "ended on its MCU before the ACK was handled")
