"""A simulated CMU process: it runs conferences, reports them, obeys releases and control."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.catalogue import answer_type
from css.messages.codec import encode, wire_type
from css.messages.control import (
    CmControl,
    McuDelayAck,
    McuDelayNack,
    McuDelayRequest,
    McuDurationNotice,
    McuStopMonitorCommand,
    McuTimeoutNotice,
    ModifyNameAck,
    ModifyNameNack,
    ModifyNameRequest,
    StartMonitorRequest,
    StopMonitorRequest,
)
from css.messages.create import McuCreateRequest, McuReleaseCommand, McuReleaseNotice
from css.messages.mcu import (
    ConfListEntry,
    ConfListNotice,
    DisconnectNotice,
    HeartbeatNotice,
    McuRestoreRequest,
    StateChangeNotice,
)
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Route
from css.ports.bus import Delivery, IBus, Queue, Topology

TO_CSS: Final = ("MAU.MCU.EX", "MAU.MCU.K")
Ended = Callable[[str, int], None]


class Running(msgspec.Struct):
    """A conference as its MCU knows it. Times: seconds since the epoch by the MCU's clock; `endtime` 0: none."""

    e164: str
    confname: str
    password: str
    epoch: int
    createtime: int
    endtime: int = 0
    monitors: set[str] = msgspec.field(default_factory=set)
    """Ids of those who monitor it."""


