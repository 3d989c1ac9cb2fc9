"""What every `ILedger` does. A subclass gives `ledger` and `other_ledger`, on the keys of the store fixture."""

from __future__ import annotations

from typing import Any

from css.ports import ledger as port
from css.ports.ledger import LedgerStep, Recovery
from tests.contracts.storecase import StoreFixture, together


def recovery(name: str = "mcu:1", begun_ms: int = 1_000, subject: str = "10.0.0.1:11") -> Recovery:
    """One that has just been entered."""
    return Recovery(name, "mcu", subject, "it fell silent: 静", begun_ms)


def joins(e164: str, mark: str = "1.1", time_ms: int = 1_001) -> LedgerStep:
    """A conference is lost."""
    return LedgerStep("mcu:1", e164, mark, time_ms, "lost", planned=True)


def leaves(e164: str, mark: str = "1.3", time_ms: int = 2_000) -> LedgerStep:
    """It is restored."""
    return LedgerStep("mcu:1", e164, mark, time_ms, "restored", settled=True)


class LedgerContract(StoreFixture):
    """Recoveries and their steps."""

    async def known(self: Any) -> tuple[int, int, int]:
        """How many are planned and settled, and when it ended."""
        found = (await self.ledger.recent(1))[0]
        return found.planned, found.settled, found.ended_ms

    async def test_entered_once(self: Any) -> None:
        await self.ledger.open(recovery())
        await self.ledger.open(recovery(begun_ms=5_000))
        self.assertEqual(await self.other_ledger.recent(9), [recovery()])
        self.assertEqual(await self.ledger.steps("mcu:1", 9), [])

    async def test_a_loss_that_two_notice(self: Any) -> None:
        """One entry while it is under way; another for another subject, or once the first has ended."""
        names = [await self.ledger.open(recovery()), await self.other_ledger.open(recovery("mcu:1b", 1_001))]
        self.assertEqual(names, ["mcu:1", "mcu:1"])
        other = Recovery("mcu:2", "mcu", "10.0.0.2:11", "it fell silent", 1_002)
        self.assertEqual(await self.ledger.open(other), "mcu:2")
        self.assertEqual([each.name for each in await self.ledger.recent(9)], ["mcu:2", "mcu:1"])
        await self.ledger.note([joins("1"), leaves("1")])
        self.assertEqual(await self.ledger.open(recovery("mcu:3", 3_000)), "mcu:3")
        self.assertTrue(port.ONE_LOSS_MS - 30_000 < await self.ttl_ms("css/loss/mcu:10.0.0.1:11") <= port.ONE_LOSS_MS)

    async def test_what_has_ended_as_it_began(self: Any) -> None:
        """What a person does twice is two things."""
        for name in ("operator:1", "operator:2"):
            done = Recovery(name, "operator", "pause", "li", 1_000, ended_ms=1_000)
            self.assertEqual(await self.ledger.open(done), name)
        self.assertEqual(len(await self.ledger.recent(9)), 2)

    async def test_from_the_first_to_the_last(self: Any) -> None:
        await self.ledger.open(recovery())
        await self.ledger.note([joins("1"), joins("2")])
        self.assertEqual(await self.known(), (2, 0, 0))
        await self.ledger.note([LedgerStep("mcu:1", "1", "1.2", 1_500, "RMS is asked: 问")])
        await self.ledger.note([leaves("1")])
        self.assertEqual(await self.known(), (2, 1, 0))
        await self.ledger.note([leaves("2", time_ms=3_000)])
        self.assertEqual(await self.known(), (2, 2, 3_000))
        texts = [(step.e164, step.text) for step in await self.ledger.steps("mcu:1", 9)]
        expected = [("1", "lost"), ("2", "lost"), ("1", "RMS is asked: 问"), ("1", "restored"), ("2", "restored")]
        self.assertEqual(texts, expected)
        self.assertEqual(len(await self.ledger.steps("mcu:1", 2)), 2)

    async def test_steps_again_and_at_once(self: Any) -> None:
        await self.ledger.open(recovery())
        steps = [joins("1"), joins("2"), leaves("1")]
        await together(self.ledger.note(steps), self.other_ledger.note(steps), self.ledger.note(steps[:1]))
        self.assertEqual(await self.known(), (2, 1, 0))
        self.assertEqual(len(await self.ledger.steps("mcu:1", 9)), 3)

    async def test_in_any_order(self: Any) -> None:
        await self.ledger.open(recovery())
        await self.ledger.note([leaves("1")])
        self.assertEqual(await self.known(), (1, 1, 2_000))
        await self.ledger.note([joins("1")])
        self.assertEqual(await self.known(), (1, 1, 2_000))

    async def test_goes_on_when_another_joins(self: Any) -> None:
        await self.ledger.open(recovery())
        await self.ledger.note([joins("1"), leaves("1"), joins("2")])
        self.assertEqual(await self.known(), (2, 1, 0))
        await self.ledger.note([leaves("2", time_ms=9_000)])
        self.assertEqual(await self.known(), (2, 2, 9_000))

    async def test_steps_of_none(self: Any) -> None:
        await self.ledger.note([joins("1")])
        await self.ledger.note([])
        self.assertEqual((await self.ledger.recent(9), await self.dump()), ([], {}))

    async def test_newest_first(self: Any) -> None:
        for number in (3, 1, 2):
            await self.ledger.open(recovery(f"mcu:{number}", number, str(number)))
        self.assertEqual([each.name for each in await self.ledger.recent(2)], ["mcu:3", "mcu:2"])

    async def test_bounded(self: Any) -> None:
        for number in range(port.MOST_ENTRIES + 2):
            await self.ledger.open(recovery(f"mcu:{number}", number, str(number)))
            if not number:
                await self.ledger.note([LedgerStep("mcu:0", "1", "1.1", 5, "lost", planned=True)])
        names = [each.name for each in await self.ledger.recent(1_000)]
        self.assertEqual((len(names), names[0], names[-1]), (500, "mcu:501", "mcu:2"))
        self.assertEqual([key for key in await self.dump() if key.startswith("css/ledger/mcu:0")], [])

    async def test_kept_for_a_month(self: Any) -> None:
        await self.ledger.open(recovery())
        await self.ledger.note([joins("1")])
        month = 30 * 86_400_000
        for key in ("", "/joined", "/open", "/steps"):
            self.assertTrue(month - 60_000 < await self.ttl_ms(f"css/ledger/mcu:1{key}") <= month)
