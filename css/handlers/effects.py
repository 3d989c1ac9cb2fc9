"""Effects of the domain to bytes and addresses: the only place that knows which message an effect is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgspec

from css.domain import effects as fx
from css.domain.conference import Conference, Fields, Requester, to_fields
from css.domain.epochs import over_by
from css.domain.errors import ErrCode
from css.domain.ledger import keeper_of
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.letters import (
    ASK_LANE,
    LEDGER_LANE,
    LOAD_LANE,
    SQL_LANE,
    TAKE_LANE,
    Kind,
    Letter,
    TemplateIntent,
    lane_at_home,
    message_id,
    pack,
    peer_lane,
)
from css.messages import control, create, mcu, reports, upu
from css.messages.base import Message
from css.messages.codec import encode
from css.ports.bus import Outgoing
from css.ports.ledger import LedgerStep
from css.ports.sql import ConfinfoRow, RowWrite
from css.ports.store import RequestWrite

ANSWER_KEPT_SECONDS = 600
"""How long an answer is repeated to repetitions of its request."""


ABROAD_MS = 30_000
"""How long a command to another platform's MCU is worth publishing there: its next lists show what is still to be told,
and much later it might speak of what runs there by then."""

Identity = tuple[int, int, str]
"""(epoch, version, salt) of a step; the salt tells steps apart that leave the record alone."""


class Parcel(msgspec.Struct, gc=False):
    """All that one step does through one lane."""

    letters: list[Letter] = []
    rows: list[RowWrite] = []
    bookings: list[tuple[str, str]] = []
    steps: list[LedgerStep] = []
    intents: list[TemplateIntent] = []

    def data(self) -> bytes:
        """Its bytes in the outbox."""
        return pack(self.letters or self.rows or self.bookings or self.steps or self.intents)


class Composed(msgspec.Struct, gc=False):
    """The effects of one step: parcels by lane, and the answers to remember."""

    parcels: dict[str, Parcel] = {}
    answers: list[RequestWrite] = []
    abroad: dict[tuple[str, str], Parcel] = {}
    """What another platform's instances do, by (platform, lane): they find it in the outbox of the store."""


class Composer:
    """Turns the effects of a decision into parcels.

    @param platforms: gives the platforms as they are known now; decides which CM is told (contract section 2).
    """

    def __init__(self, own: str, platforms: Callable[[], Platforms]) -> None:
        self._own = own
        self._platforms = platforms

    def compose(
        self,
        effects: tuple[fx.Effect, ...],
        conference: Conference,
        identity: Identity,
        now_ms: int,
        fields: Fields | None = None,
    ) -> Composed:
        """
        @param conference: the record after the step, or, if the step ends it, the one before.
        @param identity: (epoch, version, salt) of the step, from which the message ids are made.
        @param fields: of the conference, if they were made already.
        """
        sheet = _Sheet(self._own, self._platforms(), conference, identity, now_ms, fields)
        for effect in effects:
            _WRITERS[type(effect)](sheet, effect)
        return sheet.composed


