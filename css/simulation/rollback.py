"""Fault 11: a Redis that loses the last moments of what it had acknowledged, as a failover does, or a torn AOF."""

from __future__ import annotations

from css.simulation.fault import Fault, Heal
from css.simulation.world import Site, World

LOST_SECONDS = (0.01, 2.0)
"""How much of the last writes is lost."""
FAILOVER_SECONDS = (0.02, 3.0)
"""How long nobody answers then."""
OTHER_CLOCK_CHANCE = 0.3
"""How often whoever answers then has another clock."""
OTHER_CLOCK_SECONDS = (0.05, 2.0, 20.0)


class LoseWrites(Fault):
    """All that was written to a platform's Redis in its last moments is gone, at once, and all connections with it."""

    code, name, seconds, weight = "11", "Redis loses its last writes", (3.0, 8.0), 1.0

    def begin(self, site: Site) -> Heal | None:
        redis = site.redis
        if not redis.healthy or redis.kept is not None:
            return None
        redis.keep()
        # Short and long ones alike: the writes of one step lie within milliseconds.
        shortest, longest = LOST_SECONDS
        self.later(shortest * (longest / shortest) ** self.random.random(), lambda: self._lose(site))
        return redis.forget

    def _lose(self, site: Site) -> None:
        if site.redis.kept is None or site.redis.hanging:
            return
        lose(self.world, site)
        if self.random.random() < OTHER_CLOCK_CHANCE:
            site.redis.clock.jump(self.random.choice((-1, 1)) * self.random.choice(OTHER_CLOCK_SECONDS))


def lose(world: World, site: Site) -> None:
    """A platform's Redis loses what it has written since `Redis.keep`, and answers again after a while."""
    redis = site.redis
    if not redis.down:
        redis.stop()
        world.timeline.at(world.timeline.now + world.random.uniform(*FAILOVER_SECONDS), redis.start)
    world.has_lost(redis.lose())
