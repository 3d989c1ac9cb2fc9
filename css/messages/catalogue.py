"""All messages by the types that they may come under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from css.messages import control, create, domains, licences, mcu, pms, reports, templates, upu
from css.messages.base import Kept, Message
from css.messages.control import CmControl, McuControl

MESSAGES: Final[tuple[type[Message], ...]] = (
    *create.MESSAGES,
    *mcu.MESSAGES,
    *pms.MESSAGES,
    *control.MESSAGES,
    *templates.MESSAGES,
    *domains.MESSAGES,
    *licences.MESSAGES,
    *upu.MESSAGES,
    *reports.MESSAGES,
)
"""Every struct that stands for one type."""

_FREE_FORM: Final = (templates.AddTemplateRequest, templates.ModTemplateRequest)
_CONTROL: Final = re.compile(r"(CM_CMU|CMU_CM)_[A-Z0-9_]{1,100}_(REQ|ACK|NACK|NTF|CMD)")
_SPELLED_OTHERWISE: Final = {
    "CM_MAU_MODIFYCONFNAME_ACK": "CM_CMU_MODIFYCONFNAME_ACK",
    "CM_MAU_MODIFYCONFNAME_NACK": "CM_CMU_MODIFYCONFNAME_NACK",
}

NACK_OF: Final[dict[type[Message], type[Message]]] = {
    create.CreateRequest: create.CreateNack,
    create.ReleaseRequest: create.ReleaseNack,
    control.DelayRequest: control.DelayNack,
    control.McuDelayRequest: control.McuDelayNack,
    templates.AddTemplateRequest: templates.AddTemplateNack,
    templates.ModTemplateRequest: templates.ModTemplateNack,
    templates.DelTemplateRequest: templates.DelTemplateNack,
    licences.LicenseRequest: licences.LicenseNack,
}
"""The NACK of each request to CSS; those passed through have theirs by the rule of `answer_type`."""


class Entry(msgspec.Struct, frozen=True):
    """How messages of one type are decoded."""

    struct: type[Message]
    decoder: msgspec.json.Decoder[Any]
    quick: bool
    """Whether the struct can hold all that a valid body says."""
    canonical: str = ""
    """The struct's own type, where it came under another spelling."""


def entry_of(type_name: str) -> Entry | None:
    """How to decode a type; None: unknown."""
    entry = _BY_TYPE.get(type_name)
    if entry is None and (match := _CONTROL.fullmatch(type_name)):
        return _CONTROLS[match[1]]
    return entry


def answer_type(request: str, kind: str) -> str | None:
    """The type of a request's answer; None: it has none.

    A control request in either direction is answered in the other: `CM_CMU_X_REQ` by `CMU_CM_X_ACK` or `CMU_CM_X_NACK`.

    @param kind: `ACK` or `NACK`.
    """
    match = _CONTROL.fullmatch(request)
    if match:
        back = "CMU_CM" if match[1] == "CM_CMU" else "CM_CMU"
        return f"{back}{request[6:-3]}{kind}" if match[2] == "REQ" else None
    entry = _BY_TYPE.get(request)
    nack = NACK_OF.get(entry.struct) if entry else None
    return _tag(nack).removesuffix("NACK") + kind if nack else None


def _tag(struct: type[Message]) -> str:
    return str(struct.__struct_config__.tag)


def _spellings(tag: str) -> Iterator[str]:
    """The other types under which a message is accepted."""
    for one, other in (("MCU_MAU_", "CMU_MAU_"), ("CMU_MAU_", "MCU_MAU_")):
        if tag.startswith(one):
            yield other + tag.removeprefix(one)
    yield from (spelling for spelling, meant in _SPELLED_OTHERWISE.items() if meant == tag)


def _by_type() -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    for struct in MESSAGES:
        decoder = msgspec.json.Decoder(struct)
        quick = not issubclass(struct, (Kept, *_FREE_FORM))
        tag = _tag(struct)
        entries = {tag: Entry(struct, decoder, quick)}
        entries |= {other: Entry(struct, decoder, False, tag) for other in _spellings(tag)}
        if table.keys() & entries.keys():
            raise AssertionError(f"{tag} is in the catalogue twice")
        table |= entries
    return table


_BY_TYPE: Final = _by_type()
_CONTROLS: Final = {
    "CM_CMU": Entry(CmControl, msgspec.json.Decoder(CmControl), False),
    "CMU_CM": Entry(McuControl, msgspec.json.Decoder(McuControl), False),
}