class _Sheet:
    """Where the effects of one step are written."""

    def __init__(
        self, own: str, platforms: Platforms, c: Conference, identity: Identity, now_ms: int, fields: Fields | None
    ) -> None:
        self.own = own
        self.platforms = platforms
        self.cm_peer = "" if platforms.serves(c.source) else c.source
        """The platform whose CM is told, if it is not this one's."""
        self.c = c
        self.fields = fields
        self.now_ms = now_ms
        self.composed = Composed({}, [], {})
        self.identity = identity
        self._headers = {"x-css-epoch": identity[0], "x-css-version": identity[1]}
        self._count = 0

    def parcel(self, lane: str, platform: str = "") -> Parcel:
        """Where effects of a lane are written; `platform`: whose instances carry them out, empty: this one's."""
        if platform and platform != self.own:
            return self.composed.abroad.setdefault((platform, lane), Parcel())
        parcel = self.composed.parcels.get(lane)
        if parcel is None:
            parcel = self.composed.parcels[lane] = Parcel()
        return parcel

    def send(
        self,
        kind: Kind,
        address: tuple[str, str],
        body: bytes,
        *,
        peer: str = "",
        platform: str = "",
        correlation_id: str = "",
        reply_to: str = "",
        expiration_ms: int = 0,
        lasts: bool = False,
    ) -> Outgoing:
        """Write one message down; its id tells (e164, epoch, version, place within the step).

        @param peer: to whose broker it goes. @param platform: who publishes it.
        @param lasts: whether another platform's instances are to publish it however late.
        """
        outgoing = Outgoing(
            address[0],
            address[1],
            body,
            # With the body: after a failover that lost the newest writes a version comes again, for another step.
            message_id(self.c.e164, *self.identity, self._count, crc32(body)),
            correlation_id,
            reply_to,
            expiration_ms,
            self._headers,
        )
        self._count += 1
        token = correlation_id if kind is Kind.MCU_REQUEST else ""
        lane = peer_lane(peer) if peer else lane_at_home(kind, address[0])
        until_ms = self.c.due_ms if lane == ASK_LANE else 0
        if platform not in ("", self.own) and not lasts:
            until_ms = self.now_ms + ABROAD_MS
        self.parcel(lane, platform).letters.append(Letter(kind, self.now_ms, outgoing, token, until_ms))
        return outgoing

    def ask_host(self, body: bytes, ttl_ms: int) -> None:
        """Write a request to the record's host down; it expires where it lies."""
        self.send(
            Kind.MCU_REQUEST,
            (to.DEFAULT, to.mcu_host_queue(self.c.ip)),
            body,
            correlation_id=self.c.placement,
            reply_to=to.MCU_QUEUE,
            expiration_ms=ttl_ms,
        )

    def answer(self, requester: Requester, message: Message, platform: str = "") -> None:
        """Write the answer to a request down, and remember it.

        @param platform: whose CM has asked; empty: this one's.
        """
        kind, address = answer_address(requester)
        # The requester's own platform, as the one that took the request saw it.
        peer = requester.origin or platform
        peer = "" if peer == self.own else peer
        outgoing = self.send(kind, address, encode(message), peer=peer, correlation_id=requester.correlation_id)
        if requester.request_key:
            self.composed.answers.append(remembered(requester, outgoing))


def answer_address(requester: Requester) -> tuple[Kind, tuple[str, str]]:
    """Where a CM's answer goes: to its reply queue, or where its notifications go."""
    if requester.reply_to:
        return Kind.REPLY, (to.DEFAULT, requester.reply_to)
    return Kind.NOTICE, to.TO_CM_NOTICE


def remembered(requester: Requester, answer: Outgoing, *, only_new: bool = False) -> RequestWrite:
    """The memory of an answer."""
    return RequestWrite(requester.request_key, pack(answer), ANSWER_KEPT_SECONDS, only_new)


def _ask_resources(s: _Sheet, effect: fx.AskResources) -> None:
    body = encode(create.ResourceRequest(moid=s.c.moid))
    s.send(Kind.RESOURCE_REQUEST, to.TO_RMS, body, correlation_id=s.c.placement, reply_to=to.RMS_REPLY_QUEUE)


def _placement(c: Conference) -> dict[str, Any]:
    """What a host must know of the placement that it is asked for."""
    attempt = c.attempt
    return {
        "ip": c.ip,
        "roommoid": c.roommoid,
        "epoch": c.epoch,
        "xmpu": int(attempt is not None and attempt.xmpu),
        "vrs": attempt.vrs if attempt else "",
    }


def _ask_mcu_to_create(s: _Sheet, effect: fx.AskMcuToCreate) -> None:
    s.ask_host(create.mcu_create_body(s.c.create.encode(), **_placement(s.c)), effect.ttl_ms)


def _ask_mcu_to_restore(s: _Sheet, effect: fx.AskMcuToRestore) -> None:
    c = s.c
    body = create.mcu_restore_body(
        c.create.encode(),
        confname=c.confname,
        password=c.password,
        duration=effect.minutes_left,
        endtime=c.endtime,
        **_placement(c),
    )
    s.ask_host(body, effect.ttl_ms)


def _tell_restored(s: _Sheet, effect: fx.TellRestored) -> None:
    c = s.c
    message = mcu.RestoreNotice(confE164=c.e164, ip=c.ip, pid=c.pid, roommoid=c.roommoid, platformmoid=c.platformmoid)
    s.send(Kind.NOTICE, to.TO_CM_NOTICE, encode(message), peer=s.cm_peer)


def _warn_of_end(s: _Sheet, effect: fx.WarnOfEnd) -> None:
    c = s.c
    to_mcu = control.McuTimeoutNotice(confE164=c.e164, minutes=effect.minutes)
    s.send(Kind.COMMAND, (to.DEFAULT, to.mcu_queue(c.ip, c.pid)), encode(to_mcu))
    to_cm = control.TimeoutNotice(confE164=c.e164, minutes=effect.minutes)
    s.send(Kind.NOTICE, to.TO_CM_NOTICE, encode(to_cm), peer=s.cm_peer)


