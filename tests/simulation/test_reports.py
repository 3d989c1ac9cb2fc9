"""What the simulation demands of requests, without a world that goes on."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Attempt, Requester
from css.handlers.effects import remembered
from css.ports.bus import Outgoing
from css.ports.store import Commit, CommitResult, Outcome
from css.simulation.reports import RequestsAnswered
from css.simulation.world import Committed, Shape, World

E164, KEPT_SECONDS = "0060001", 600.0


class RepeatedTests(SynchronousTestCase):
    """A create that its CM repeats after a while."""

    def setUp(self) -> None:
        self.world = World(1, Shape())
        (self.moid,) = self.world.sites
        self.cm = self.world.sites[self.moid].cms[0]
        self.checker = RequestsAnswered(self.world)

    def ask(self) -> None:
        """The request reaches the broker."""
        fields = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": "n", "moid": "d", "mtreqid": "m"}
        body = msgspec.json.encode(fields)
        request = Outgoing("MAU.CM.EX", "MAU.CM.K", body, "request-1", "c-1", self.cm.reply_queue)
        self.checker.published(self.moid, request, True)

    def make(self, epoch: str, type_name: str, errcode: str = "") -> None:
        """CSS makes a conference for it, and answers."""
        requester = Requester(request_key=self.checker.asked["c-1"].key)
        fields = {"type": type_name, "confE164": E164, "mtreqid": "m"} | ({"errcode": errcode} if errcode else {})
        answer = Outgoing("", self.cm.reply_queue, msgspec.json.encode(fields), f"answer-{epoch}", "c-1")
        attempt = msgspec.json.encode(Attempt(0, requester)).decode()
        commit = Commit(
            e164=E164,
            set_fields={"first_epoch": epoch, "state": "creating", "attempt": attempt},
            answers=(remembered(requester, answer),),
        )
        keys = self.world.redis[self.moid].store.server.keyspace
        self.checker.committed(Committed(self.moid, commit, {}, CommitResult(Outcome.DONE), keys))
        self.checker.published(self.moid, answer, True)

    def repeat_after(self, seconds: float) -> list[str]:
        """It is asked and answered twice, differently. @return: what is wrong with that."""
        self.ask()
        self.make("1", "MAU_CM_CREATECONF_ACK")
        self.world.timeline.now += seconds
        self.ask()
        self.make("2", "MAU_CM_CREATECONF_NACK", "MCU_TIMEOUT")
        return [each.code for each in self.world.violations]

    def test_within_ten_minutes(self) -> None:
        """It is the same request: neither may it begin again, nor be answered otherwise."""
        self.assertEqual(self.repeat_after(KEPT_SECONDS - 2), ["I1", "I1"])

    def test_later(self) -> None:
        """It is another one."""
        self.assertEqual(self.repeat_after(KEPT_SECONDS + 2), [])
