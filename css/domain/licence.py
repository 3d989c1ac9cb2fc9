"""What a licence says (seed 4.2)."""

from __future__ import annotations

import msgspec

NUMBERS = (
    "smallconfnum",
    "largeconfnum",
    "softwarenumlimit",
    "hardwarenumlimit",
    "monitornumlimit",
    "mediaportnumlimit",
    "currentcallnumlimit",
)


class Licence(msgspec.Struct, frozen=True):
    """A licence's numbers; None: no limit. `expires`: seconds since the epoch."""

    smallconfnum: int | None = None
    largeconfnum: int | None = None
    softwarenumlimit: int | None = None
    hardwarenumlimit: int | None = None
    monitornumlimit: int | None = None
    mediaportnumlimit: int | None = None
    currentcallnumlimit: int | None = None
    expires: int | None = None


_decode = msgspec.json.Decoder(Licence).decode


def parse_licence(payload: bytes) -> Licence:
    """The licence in a payload.

    @raise ValueError: it is no JSON object, or a number in it is none, or negative.
    """
    try:
        licence = _decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the licence can't be read: {error}") from error
    for name in NUMBERS:
        number = getattr(licence, name)
        if number is not None and number < 0:
            raise ValueError(f"the licence's {name} is negative")
    return licence


def to_fields(licence: Licence, token: str) -> dict[str, str]:
    """Fields of `domain/<moid>/license`; a number without a limit has no field."""
    numbers = {name: getattr(licence, name) for name in NUMBERS}
    return {"license": token} | {name: str(number) for name, number in numbers.items() if number is not None}
