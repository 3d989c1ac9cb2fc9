"""What UPU, the locator, is told (seed 7)."""
# ruff: noqa: N815  (fields are spelled as on the wire)

from __future__ import annotations

from css.messages.base import E164, ConfType, Flag, Moid, Name, Named


class UpuAdd(Named, tag="UPU_ADD_CONF_REQ", frozen=True):
    """A number can be reached: `moid` is its source user domain, `platformmoid` where it really is."""

    confE164: E164
    confname: Name
    conftype: ConfType
    moid: Moid
    platformmoid: Moid
    running: Flag


class UpuModify(Named, tag="UPU_MOD_CONF_REQ", frozen=True):
    """An entry has changed."""

    confE164: E164
    confname: Name
    conftype: ConfType
    moid: Moid
    platformmoid: Moid
    running: Flag


class UpuDelete(Named, tag="UPU_DEL_CONF_REQ", frozen=True):
    """A number's running (1) or planned (0) entry is gone."""

    confE164: E164
    running: Flag


class UpuDeleteDomain(Named, tag="UPU_DEL_DOMAIN_REQ", frozen=True):
    """Drop the reserved, template and virtual entries of a source user domain."""

    moid: Moid


class UpuClear(Named, tag="UPU_CLEAR_REQ", frozen=True):
    """Drop everything that this platform has reported."""

    platformmoid: Moid


MESSAGES = (UpuAdd, UpuModify, UpuDelete, UpuDeleteDomain, UpuClear)
