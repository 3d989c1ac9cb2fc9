"""The domains, and which platform a user domain belongs to (seed 3): up its chain of `uplevelmoid`."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec

USER, PLATFORM, SERVICE = 0, 1, 2
"""Levels."""

KEY_PREFIX = "domain/"
KEY_SUFFIX = "/info"

_NUMBERS = ("level", "used", "enableh265", "enablehdmeeting")


class Domain(msgspec.Struct, frozen=True, gc=False):
    """One domain, as `domain/<moid>/info` and `ap_domain` have it; flags 0 or 1."""

    moid: str
    level: int
    uplevelmoid: str = ""
    name: str = ""
    used: int = 1
    enableh265: int = 0
    enablehdmeeting: int = 0


class NoPlatform(enum.Enum):
    """Why a domain has no platform to create conferences on."""

    UNKNOWN = "the domain is not known"
    STOPPED = "the domain is stopped"
    NOT_A_USER_DOMAIN = "its level is not 0"
    BROKEN_CHAIN = "no platform domain is above it"


class Directory:
    """All domains at one moment. Immutable but for a cache of answers."""

    def __init__(self, domains: Iterable[Domain] = ()) -> None:
        self._domains = {domain.moid: domain for domain in domains}
        self._platforms: dict[str, str | NoPlatform] = {}

    def __len__(self) -> int:
        return len(self._domains)

    def get(self, moid: str) -> Domain | None:
        """A domain of any level."""
        return self._domains.get(moid)

    def users_of(self, platform: str) -> list[str]:
        """Moids of the user domains of a platform, those that are stopped left out. Goes through all domains."""
        return [moid for moid in self._domains if self.platform_of(moid) == platform]

    def platform_of(self, user_domain_moid: str) -> str | NoPlatform:
        """@return: moid of the platform domain above a user domain, or why there is none."""
        known = self._platforms.get(user_domain_moid)
        if known is None:
            known = self._find(user_domain_moid)
            if known is not NoPlatform.UNKNOWN:
                # What is unknown is not kept: requests may name any number of such domains.
                self._platforms[user_domain_moid] = known
        return known

    def _find(self, moid: str) -> str | NoPlatform:
        domain = self._domains.get(moid)
        if domain is None:
            return NoPlatform.UNKNOWN
        if domain.level != USER:
            return NoPlatform.NOT_A_USER_DOMAIN
        if not domain.used:
            return NoPlatform.STOPPED
        seen: set[str] = set()
        while domain is not None and domain.moid not in seen:
            if domain.level == PLATFORM:
                return domain.moid
            seen.add(domain.moid)
            domain = self._domains.get(domain.uplevelmoid)
        return NoPlatform.BROKEN_CHAIN


def key_of(moid: str) -> str:
    """The Redis key of a domain."""
    return f"{KEY_PREFIX}{moid}{KEY_SUFFIX}"


def to_fields(domain: Domain) -> dict[str, str]:
    """A domain as the fields of its Redis hash."""
    return {name: str(getattr(domain, name)) for name in domain.__struct_fields__}


def from_fields(key: str, fields: Mapping[str, str]) -> Domain | None:
    """The domain in a Redis hash, None if others have put there what is none."""
    moid = key[len(KEY_PREFIX) : -len(KEY_SUFFIX)]
    numbers: dict[str, int] = {}
    for name in _NUMBERS:
        text = fields.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 10:
            numbers[name] = int(text)
        elif text or name == "level":
            return None
    return Domain(moid=moid, uplevelmoid=fields.get("uplevelmoid", ""), name=fields.get("name", ""), **numbers)
