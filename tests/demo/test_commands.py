"""What can be typed into the demo, and how it is read."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from css.demo.commands import Command, Commands, Input

reactor: Any = global_reactor


class CommandTests(SynchronousTestCase):
    """What can be typed."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.done: list[str] = []
        self.commands = Commands(
            {
                "create": Command("[NAME]", "ask for a conference", self.done.append),
                "refuse": Command("", "never happy", self.refuse),
            },
            self.said.append,
        )

    def refuse(self, _: str) -> None:
        raise ValueError("give a number")

    def test_arguments(self) -> None:
        for line in ("create", "  CREATE   周会  一 \n", "create x"):
            self.commands.take(line)
        self.assertEqual(self.done, ["", "周会  一", "x"])

    def test_nothing_typed(self) -> None:
        self.commands.take("  \n")
        self.assertEqual((self.said, self.done), ([], []))

    def test_unknown(self) -> None:
        self.commands.take("creat x")
        self.assertEqual(self.said, ["There is no command 'creat': type help"])

    def test_refused(self) -> None:
        self.commands.take("refuse 1")
        self.assertEqual(self.said, ["refuse: give a number"])

    def test_help(self) -> None:
        self.commands.take("help")
        self.assertEqual(
            self.said[0].splitlines(),
            [
                "  create [NAME]  ask for a conference",
                "  refuse         never happy",
                "  help           say what can be typed",
            ],
        )


class InputTests(TestCase):
    """Lines from a descriptor, on the real reactor."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.reading, self.writing = os.pipe()
        self.addCleanup(self.close)
        self.input = Input(reactor, self.reading, self.lines.append)
        self.input.start()
        self.addCleanup(self.input.stop)

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    async def settle(self) -> None:
        await deferLater(reactor, 0.05)

    def test_lines(self) -> Deferred[None]:
        async def scenario() -> None:
            os.write(self.writing, "list\ncreate 周".encode()[:-1])
            await self.settle()
            self.assertEqual(self.lines, ["list"])
            os.write(self.writing, "周".encode()[-1:] + b"\nqu")
            os.close(self.writing)
            await self.settle()
            self.assertEqual(self.lines, ["list", "create 周", "qu"])
            self.assertNotIn(self.input, reactor.getReaders())

        return Deferred.fromCoroutine(scenario())

    def test_line_without_end(self) -> Deferred[None]:
        """What is no line is not kept for ever."""

        async def scenario() -> None:
            for _ in range(3):
                os.write(self.writing, b"x" * 4096)
                await self.settle()
            os.write(self.writing, b"\nlist\n")
            await self.settle()
            self.assertEqual(self.lines[-1], "list")
            self.assertLess(max(map(len, self.lines)), 8192)

        return Deferred.fromCoroutine(scenario())
