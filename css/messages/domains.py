"""Changes of the domain directory (seed 3)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from css.messages.base import Flag, Moid, Name, Named, OptionalMoid

Level = Annotated[int, msgspec.Meta(ge=0, le=2)]
"""0 user domain, 1 platform domain, 2 service domain."""


class DomainAddNotice(Named, tag="DOMAIN_ADD_NTF", frozen=True):
    """A new domain."""

    moid: Moid
    level: Level
    uplevelmoid: OptionalMoid = ""
    name: Name = ""
    used: Flag = 1
    enableh265: Flag = 0
    enablehdmeeting: Flag = 0


class DomainModNotice(Named, tag="DOMAIN_MOD_NTF", frozen=True):
    """A changed domain; None: unchanged."""

    moid: Moid
    level: Level | None = None
    uplevelmoid: OptionalMoid | None = None
    name: Name | None = None
    used: Flag | None = None
    enableh265: Flag | None = None
    enablehdmeeting: Flag | None = None


class DomainDelNotice(Named, tag="DOMAIN_DEL_NTF", frozen=True):
    """A domain is gone."""

    moid: Moid


MESSAGES = (DomainAddNotice, DomainModNotice, DomainDelNotice)