def _release_on_mcu(s: _Sheet, effect: fx.ReleaseOnMcu) -> None:
    body = encode(create.McuReleaseCommand(confE164=s.c.e164, ip=effect.ip, pid=effect.pid, epoch=effect.epoch))
    s.send(Kind.COMMAND, (to.DEFAULT, to.mcu_queue(effect.ip, effect.pid)), body, platform=effect.platform)


def _answer_created(s: _Sheet, effect: fx.AnswerCreated) -> None:
    c = s.c
    s.answer(
        effect.requester,
        create.CreateAck(
            confE164=c.e164,
            confname=c.confname,
            mtreqid=effect.requester.mtreqid,
            ip=c.ip,
            pid=c.pid,
            roommoid=c.roommoid,
            platformmoid=c.platformmoid,
            endtime=c.endtime,
        ),
        c.platformmoid,
    )


def _answer_refused(s: _Sheet, effect: fx.AnswerRefused) -> None:
    nack = create.CreateNack(confE164=s.c.e164, mtreqid=effect.requester.mtreqid, errcode=effect.errcode.value)
    s.answer(effect.requester, nack, s.c.platformmoid)


def _answer_released(s: _Sheet, effect: fx.AnswerReleased) -> None:
    s.answer(effect.requester, create.ReleaseAck(confE164=s.c.e164, mtreqid=effect.requester.mtreqid))


def _answer_delayed(s: _Sheet, effect: fx.AnswerDelayed) -> None:
    fields: dict[str, Any] = {"confE164": s.c.e164, "mtreqid": effect.requester.mtreqid, "endtime": s.c.endtime}
    ack: Message = control.McuDelayAck(**fields) if effect.to_mcu else control.DelayAck(**fields)
    s.answer(effect.requester, ack)


def _answer_not_delayed(s: _Sheet, effect: fx.AnswerNotDelayed) -> None:
    s.answer(effect.requester, delay_nack(s.c.e164, effect.requester, effect.errcode, to_mcu=effect.to_mcu))


def delay_nack(e164: str, requester: Requester, errcode: ErrCode, *, to_mcu: bool) -> Message:
    """The refusal of a delay, as a CM or an MCU process gets it."""
    nack = control.McuDelayNack if to_mcu else control.DelayNack
    return nack(confE164=e164, mtreqid=requester.mtreqid, errcode=errcode.value)


def _tell_delayed(s: _Sheet, effect: fx.TellDelayed) -> None:
    c = s.c
    message = control.DurationNotice(confE164=c.e164, endtime=c.endtime, duration=c.duration)
    s.send(Kind.NOTICE, to.TO_CM_NOTICE, encode(message), peer=s.cm_peer)


def _tell_mcu_delayed(s: _Sheet, effect: fx.TellMcuDelayed) -> None:
    c = s.c
    message = control.McuDurationNotice(confE164=c.e164, endtime=c.endtime, duration=c.duration)
    where = (to.DEFAULT, to.mcu_queue(c.ip, c.pid))
    if c.platformmoid in (s.own, *s.platforms.peers):
        s.send(Kind.COMMAND, where, encode(message), peer=c.platformmoid if c.platformmoid != s.own else "")
    else:
        # Two platforms that back one up know only that one, not each other.
        s.send(Kind.COMMAND, where, encode(message), platform=c.platformmoid)


def _tell_released(s: _Sheet, effect: fx.TellReleased) -> None:
    body = encode(create.ReleaseNotice(confE164=s.c.e164, reason=effect.reason.value))
    s.send(Kind.NOTICE, to.TO_CM_NOTICE, body, peer=s.cm_peer)


def _stop_monitor_on_mcu(s: _Sheet, effect: fx.StopMonitorOnMcu) -> None:
    body = encode(control.McuStopMonitorCommand(confE164=s.c.e164, monitorid=effect.monitorid))
    s.send(Kind.COMMAND, (to.DEFAULT, to.mcu_queue(s.c.ip, s.c.pid)), body)


def _tell_monitor_stopped(s: _Sheet, effect: fx.TellMonitorStopped) -> None:
    body = encode(control.StopMonitorNotice(confE164=s.c.e164, monitorid=effect.monitorid))
    s.send(Kind.NOTICE, to.TO_CM_NOTICE, body, peer=s.cm_peer)


