"""Answers about conferences of a platform that was taken over, and whose Redis has gone since."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.config import ConfigError, parse
from css.handlers import addresses as to
from css.handlers.others import MOST_WAITING
from css.ports.bus import TryLater
from tests.handlers.site import RMS, SiteCase, resources

MANY = 30
"""More than a consumer has in flight."""


class StoreAway(SiteCase):
    """They must not fill the queues of the own MCUs and of RMS."""

    def given_back(self, handled: list[Deferred[None]]) -> int:
        """How many wait in the queue."""
        results: list[Any] = []
        for each in handled:
            _ = each.addErrback(lambda failure: failure.trap(TryLater)).addCallback(results.append)
        self.assertEqual(len(results), MANY)
        return sum(result is TryLater for result in results)

    def asked_hosts(self) -> list[dict[str, Any]]:
        """What hosts were asked for, of pB's conferences."""
        for number in range(MANY):
            correlation_id = self.ask(e164=f"7{number}", moid="uB")
            self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=correlation_id)
        return [self.asked(f"7{number}")[-1] for number in range(MANY)]

    def test_mcu(self) -> None:
        """Few wait; an own conference's ACK waits as long as it must, and what was dropped is listed."""
        requests = self.asked_hosts()
        own = self.give(self.ask())
        self.site.other.fail()
        handled = []
        for request in requests:
            body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"}
            body |= {key: request[key] for key in ("confE164", "ip", "epoch")}
            correlation_id = f"pB/{request['confE164']}/{request['epoch']}"
            handled.append(self.css.begin(body, to.MCU_QUEUE, correlation_id=correlation_id))
        self.assertEqual(self.given_back(handled), MOST_WAITING)
        self.accept(own)
        self.assertEqual(self.state_of(), "ongoing")
        self.site.other.recover()
        last = requests[-1]
        self.lists(last["ip"], self.entry(last))
        self.assertEqual(self.site.record(last["confE164"], self.site.other)["state"], "ongoing")

    def test_rms(self) -> None:
        """The same; a moment later others may wait."""
        asked = [self.ask(e164=f"7{number}", moid="uB") for number in range(MANY)]
        self.site.other.fail()

        def answer() -> int:
            begin = self.css.begin
            return self.given_back([begin(resources(), to.RMS_REPLY_QUEUE, correlation_id=each) for each in asked])

        self.assertEqual([answer(), answer()], [MOST_WAITING, 0])
        self.site.pass_seconds(2)
        self.assertEqual(answer(), MOST_WAITING)

    def test_fewer_than_a_consumer_has_in_flight(self) -> None:
        """However few that are: half of them at least is left to others."""
        config = '[platform]\nmoid = "pA"\n[amqp]\nurl = "memory:"\nprefetch = {}\n'
        self.assertTrue(parse(config.format(2 * MOST_WAITING), "css.toml"))
        self.assertRaises(ConfigError, parse, config.format(2 * MOST_WAITING - 1), "css.toml")

    def test_own_store(self) -> None:
        """All wait: it is needed for everything."""
        self.ask()
        correlation_id = self.site.letters(RMS)[0].correlation_id
        self.site.store.fail()
        handled = [self.css.begin(resources(), to.RMS_REPLY_QUEUE, correlation_id=correlation_id) for _ in range(MANY)]
        self.assertEqual(self.given_back(handled), MANY)

    def test_own_store_needed_for_others(self) -> None:
        """For the MCUs' places, say: theirs is there, so nothing but the own one keeps them, and none is dropped."""
        asked = [self.ask(e164=f"7{number}", moid="uB") for number in range(MANY)]
        self.site.store.fail()
        begin = self.css.begin
        handled = [begin(resources(), to.RMS_REPLY_QUEUE, correlation_id=each) for each in asked]
        self.assertEqual((self.given_back(handled), self.css.tally["others_answers_dropped"]), (MANY, 0))
