"""Bills and status reports (seed 11, 12)."""
# ruff: noqa: N815  (fields are spelled as on the wire)

from __future__ import annotations

from typing import Annotated

import msgspec

from css.messages.base import E164, ErrorText, Moid, Name, Named, Natural, State, Time

InstanceName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class BillNotice(Named, tag="CONF_BILL_NTF", frozen=True):
    """One a conference that ran; `platformmoid`: where it last ran."""

    confE164: E164
    confname: Name
    moid: Moid
    srcplatformmoid: Moid
    platformmoid: Moid
    begintime: Time
    endtime: Time
    reason: ErrorText


class StatusNotice(Named, tag="CSS_STATUS_NTF", frozen=True):
    """How an instance of CSS is; `nu` is always 0."""

    moid: Moid
    instance: InstanceName
    state: State
    conferences: Natural
    nu: Natural


MESSAGES = (BillNotice, StatusNotice)
