"""Start-up with the PMS (seed 2.2), and each thing that can fail in it."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from css.domain.platforms import PlatformState
from css.handlers import addresses as to
from css.handlers.startup import DATABASE_WAIT_SECONDS, Phase
from css.ports.bus import Delivery
from css.ports.sql import DomainRow
from tests.handlers.pms_world import (
    BACKUP,
    MAIN,
    OWN,
    POLL_SECONDS,
    REFRESH_SECONDS,
    TIMEOUT_SECONDS,
    PmsWorld,
)
from tests.handlers.startupcase import CONFIG, STATE, StartupCase


class NormalStart(StartupCase):
    def test_questions_in_the_order_of_the_seed(self) -> None:
        self.world.start()
        self.assertEqual(self.pms.asked, [(STATE, OWN), (CONFIG, MAIN), (CONFIG, BACKUP), (CONFIG, OWN)])
        self.assertEqual(self.world.phases, [Phase.CONNECTING, Phase.SERVING])

    def test_links(self) -> None:
        self.world.start()
        links = self.world.links
        self.assertEqual(list(links.stores), [OWN, MAIN])
        self.assertEqual(list(links.peers), [MAIN, BACKUP])
        self.assertTrue(all(bus.connected for bus in links.peers.values()))
        self.assertIs(links.database, self.world.connector.database)
        self.assertIsNotNone(links.state)

    def test_main_that_is_abnormal_is_served_from_the_start(self) -> None:
        self.pms.states(main="abnormal")
        self.world.start()
        self.assertEqual(self.startup.platforms().service, (OWN, MAIN))
        self.assertIn((OWN, MAIN), [platforms.service for platforms, _ in self.world.changes])

    def test_asked_again_at_the_slow_pace(self) -> None:
        self.world.start()
        self.world.settle(POLL_SECONDS + 1)
        self.assertEqual(self.state_questions(), 1)
        self.world.settle(REFRESH_SECONDS)
        self.assertEqual(self.state_questions(), 2)

    def test_before_it_serves_the_own_platform_counts_as_abnormal(self) -> None:
        self.assertTrue(self.startup.platforms().own_abnormal)
        self.world.start()
        self.assertFalse(self.startup.platforms().own_abnormal)
        self.assertTrue(self.world.changes[-1][1].own_became_normal)


class SilentPms(StartupCase):
    def test_nothing_begins_and_it_is_asked_again(self) -> None:
        self.pms.silent = True
        self.world.start()
        self.world.settle(TIMEOUT_SECONDS + 2 * POLL_SECONDS)
        self.assertEqual(self.startup.phase, Phase.ASKING)
        self.assertGreaterEqual(self.state_questions(), 2)
        self.assertEqual(self.world.connector.made, [])
        self.pms.silent = False
        self.world.settle(POLL_SECONDS + TIMEOUT_SECONDS)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_asked_at_the_pace_of_the_polls_however_long_an_answer_is_waited_for(self) -> None:
        self.pms.silent = True
        self.world.start()
        self.world.settle(5 * POLL_SECONDS)
        self.assertIn(self.state_questions(), (5, 6))

    def test_asked_while_an_answer_is_awaited_for_longer_and_any_answer_counts(self) -> None:
        self.end()
        self.world = PmsWorld(timeout_seconds=4 * POLL_SECONDS)
        self.pms, self.startup = self.world.pms, self.world.startup
        self.pms.silent = True
        self.world.start()
        self.world.settle(2.5 * POLL_SECONDS)
        self.assertEqual(self.state_questions(), 3)
        self.pms.silent = False
        late = json.dumps(self.pms.state_notice()).encode()
        _ = Deferred.fromCoroutine(self.pms.reply(self.pms.requests[0], late))
        self.world.settle()
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_no_queue_of_the_pms(self) -> None:
        _ = self.pms.bus.stop()
        self.world.settle()
        self.world.broker.delete_queue(f"monitor.req.q:{OWN}")
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.ASKING)
        self.pms.bus.start()
        self.world.settle(2 * POLL_SECONDS)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_configuration_of_a_peer_is_not_told(self) -> None:
        config = self.pms.configs.pop(MAIN)
        self.world.start()
        self.world.settle(TIMEOUT_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertEqual(list(self.world.links.peers), [BACKUP])
        self.pms.configs[MAIN] = config
        self.world.settle(POLL_SECONDS + 1)
        self.assertIn(MAIN, self.world.links.peers)

    def test_own_configuration_is_not_told(self) -> None:
        config = self.pms.configs.pop(OWN)
        self.world.start()
        self.world.settle(TIMEOUT_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.CONNECTING)
        self.pms.configs[OWN] = config
        self.world.settle(POLL_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_silence_later_changes_nothing(self) -> None:
        self.pms.states(main="abnormal")
        self.world.start()
        self.pms.silent = True
        self.world.settle(REFRESH_SECONDS + 10 * POLL_SECONDS)
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertEqual(self.startup.platforms().service, (OWN, MAIN))


class BadAnswers(StartupCase):
    def answer_with(self, body: bytes) -> None:
        self.pms.body = body
        self.world.start()
        self.world.settle(TIMEOUT_SECONDS + 1)

    def test_no_json(self) -> None:
        self.answer_with(b"\xff no JSON")
        self.assertEqual(self.startup.phase, Phase.ASKING)
        parked = self.world.broker.messages(to.PARK_QUEUE)
        self.assertEqual(parked[0].body, b"\xff no JSON")
        self.assertEqual(parked[0].headers["x-css-queue"], "MAU.RPCPLATINFO.Q:css-1")
        self.assertIn("bad_json", parked[0].headers["x-css-reason"])

    def test_unknown_state(self) -> None:
        self.answer_with(b'{"type": "PLATFORM_STATE_NOTIFY", "moid": "%s", "state": "fine"}' % OWN.encode())
        self.assertEqual(self.startup.phase, Phase.ASKING)
        self.assertEqual(self.world.broker.queue_length(to.PARK_QUEUE), 1)

    def test_about_another_platform(self) -> None:
        self.answer_with(b'{"type": "PLATFORM_STATE_NOTIFY", "moid": "x", "state": "normal", "main": [], "backup": []}')
        self.assertEqual(self.startup.phase, Phase.ASKING)
        self.assertEqual(self.world.tally["pms_replies_dropped"], 1)
        self.assertEqual(self.world.broker.queue_length(to.PARK_QUEUE), 0)

    def test_of_another_kind(self) -> None:
        self.answer_with(b'{"type": "PLATFORM_CONFIG_NOTIFY", "moid": "%s", "mq": []}' % OWN.encode())
        self.assertEqual(self.startup.phase, Phase.ASKING)
        self.assertEqual(self.world.tally["pms_replies_dropped"], 1)

    def test_without_lists(self) -> None:
        self.answer_with(b'{"type": "PLATFORM_STATE_NOTIFY", "moid": "%s", "state": "normal"}' % OWN.encode())
        self.assertEqual(self.startup.phase, Phase.ASKING)

    def test_that_nobody_awaits(self) -> None:
        self.world.start()
        self.pms.reply_queue = "MAU.RPCPLATINFO.Q:css-1"
        body = json.dumps({"type": "PLATFORM_STATE_NOTIFY", **self.pms.state, "state": "abnormal"}).encode()
        late = Delivery("", b"", correlation_id="run-1.pms.1")
        _ = Deferred.fromCoroutine(self.pms.reply(late, body))
        self.world.settle()
        self.assertFalse(self.startup.platforms().own_abnormal)
        self.assertEqual(self.world.tally["pms_replies_dropped"], 1)


class SharedReplyQueue(StartupCase):
    def test_pms_that_knows_only_the_seeds_queue(self) -> None:
        self.pms.reply_queue = "MAU.RPCPLATINFO.Q"
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_pms_that_sends_no_correlation_id_either(self) -> None:
        self.pms.reply_queue, self.pms.echo = "MAU.RPCPLATINFO.Q", False
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertEqual(list(self.world.links.peers), [MAIN, BACKUP])


class OwnPlatformAbnormal(StartupCase):
    def test_abnormal_first_then_normal(self) -> None:
        self.pms.states(own="abnormal")
        self.world.start()
        self.assertEqual(self.world.phases, [Phase.ABNORMAL])
        self.assertEqual([each for each in self.world.connector.made if each[0] == "bus"], [])
        self.assertEqual(self.pms.asked, [(STATE, OWN), (CONFIG, OWN)])
        self.assertTrue(self.startup.platforms().own_abnormal)
        self.pms.states(own="normal")
        self.world.settle(POLL_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertFalse(self.startup.platforms().own_abnormal)

    def test_a_broadcast_overtakes_an_older_answer(self) -> None:
        """It is not taken back: that would hold until the PMS is asked the next time. It is asked again at once."""
        self.pms.states(main="abnormal")
        self.world.start()
        self.pms.overtaking = "normal"
        asked, told = len(self.pms.asked), len(self.world.changes)
        self.world.settle(REFRESH_SECONDS + 0.1)
        self.assertEqual([change.left for _, change in self.world.changes[told:]], [(MAIN,)])
        self.assertEqual(self.pms.asked[asked:].count((STATE, OWN)), 2)

    def test_normal_again_by_broadcast_is_acted_on_at_once(self) -> None:
        self.pms.states(own="abnormal")
        self.world.start()
        self.pms.states(own="normal")
        self.pms.platform(OWN, "normal")
        self.world.settle(1)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_while_its_redis_is_away_it_stays_abnormal_for_the_handlers(self) -> None:
        self.pms.states(own="abnormal")
        self.world.start()
        self.world.own_redis.fail()
        self.pms.states(own="normal")
        self.world.settle(POLL_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.ABNORMAL)
        self.assertTrue(self.startup.platforms().own_abnormal)

    def test_later_service_goes_on_with_what_is_connected(self) -> None:
        self.world.start()
        made = list(self.world.connector.made)
        self.pms.platform(OWN, "abnormal")
        self.world.settle()
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertTrue(self.startup.platforms().own_abnormal)
        self.assertTrue(self.world.changes[-1][1].own_became_abnormal)
        self.pms.platform(OWN, "normal")
        self.world.settle()
        self.assertTrue(self.world.changes[-1][1].own_became_normal)
        self.assertEqual(self.world.connector.made, made)


class ThingsThatAreAway(StartupCase):
    def test_broker_of_a_peer(self) -> None:
        broker = self.world.connector.broker("10.0.1.1")
        broker.stop()
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertFalse(self.world.links.peers[MAIN].connected)
        broker.start()
        self.world.settle(60)
        self.assertTrue(self.world.links.peers[MAIN].connected)

    def test_own_redis(self) -> None:
        self.world.own_redis.fail()
        self.world.start()
        self.world.settle(10)
        self.assertEqual(self.startup.phase, Phase.CONNECTING)
        self.world.own_redis.recover()
        self.world.settle(2)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def warnings(self, when: Callable[[], None]) -> list[str]:
        """What is logged as a warning while something happens."""
        with capturedLogs() as events:
            when()
        return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]

    def test_link_that_is_still_coming_up_costs_no_second_and_is_no_news(self) -> None:
        """A link to Redis begins with the answer of the PMS: the first look is always too early."""

        self.world.connector.database.domain_rows["u"] = DomainRow("u", 0, OWN, "用户域")

        def begin() -> None:
            self.world.own_redis.fail()
            self.world.start()
            self.assertEqual(self.startup.phase, Phase.CONNECTING)
            self.world.own_redis.recover()
            self.world.settle(0.25)

        self.assertEqual(self.warnings(begin), [])
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_own_redis_that_is_away_is_told_once(self) -> None:
        self.world.own_redis.fail()

        def begin() -> None:
            self.world.start()
            self.world.settle(10)

        told = [line for line in self.warnings(begin) if "own Redis" in line]
        self.assertEqual(told, ["waiting for the own Redis: the store is failing"])

    def test_own_redis_hangs(self) -> None:
        self.world.own_redis.hang()
        self.world.start()
        self.world.settle(10)
        self.assertEqual(self.startup.phase, Phase.CONNECTING)
        self.world.own_redis.recover()
        self.world.settle(4)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_redis_of_a_main_that_is_served(self) -> None:
        self.pms.states(main="abnormal")
        self.world.main_redis.fail()
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertEqual(list(self.world.links.stores), [OWN, MAIN])

    def test_sql(self) -> None:
        database = self.world.connector.database
        database.fail()
        database.domain_rows["u"] = DomainRow("u", 0, OWN, "用户域")
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertIsNone(self.world.links.database)
        database.recover()
        self.world.settle(POLL_SECONDS + 1)
        self.assertIs(self.world.links.database, database)

    def test_sql_that_is_coming_up_is_waited_for(self) -> None:
        """On a new, empty Redis the domains are only in SQL: who served before would refuse all that waits."""
        database = self.world.connector.database
        database.hang()
        database.domain_rows["u"] = DomainRow("u", 0, OWN, "用户域")
        self.world.start()
        self.assertEqual(self.startup.phase, Phase.CONNECTING)
        database.recover()
        self.world.settle(0.25)
        self.assertEqual(self.startup.phase, Phase.SERVING)
        self.assertIsNotNone(self.world.domains.current()[0].get("u"))

    def test_sql_that_hangs_does_not_stop_the_start(self) -> None:
        self.world.connector.database.hang()
        self.addCleanup(self.world.connector.database.recover)
        self.world.start()
        self.world.settle(DATABASE_WAIT_SECONDS + 1)
        self.assertEqual(self.startup.phase, Phase.SERVING)

    def test_own_broker(self) -> None:
        self.world.broker.stop()
        self.world.start()
        self.assertEqual(self.pms.asked, [])
        self.world.broker.start()
        self.world.settle(60)
        self.assertEqual(self.startup.phase, Phase.SERVING)


class Stop(StartupCase):
    def test_before_the_pms_has_answered(self) -> None:
        self.pms.silent = True
        self.world.start()
        self.world.stop()
        self.world.settle(5 * POLL_SECONDS)
        self.assertEqual(self.state_questions(), 1)
        self.assertEqual(self.startup.platforms().own_state, PlatformState.ABNORMAL)
