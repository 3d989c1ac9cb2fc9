"""A simulated BMC: domains, licences, bills."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec
from cryptography.fernet import Fernet
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.codec import encode
from css.messages.licences import LicenseNotice, LicenseRequest
from css.messages.reports import BillNotice
from css.peers.inbox import Received
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Route
from css.ports.bus import Binding, Delivery, IBus, Queue, Topology

TO_CSS: Final = ("MAU.BMC.EX", "MAU.BMC.K")
REQUESTS: Final = "BMC.REQ.Q"
BILLS: Final = "BMC.BILL.Q"


class BmcPeer(Peer):
    """Answers `GET_LICENSE_REQ` with tokens under `key`, and keeps bills.

    @ivar licences: the payload (numbers and `expires`) by platform or user domain; who is not in it gets no answer.
    """

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, key: bytes, name: str = "bmc") -> None:
        super().__init__(bus, reactor, random, name)
        self.key = key
        self.licences: dict[str, dict[str, Any]] = {}
        self.mood = Mood()

    def update_licence(self, moid: str, payload: dict[str, Any]) -> None:
        """A platform or user domain has a new licence: note it, and tell CSS."""
        self.licences[moid] = payload
        self.send_token(moid, self.token(payload))

    def send_token(self, moid: str, token: str) -> None:
        """Send any text as a licence, a forged one for instance."""
        self.post(TO_CSS, encode(LicenseNotice(moid, token)))

    def token(self, payload: dict[str, Any], key: bytes | None = None) -> str:
        """A licence as it travels. @param key: another key than the good one."""
        return Fernet(key or self.key).encrypt_at_time(msgspec.json.encode(payload), self.now()).decode()

    def send_domain(self, operation: str, moid: str, **fields: Any) -> None:
        """Tell CSS of a domain. @param operation: `add`, `mod` or `del`. @param fields: `level`, `uplevelmoid`, …"""
        body = {"type": f"DOMAIN_{operation.upper()}_NTF", "moid": moid, **fields}
        self.post(TO_CSS, msgspec.json.encode(body))

    def silent(self) -> None:
        """Answer nobody."""
        self.mood.silent()

    def resume(self) -> None:
        """Answer again."""
        self.mood.resume()

    def bills(self, e164: str = "") -> list[Received]:
        """The bills that came, of one number if given, repeats left out."""
        return self.inbox.all("CONF_BILL_NTF", e164)

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        bindings = (Binding(REQUESTS, "BMC.REQ.EX", "BMC.REQ.K"), Binding(BILLS, "BMC.BILL.EX", "BMC.BILL.K"))
        return Topology(("BMC.REQ.EX", "BMC.BILL.EX", TO_CSS[0]), (Queue(REQUESTS), Queue(BILLS)), bindings)

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {LicenseRequest: self._licence}

    def expected(self, message: Message) -> bool:
        """Bills are only kept."""
        return isinstance(message, BillNotice)

    async def _licence(self, request: LicenseRequest, delivery: Delivery) -> None:
        payload = self.licences.get(request.moid)
        if payload is None or self.mood.next() is not Verdict.SERVE:
            return
        answer = encode(LicenseNotice(request.moid, self.token(payload)))
        await self.send(TO_CSS, answer, correlation_id=delivery.correlation_id)
