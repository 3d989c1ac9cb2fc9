"""What changes after the start: broadcasts of the PMS, rooms, addresses (seed 1.2, 2.2, 2.3)."""

from __future__ import annotations

from typing import Any

from tests.handlers.pms_world import (
    MAIN,
    OWN,
    POLL_SECONDS,
    REFRESH_SECONDS,
    mq,
    redis,
)
from tests.handlers.startupcase import StartupCase


class Broadcasts(StartupCase):
    def test_main_abnormal_and_normal_again(self) -> None:
        self.world.start()
        self.pms.platform(MAIN, "abnormal")
        self.world.settle()
        self.assertEqual(self.world.changes[-1][1].entered, (MAIN,))
        self.assertTrue(self.startup.platforms().serves(MAIN))
        self.pms.platform(MAIN, "normal")
        self.world.settle()
        self.assertEqual(self.world.changes[-1][1].left, (MAIN,))

    def test_twice_and_an_old_one(self) -> None:
        self.world.start()
        told = len(self.world.changes)
        self.pms.platform(MAIN, "abnormal", seq=7)
        self.pms.platform(MAIN, "abnormal", seq=7)
        self.pms.platform(MAIN, "normal", seq=6)
        self.world.settle()
        self.assertEqual(len(self.world.changes), told + 1)
        self.assertTrue(self.startup.platforms().serves(MAIN))

    def test_older_answer(self) -> None:
        self.world.start()
        self.pms.platform(OWN, "abnormal", seq=9)
        self.world.settle()
        self.pms.states(own="normal", seq=8)
        self.world.settle(3 * POLL_SECONDS)
        self.assertTrue(self.startup.platforms().own_abnormal)
        self.pms.states(own="normal", seq=10)
        self.world.settle(2 * POLL_SECONDS)
        self.assertFalse(self.startup.platforms().own_abnormal)

    def test_asked_again_after_each_reconnect(self) -> None:
        self.world.start()
        self.pms.states(main="abnormal")
        self.world.bus.drop_link()
        self.world.settle(20)
        self.assertEqual(self.state_questions(), 2)
        self.assertTrue(self.startup.platforms().serves(MAIN))
        self.pms.platform(MAIN, "normal")
        self.world.settle()
        self.assertFalse(self.startup.platforms().serves(MAIN))


class Rooms(StartupCase):
    def test_listed_by_an_answer(self) -> None:
        self.pms.states(rooms=[{"moid": "r1", "state": "abnormal"}, {"moid": "r2", "state": "normal"}])
        self.world.start()
        self.assertEqual(self.rooms(), {"r1"})
        self.pms.states(rooms=[{"moid": "r2", "state": "abnormal"}])
        self.world.settle(REFRESH_SECONDS + 1)
        self.world.settle()
        self.assertEqual(self.rooms(), {"r2"})

    def test_a_broadcast_overtakes_an_older_answer(self) -> None:
        """The room stays as it was told last, also if that could not be written yet; the PMS is asked again at once."""
        self.pms.states(rooms=[])
        self.world.start()
        for away in (False, True):
            asked = self.state_questions()
            self.pms.overtaking_room = f"r{away}"
            if away:
                self.world.own_redis.fail()
            self.world.settle(REFRESH_SECONDS + 0.1)
            self.world.own_redis.recover()
            self.assertEqual(self.state_questions() - asked, 2, away)
            self.world.settle(REFRESH_SECONDS + 1 if away else 0.5)
            self.assertEqual(self.rooms(), {f"r{away}"})

    def test_answer_without_rooms_keeps_the_list(self) -> None:
        self.world.start()
        self.pms.room("r1", "abnormal")
        self.world.settle(REFRESH_SECONDS + 1)
        self.assertEqual(self.rooms(), {"r1"})

    def test_broadcasts_are_told_once(self) -> None:
        told: list[tuple[str, bool]] = []
        self.world.rooms.on_change(lambda room, abnormal: told.append((room, abnormal)))
        self.world.start()
        for state, seq in (("abnormal", 2), ("abnormal", 2), ("normal", 1), ("normal", 3)):
            self.pms.room("r1", state, seq=seq)
            self.world.settle()
        self.assertEqual(told, [("r1", True), ("r1", False)])

    def test_written_when_redis_is_back(self) -> None:
        self.world.start()
        self.world.own_redis.fail()
        self.pms.room("r1", "abnormal")
        self.world.settle()
        self.world.own_redis.recover()
        self.world.settle(REFRESH_SECONDS + 1)
        self.assertEqual(self.rooms(), {"r1"})


class ChangedAddresses(StartupCase):
    def refresh(self) -> None:
        self.world.settle(REFRESH_SECONDS + 1)

    def test_unchanged_ones_are_kept(self) -> None:
        self.world.start()
        made = list(self.world.connector.made)
        self.refresh()
        self.assertEqual(self.world.connector.made, made)

    def test_broker(self) -> None:
        self.world.start()
        old = self.world.links.peers[MAIN]
        self.pms.configs[MAIN]["mq"] = [mq("10.0.1.9")]
        self.refresh()
        self.world.settle()
        self.assertFalse(old.connected)
        self.assertTrue(self.world.links.peers[MAIN].connected)
        self.assertEqual(self.world.connector.made[-1], ("bus", "10.0.1.9"))

    def test_redis(self) -> None:
        self.world.start()
        stores = self.world.links.stores
        self.pms.configs[OWN]["redis"] = [redis(MAIN, "10.0.0.3"), redis(OWN, "10.0.0.9")]
        self.refresh()
        self.assertEqual(list(stores), [OWN, MAIN])
        self.assertIs(stores[OWN], self.world.connector.redis["10.0.0.9"])
        self.assertEqual(self.world.connector.dropped, [OWN])

    def test_redis_of_a_platform_in_no_list_is_left_alone(self) -> None:
        self.pms.configs[OWN]["redis"].append(redis("x", "10.0.0.9"))
        self.world.start()
        self.assertEqual(list(self.world.links.stores), [OWN, MAIN])

    def test_platform_that_is_listed_no_more(self) -> None:
        self.world.start()
        state: dict[str, Any] = {"main": [], "backup": []}
        self.pms.state |= state
        self.refresh()
        self.assertEqual((list(self.world.links.stores), list(self.world.links.peers)), ([OWN], []))
