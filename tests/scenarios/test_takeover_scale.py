"""A platform with very many conferences dies, its backup takes over; the platform returns, and goes on to control them
where they run (seed 2.3.1, 2.3.3, 5): figures of issue 4 (real servers)."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from tests.scale import scaled
from tests.scenarios.takeoverscale import TakeoverScaleCase


class TakeoverAtScale(TakeoverScaleCase):
    count: ClassVar[int] = scaled(60, 2000)

    async def test_a_platform_dies_and_returns(self) -> None:
        """Restores are measured from the death of the platform (its CSS, its MCUs; both PMS say so at that moment) to
        the moment at which the CM has been told where the conference runs now."""
        scene, crowd = await self.crowded()
        await self.taken_over(scene, crowd)
        await self.returned(scene, crowd)
        numbers = Random(5).sample(crowd.numbers, self.count // 5)
        await self.controlled(scene, numbers)
        await self.renamed(scene, crowd, numbers)
        await self.delayed(scene, crowd, numbers)
        await self.ended(scene, crowd, set(numbers))