class CmuProcess(Peer):
    """One process of a `CmuHost`.

    @ivar conferences: what runs here, by number; tests may put in or take out what they like.
    @ivar serving: whether its link is up, so that it may be given conferences.
    @ivar controls: how it treats control requests.
    """

    def __init__(
        self,
        bus: IBus,
        reactor: IReactorTime,
        random: Random,
        ip: str,
        pid: str,
        roommoid: str,
        *,
        list_seconds: float = 10.0,
        heartbeat_seconds: float = 5.0,
        knows_epochs: bool = True,
        restarted: bool = False,
        ended: Ended = lambda e164, epoch: None,
    ) -> None:
        super().__init__(bus, reactor, random, f"cmu-{ip}:{pid}", keep=1000)
        self.ip = ip
        self.pid = pid
        self.roommoid = roommoid
        self.list_seconds = list_seconds
        self.heartbeat_seconds = heartbeat_seconds
        self.knows_epochs = knows_epochs
        self.restarted = restarted
        self.conferences: dict[str, Running] = {}
        self.controls = Mood()
        self.serving = False
        self._muted = False
        self._seq = 0
        self._ended = ended

    def start(self) -> None:
        """See `Peer.start`; its first list goes out at once, or as soon as there is a link."""
        super().start()
        self.serving = True
        self.report_list()
        self.later(self.random.uniform(0, self.list_seconds), self._list_tick)
        self.later(self.random.uniform(0, self.heartbeat_seconds), self._heartbeat_tick)

    def stop(self) -> Deferred[None]:
        """See `Peer.stop`."""
        self.serving = False
        return super().stop()

    def crash(self) -> Deferred[None]:
        """Die with all conferences, without a word. @return: fires when it is dead."""
        self.conferences.clear()
        return self.stop()

    def mute(self) -> None:
        """Serve, but report nothing: no lists, no heartbeats."""
        self._muted = True

    def unmute(self) -> None:
        """Report again."""
        self._muted = False
        self.report_list()

    def disconnect(self, tell: bool = True) -> Deferred[None]:
        """Lose the link: conferences go on, nothing comes in or out. @param tell: the link layer notices."""
        self.serving = False
        if tell:
            self.post(TO_CSS, encode(DisconnectNotice(self.ip, self.pid)))
        return self.consume_no_more(list(self._consumers))

    def reconnect(self) -> None:
        """Have the link again, with the list that this demands."""
        self.serving = True
        self.consume(self._queue())
        self.report_list()

    def begin(self, request: McuCreateRequest | McuRestoreRequest) -> Running:
        """Run a conference, in place of an older placement if there is one."""
        now = self.now()
        endtime = request.endtime if isinstance(request, McuRestoreRequest) else 60 * request.duration
        if endtime and isinstance(request, McuCreateRequest):
            endtime += now
        running = Running(request.confE164, request.confname, request.password, request.epoch, now, endtime)
        self.conferences[request.confE164] = running
        return running

    def end(self, e164: str) -> None:
        """A conference ends by itself: CSS gets the end notice."""
        running = self.conferences.pop(e164)
        self._ended(e164, running.epoch)
        self.post(TO_CSS, self._end_notice(e164, running.epoch))

    def change(self, e164: str, confname: str | None = None, password: str | None = None) -> None:
        """A conference gets another name or password: CSS is told."""
        running = self.conferences[e164]
        running.confname = running.confname if confname is None else confname
        running.password = running.password if password is None else password
        self.post(TO_CSS, encode(StateChangeNotice(e164, self.ip, self.pid, confname, password)))

    def tell_cm(self, type: str, e164: str, **more: Any) -> None:
        """Send any `CMU_CM_*_NTF`, or `CMU_CM_*_REQ`, which is answered in this process's queue."""
        fields = {"type": type, "confE164": e164, "ip": self.ip, "pid": self.pid, **more}
        self.post(TO_CSS, msgspec.json.encode(fields), correlation_id=self.new_id(), reply_to=self._queue())

    def ask_for_name(self, e164: str, confname: str) -> None:
        """Ask the CM, through CSS, for another name; it is taken when the CM agrees."""
        wish = ModifyNameRequest(e164, confname, self.ip, self.pid, self.new_id()[:12])
        self.post(TO_CSS, encode(wish), correlation_id=self.new_id(), reply_to=self._queue())

    def ask_for_delay(self, e164: str, minutes: int) -> None:
        """Ask CSS to move a conference's end."""
        wish = McuDelayRequest(e164, self.ip, self.pid, minutes, self.new_id()[:12])
        self.post(TO_CSS, encode(wish), correlation_id=self.new_id(), reply_to=self._queue())

    def report_list(self) -> None:
        """Send the list of conferences now."""
        if not self.serving or self._muted:
            return
        self._seq += 1
        entries = [
            ConfListEntry(running.e164, running.createtime, running.epoch if self.knows_epochs else None)
            for running in self.conferences.values()
        ]
        notice = ConfListNotice(
            self.ip, self.pid, entries, self.roommoid, self.now(), self._seq, restarted=int(self.restarted)
        )
        self.report(TO_CSS, encode(notice))

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology((TO_CSS[0],), (Queue(self._queue()),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {
            McuReleaseCommand: self._release,
            McuDurationNotice: self._new_end,
            McuDelayAck: self._new_end,
            ModifyNameAck: self._new_name,
            CmControl: self._control,
            StartMonitorRequest: self._control,
            StopMonitorRequest: self._control,
            McuStopMonitorCommand: self._stop_monitor,
        }

    def expected(self, message: Message) -> bool:
        """Kept, without consequences."""
        return isinstance(message, McuTimeoutNotice | McuDelayNack | ModifyNameNack)

    def _queue(self) -> str:
        return f"cmu.conf.q:{self.ip}:{self.pid}"

    def _list_tick(self) -> None:
        self.later(self.list_seconds, self._list_tick)
        self.report_list()

    def _heartbeat_tick(self) -> None:
        self.later(self.heartbeat_seconds, self._heartbeat_tick)
        if self.serving and not self._muted:
            self.report(TO_CSS, encode(HeartbeatNotice(self.ip, self.pid, self.roommoid)))

    def _end_notice(self, e164: str, epoch: int | None) -> bytes:
        return encode(McuReleaseNotice(e164, self.ip, self.pid, epoch if self.knows_epochs else None))

    async def _release(self, command: McuReleaseCommand, _: Delivery) -> None:
        running = self.conferences.get(command.confE164)
        epoch = command.epoch
        if running is not None:
            if self.knows_epochs and epoch is not None and epoch != running.epoch:
                return
            epoch = running.epoch
            del self.conferences[command.confE164]
        if epoch is not None:
            self._ended(command.confE164, epoch)
        await self.send(TO_CSS, self._end_notice(command.confE164, epoch))

    async def _new_end(self, notice: McuDurationNotice | McuDelayAck, _: Delivery) -> None:
        if notice.confE164 in self.conferences:
            self.conferences[notice.confE164].endtime = notice.endtime

    async def _new_name(self, agreed: ModifyNameAck, _: Delivery) -> None:
        if agreed.confE164 in self.conferences and agreed.confname:
            self.change(agreed.confE164, confname=agreed.confname)

    async def _control(self, request: CmControl | StartMonitorRequest | StopMonitorRequest, delivery: Delivery) -> None:
        fields = {"confE164": request.confE164, "ip": self.ip, "pid": self.pid, "mtreqid": request.mtreqid}
        verdict = self.controls.next()
        errcode = "" if request.confE164 in self.conferences else "CONF_NOT_FOUND"
        if verdict is Verdict.REJECT:
            errcode = self.controls.errcode
        answer = answer_type(wire_type(request), "NACK" if errcode else "ACK")
        if not errcode and verdict is not Verdict.IGNORE:
            self._monitor(request)
        if answer is None or verdict in (Verdict.IGNORE, Verdict.LOSE_ANSWER):
            return
        body = {"type": answer, **fields, **({"errcode": errcode} if errcode else {})}
        await self.reply(delivery, TO_CSS, msgspec.json.encode(body), self.controls.delay_seconds)

    def _monitor(self, request: CmControl | StartMonitorRequest | StopMonitorRequest) -> None:
        """What an agreed request changes in who monitors its conference."""
        monitors = self.conferences[request.confE164].monitors
        if isinstance(request, StartMonitorRequest):
            monitors.add(request.monitorid)
        elif isinstance(request, StopMonitorRequest):
            monitors.discard(request.monitorid)

    async def _stop_monitor(self, command: McuStopMonitorCommand, _: Delivery) -> None:
        if command.confE164 in self.conferences:
            self.conferences[command.confE164].monitors.discard(command.monitorid)
