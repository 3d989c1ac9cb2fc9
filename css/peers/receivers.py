"""Simulated MS and network management: peers that mostly receive."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.codec import encode
from css.messages.licences import LicenseAck, LicenseNack, LicenseRequest, PlatformLicenseNotice
from css.messages.reports import StatusNotice
from css.peers.inbox import Received
from css.peers.peer import Peer, Route
from css.ports.bus import Binding, IBus, Queue, Topology

TO_CSS: Final = ("MAU.LICENSE.EX", "MAU.LICENSE.K")
STATUS: Final = "nms.report.q"


class MsPeer(Peer):
    """A media or access server: it asks for the licence and is told of changes."""

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str = "ms") -> None:
        super().__init__(bus, reactor, random, name)
        self.queue = f"platform.license.q:{name}"

    def ask(self, moid: str, with_reply_to: bool = True) -> Deferred[dict[str, Any]]:
        """Ask CSS for a platform's licence. @return: fires with the answer's fields."""
        return self._ask(moid, with_reply_to, "GET_LICENSE_ACK")

    def ask_in_vain(self, moid: str, with_reply_to: bool = True) -> Deferred[dict[str, Any]]:
        """The same for a licence that CSS does not give. @return: fires with the refusal's fields."""
        return self._ask(moid, with_reply_to, "GET_LICENSE_NACK")

    def _ask(self, moid: str, with_reply_to: bool, wanted: str) -> Deferred[dict[str, Any]]:
        asked = self.inbox.count(wanted)
        properties = {"reply_to": self.queue, "correlation_id": self.new_id()} if with_reply_to else {}
        self.post(TO_CSS, encode(LicenseRequest(moid)), **properties)
        return self.inbox.wait_for(wanted, count=asked + 1).addCallback(_fields)

    def notices(self) -> list[dict[str, Any]]:
        """Each `PLATFORM_LICENSE_NTF`, oldest first."""
        return [received.fields for received in self.inbox.all("PLATFORM_LICENSE_NTF")]

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        binding = Binding(self.queue, "platform.license.ex", "platform.license.ntf.k")
        return Topology(("platform.license.ex", TO_CSS[0]), (Queue(self.queue),), (binding,))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {}

    def expected(self, message: Message) -> bool:
        """Licences are only kept."""
        return isinstance(message, LicenseAck | LicenseNack | PlatformLicenseNotice)


class NmsPeer(Peer):
    """Network management: keeps status reports."""

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str = "nms") -> None:
        super().__init__(bus, reactor, random, name)

    def latest(self) -> dict[str, dict[str, Any]]:
        """The newest report of each instance, by its name."""
        reports = (received.fields for received in self.inbox.all("CSS_STATUS_NTF"))
        return {report["instance"]: report for report in reports}

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology(("nms.report.ex",), (Queue(STATUS),), (Binding(STATUS, "nms.report.ex", "nms.report.k"),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {}

    def expected(self, message: Message) -> bool:
        """Reports are only kept."""
        return isinstance(message, StatusNotice)


def _fields(received: Received) -> dict[str, Any]:
    return received.fields
