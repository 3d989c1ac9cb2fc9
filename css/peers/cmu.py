"""A simulated CMU host: it takes conferences and gives them to its processes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.codec import encode
from css.messages.create import McuCreateAck, McuCreateNack, McuCreateRequest
from css.messages.mcu import McuRestoreRequest, RestoreAck, RestoreNack
from css.peers.cmu_process import TO_CSS, CmuProcess, Running
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Route
from css.ports.bus import Delivery, IBus, Queue, Topology

REMEMBERED_ENDS = 10_000

Placement = McuCreateRequest | McuRestoreRequest


class CmuHost(Peer):
    """An MCU host, `cmu.conf.q:<ip>`, and its processes.

    It does what a CMU owes to CSS: a list on connect and every `list_seconds`, heartbeats, epochs echoed, a request
    repeated is answered again without being done again, one that is older than what it knows is refused.

    @ivar mood: how it treats create and restore requests: `mood.reject("FULL", times=1)`, `mood.silent()`, ….
    @ivar processes: by pid, dead ones left out.
    """

    def __init__(
        self,
        bus: IBus,
        reactor: IReactorTime,
        random: Random,
        ip: str,
        roommoid: str,
        pids: Sequence[str] = ("1",),
        *,
        capacity: int | None = None,
        list_seconds: float = 10.0,
        heartbeat_seconds: float = 5.0,
        knows_epochs: bool = True,
    ) -> None:
        super().__init__(bus, reactor, random, f"cmu-{ip}")
        self.ip = ip
        self.roommoid = roommoid
        self.capacity = capacity
        self.list_seconds = list_seconds
        self.heartbeat_seconds = heartbeat_seconds
        self.knows_epochs = knows_epochs
        self.mood = Mood()
        self.processes = {pid: self._new_process(pid) for pid in pids}
        self._ends: OrderedDict[str, int] = OrderedDict()
        bus.on_state_change(self._link_changed)

    @property
    def conferences(self) -> dict[str, Running]:
        """What runs here, on whatever process, by number."""
        return {e164: run for process in self.processes.values() for e164, run in process.conferences.items()}

    def start(self) -> None:
        """See `Peer.start`."""
        super().start()
        for process in self.processes.values():
            process.start()

    def stop(self) -> Deferred[None]:
        """See `Peer.stop`."""
        stopped = [process.stop() for process in self.processes.values()]
        return gatherResults([*stopped, super().stop()]).addCallback(lambda _: None)

    def crash(self) -> Deferred[None]:
        """The whole host dies, with all conferences, without a word. @return: fires when it is dead."""
        crashed = [process.crash() for process in self.processes.values()]
        self.processes.clear()
        return gatherResults([*crashed, super().stop()]).addCallback(lambda _: None)

    def restart(self, pids: Sequence[str] = ()) -> None:
        """Come back empty after a crash, with these processes, else with one of a new pid."""
        for pid in pids or (str(self.random.randrange(10_000, 100_000)),):
            self.processes[pid] = self._new_process(pid, restarted=True)
        self.start()

    def add_process(self, pid: str) -> CmuProcess:
        """One more process, to be started with the host."""
        process = self.processes[pid] = self._new_process(pid)
        return process

    def crash_process(self, pid: str) -> Deferred[None]:
        """One process dies. @return: fires when it is dead."""
        return self.processes.pop(pid).crash()

    def start_process(self, pid: str, restarted: bool = False) -> CmuProcess:
        """A process begins, empty. @param restarted: it says that it replaces all others of the host."""
        process = self.processes[pid] = self._new_process(pid, restarted)
        process.start()
        return process

    def mute(self) -> None:
        """Serve, but report nothing."""
        for process in self.processes.values():
            process.mute()

    def unmute(self) -> None:
        """Report again."""
        for process in self.processes.values():
            process.unmute()

    def disconnect(self, tell: bool = True) -> Deferred[None]:
        """Every process loses its link, and the host its queue. @param tell: the link layer notices."""
        gone = [process.disconnect(tell) for process in self.processes.values()]
        return gatherResults([*gone, self.consume_no_more([self._queue()])]).addCallback(lambda _: None)

    def reconnect(self) -> None:
        """Have the links again."""
        self.consume(self._queue())
        for process in self.processes.values():
            process.reconnect()

    def end(self, e164: str) -> None:
        """A conference ends by itself."""
        self.process_of(e164).end(e164)

    def process_of(self, e164: str) -> CmuProcess:
        """The process that runs a conference. @raise KeyError: none does."""
        process = self._holder(e164)
        if process is None:
            raise KeyError(e164)
        return process

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology((TO_CSS[0],), (Queue(self._queue()),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {McuCreateRequest: self._place, McuRestoreRequest: self._place}

    async def _place(self, request: Placement, delivery: Delivery) -> None:
        verdict = self.mood.next()
        if verdict is Verdict.IGNORE:
            return
        errcode = self.mood.errcode if verdict is Verdict.REJECT else self._refusal(request)
        process = None if errcode else self._run(request)
        if process is None and not errcode:
            return
        if verdict is not Verdict.LOSE_ANSWER:
            answer = self._answer(request, process, errcode)
            await self.reply(delivery, TO_CSS, encode(answer), self.mood.delay_seconds)

    def _refusal(self, request: Placement) -> str:
        holder = self._holder(request.confE164)
        if holder is not None:
            newest = holder.conferences[request.confE164].epoch
            return "STALE" if self.knows_epochs and request.epoch < newest else ""
        if self.knows_epochs and request.epoch <= self._ends.get(request.confE164, -1):
            return "ENDED"
        running = sum(len(process.conferences) for process in self.processes.values())
        return "FULL" if self.capacity is not None and running >= self.capacity else ""

    def _run(self, request: Placement) -> CmuProcess | None:
        """@return: the process that runs it, now or already; None: there is no process that could."""
        holder = self._holder(request.confE164)
        if holder is not None:
            running = holder.conferences[request.confE164]
            if request.epoch > running.epoch:
                if self.knows_epochs:
                    holder.begin(request)
                else:
                    # To it the two are one: what runs is from now on what it was asked for last.
                    running.epoch = request.epoch
            return holder
        serving = [process for process in self.processes.values() if process.serving]
        if not serving:
            return None
        chosen = min(serving, key=lambda process: len(process.conferences))
        chosen.begin(request)
        return chosen

    def _answer(self, request: Placement, process: CmuProcess | None, errcode: str) -> Message:
        epoch = request.epoch if self.knows_epochs else None
        restore = isinstance(request, McuRestoreRequest)
        if process is None:
            return (RestoreNack if restore else McuCreateNack)(request.confE164, self.ip, errcode, epoch)
        return (RestoreAck if restore else McuCreateAck)(request.confE164, self.ip, process.pid, epoch, self.now())

    def _holder(self, e164: str) -> CmuProcess | None:
        return next((process for process in self.processes.values() if e164 in process.conferences), None)

    def _has_ended(self, e164: str, epoch: int) -> None:
        self._ends[e164] = max(epoch, self._ends.pop(e164, -1))
        if len(self._ends) > REMEMBERED_ENDS:
            self._ends.popitem(last=False)

    def _queue(self) -> str:
        return f"cmu.conf.q:{self.ip}"

    def _link_changed(self, connected: bool) -> None:
        if connected:
            for process in self.processes.values():
                process.report_list()

    def _new_process(self, pid: str, restarted: bool = False) -> CmuProcess:
        return CmuProcess(
            self.bus,
            self.reactor,
            self.random,
            self.ip,
            pid,
            self.roommoid,
            list_seconds=self.list_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            knows_epochs=self.knows_epochs,
            restarted=restarted,
            ended=self._has_ended,
        )
