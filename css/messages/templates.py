"""Public templates (seed 6)."""

from __future__ import annotations

from typing import Any

from css.messages.base import E164, ErrorText, Moid, Name, Named, RequestId


class AddTemplateRequest(Named, tag="ADD_TEMPLATE_REQ", frozen=True):
    """Add a public template to a user domain, or replace it; `content` is any JSON object."""

    e164: E164
    moid: Moid
    name: Name
    content: dict[str, Any]
    mtreqid: RequestId = ""


class AddTemplateAck(Named, tag="ADD_TEMPLATE_ACK", frozen=True):
    """The template is added."""

    e164: E164
    mtreqid: RequestId


class AddTemplateNack(Named, tag="ADD_TEMPLATE_NACK", frozen=True):
    """The template is not added."""

    e164: E164
    mtreqid: RequestId
    errcode: ErrorText


class ModTemplateRequest(Named, tag="MOD_TEMPLATE_REQ", frozen=True):
    """Change a public template."""

    e164: E164
    moid: Moid
    name: Name
    content: dict[str, Any]
    mtreqid: RequestId = ""


class ModTemplateAck(Named, tag="MOD_TEMPLATE_ACK", frozen=True):
    """The template is changed."""

    e164: E164
    mtreqid: RequestId


class ModTemplateNack(Named, tag="MOD_TEMPLATE_NACK", frozen=True):
    """The template is not changed."""

    e164: E164
    mtreqid: RequestId
    errcode: ErrorText


class DelTemplateRequest(Named, tag="DEL_TEMPLATE_REQ", frozen=True):
    """Delete a public template."""

    e164: E164
    moid: Moid
    mtreqid: RequestId = ""


class DelTemplateAck(Named, tag="DEL_TEMPLATE_ACK", frozen=True):
    """The template is deleted."""

    e164: E164
    mtreqid: RequestId


class DelTemplateNack(Named, tag="DEL_TEMPLATE_NACK", frozen=True):
    """The template is not deleted."""

    e164: E164
    mtreqid: RequestId
    errcode: ErrorText


MESSAGES = (
    AddTemplateRequest,
    AddTemplateAck,
    AddTemplateNack,
    ModTemplateRequest,
    ModTemplateAck,
    ModTemplateNack,
    DelTemplateRequest,
    DelTemplateAck,
    DelTemplateNack,
)
