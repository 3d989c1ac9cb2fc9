"""What a licence says, and what those of several platforms say together (seed 4.2 to 4.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

CONFERENCES = ("smallconfnum", "largeconfnum")
"""How many conferences of each size may exist: each platform's own affair."""
RESOURCES = ("softwarenumlimit", "hardwarenumlimit", "monitornumlimit", "mediaportnumlimit", "currentcallnumlimit")
"""What MS and PAS obey: with every platform that this one may have to stand in for."""
NUMBERS = CONFERENCES + RESOURCES


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

    @property
    def numbers(self) -> dict[str, int]:
        """The limits that it sets, by name."""
        every = ((name, getattr(self, name)) for name in NUMBERS)
        return {name: number for name, number in every if number is not None}


_decode = msgspec.json.Decoder(Licence).decode
_MOST = 2**53 - 1
"""The greatest integer that every peer's JSON library keeps exactly."""


def parse_licence(payload: bytes) -> Licence:
    """The licence in a payload.

    @raise ValueError: it is no JSON object, or a number in it is none, negative, or beyond 2^53.
    """
    try:
        licence = _decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the licence can't be read: {error}") from error
    for name in (*NUMBERS, "expires"):
        number = getattr(licence, name)
        if number is not None and not 0 <= number <= _MOST:
            raise ValueError(f"the licence's {name} is negative, or no number that every peer can read")
    return licence


def to_fields(licence: Licence, token: str) -> dict[str, str]:
    """Fields of `domain/<moid>/license`; a number without a limit has no field, nor has a licence without an end."""
    fields = {"license": token} | {name: str(number) for name, number in licence.numbers.items()}
    if licence.expires is not None:
        fields["expires"] = str(licence.expires)
    return fields


def from_fields(fields: Mapping[str, str]) -> Licence:
    """The licence that a hash holds; what is no number there counts as missing."""
    given = {name: fields.get(name, "") for name in (*NUMBERS, "expires")}
    return Licence(**{name: int(text) for name, text in given.items() if text.isascii() and text.isdecimal()})


def combined(own: Licence, others: Iterable[Licence]) -> Licence:
    """The own licence with the resource numbers of all of them together (seed 4.3).

    A platform that lacks a number adds nothing to it; one that all of them lack stays without a limit.
    """
    every = (own, *others)
    sums: dict[str, int] = {}
    for name in RESOURCES:
        given = [number for each in every if (number := getattr(each, name)) is not None]
        if given:
            sums[name] = min(sum(given), _MOST)
    return msgspec.structs.replace(own, **sums)