def _report_running(s: _Sheet, effect: fx.ReportRunning) -> None:
    s.send(Kind.NOTICE, to.TO_LOCATOR, encode(upu.UpuAdd(**_entry(s.c))))


def _entry(c: Conference) -> dict[str, Any]:
    """What the locator knows of a running conference."""
    return {
        "confE164": c.e164,
        "confname": c.confname,
        "conftype": c.conftype,
        "moid": c.moid,
        "platformmoid": c.platformmoid,
        "running": 1,
    }


def _report_renamed(s: _Sheet, effect: fx.ReportRenamed) -> None:
    s.send(Kind.NOTICE, to.TO_LOCATOR, encode(upu.UpuModify(**_entry(s.c))))


def _report_gone(s: _Sheet, effect: fx.ReportGone) -> None:
    # Its lane there waits for that platform as long as it must: nothing else would ever tell that locator.
    platform = effect.platform or s.c.platformmoid
    body = encode(upu.UpuDelete(confE164=s.c.e164, running=1))
    s.send(Kind.NOTICE, to.TO_LOCATOR, body, platform=platform, lasts=True)


def _save_row(s: _Sheet, effect: fx.SaveRow) -> None:
    c = s.c
    row = ConfinfoRow(c.e164, c.confname, c.password, c.moid, c.source, c.platformmoid, c.ip, c.begintime, c.endtime)
    side = encode_side(s.fields or to_fields(c))
    s.parcel(SQL_LANE).rows.append(RowWrite(c.e164, s.identity[0], s.identity[1], row, side))


def _delete_row(s: _Sheet, effect: fx.DeleteRow) -> None:
    # Above whatever row a failover has made the record forget.
    s.parcel(SQL_LANE).rows.append(RowWrite(s.c.e164, over_by(s.identity[0], s.now_ms), s.identity[1]))


def _free_load(s: _Sheet, effect: fx.FreeLoad) -> None:
    s.parcel(LOAD_LANE, effect.platform).bookings.append((effect.ip, effect.token))


def _take_load(s: _Sheet, effect: fx.TakeLoad) -> None:
    s.parcel(TAKE_LANE, effect.platform).bookings.append((effect.ip, effect.token))


def _note(s: _Sheet, effect: fx.Note) -> None:
    epoch, version, _ = s.identity
    mark = f"{epoch}.{version}"
    step = LedgerStep(effect.recovery, s.c.e164, mark, s.now_ms, effect.text, effect.joins, effect.settled)
    s.parcel(LEDGER_LANE, keeper_of(effect.recovery)).steps.append(step)


def _bill(s: _Sheet, effect: fx.Bill) -> None:
    c = s.c
    message = reports.BillNotice(
        confE164=c.e164,
        confname=c.confname,
        moid=c.moid,
        srcplatformmoid=c.source,
        platformmoid=c.platformmoid,
        begintime=c.begintime,
        endtime=effect.endtime,
        reason=effect.reason.value,
    )
    s.send(Kind.NOTICE, to.TO_BILLING, encode(message))


def encode_side(fields: dict[str, str]) -> str:
    """A record's fields as the text that lies beside its row."""
    return _json.encode(fields).decode()


_json = msgspec.json.Encoder()

_WRITERS: dict[type[fx.Effect], Callable[[_Sheet, Any], None]] = {
    fx.AskResources: _ask_resources,
    fx.AskMcuToCreate: _ask_mcu_to_create,
    fx.AskMcuToRestore: _ask_mcu_to_restore,
    fx.ReleaseOnMcu: _release_on_mcu,
    fx.TellRestored: _tell_restored,
    fx.WarnOfEnd: _warn_of_end,
    fx.AnswerCreated: _answer_created,
    fx.AnswerRefused: _answer_refused,
    fx.AnswerReleased: _answer_released,
    fx.AnswerDelayed: _answer_delayed,
    fx.AnswerNotDelayed: _answer_not_delayed,
    fx.TellDelayed: _tell_delayed,
    fx.TellMcuDelayed: _tell_mcu_delayed,
    fx.TellReleased: _tell_released,
    fx.StopMonitorOnMcu: _stop_monitor_on_mcu,
    fx.TellMonitorStopped: _tell_monitor_stopped,
    fx.ReportRunning: _report_running,
    fx.ReportRenamed: _report_renamed,
    fx.ReportGone: _report_gone,
    fx.SaveRow: _save_row,
    fx.DeleteRow: _delete_row,
    fx.FreeLoad: _free_load,
    fx.TakeLoad: _take_load,
    fx.Note: _note,
    fx.Bill: _bill,
}
