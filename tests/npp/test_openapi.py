"""The OpenAPI file and the service agree: schemathesis asks what it can think of, and finds nothing."""

from __future__ import annotations

import re
import subprocess
import sys

from twisted.internet.threads import deferToThread

from css.npp import resource
from tests.npp.httpcase import HttpCase
from tests.scale import scaled

EXAMPLES = scaled(40, 1000)


class SchemathesisTests(HttpCase):
    """Every check that it has, in all its phases, with a platform that exists among what it asks for."""

    timeout = 600

    async def test_finds_nothing(self) -> None:
        await self.fill(*(f"{number:03}" for number in range(30)))
        status, output = await self.run_it()
        self.assertEqual(status, 0, output)
        self.assertIn("No issues found", output)

    async def test_finds_what_is_wrong(self) -> None:
        """A checker that never fails proves nothing."""
        await self.fill("001")
        self.patch(resource, "_LIMIT", re.compile("-?[0-9]{1,3}"))
        status, output = await self.run_it()
        self.assertNotEqual(status, 0, output)

    async def run_it(self) -> tuple[int, str]:
        """Its exit status, and what it said."""
        config = self.file.with_suffix(".toml")
        config.write_text('[[operations]]\ninclude-name = "GET /v1/conferences"\nparameters = { platformmoid = "A" }\n')
        runs = [await self.call(), await self.call("--config-file", str(config), before=True)]
        return max(status for status, _ in runs), "\n".join(output for _, output in runs)

    async def call(self, *options: str, before: bool = False) -> tuple[int, str]:
        """One run."""
        head = [sys.executable, "-m", "schemathesis.cli"]
        tail = [
            "run",
            f"{self.base}/openapi.json",
            f"--max-examples={EXAMPLES}",
            "--seed=1",
            "--no-color",
            "--checks=all",
        ]
        command = [*head, *(options if before else ()), *tail]
        done = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, cwd=self.file.parent, timeout=500
        )
        return done.returncode, done.stdout + done.stderr
