"""A directory of domains for tests of handlers."""

from __future__ import annotations


class FakeDomains:
    """A directory that a test changes by hand: `current` is the truth, `seen` what was last read of it."""

    def __init__(self, domains: dict[str, str]) -> None:
        self.current = domains
        self.seen = dict(domains)
        self.generation = ""
        self.refreshed = 0

    async def platform_of(self, moid: str) -> str | None:
        return self.seen.get(moid)

    def guards(self, platform: str) -> tuple[tuple[str, str], ...]:
        return (("css/domains/generation", self.generation),)

    async def refresh(self) -> None:
        self.refreshed += 1
        self.seen = dict(self.current)
