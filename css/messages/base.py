"""What all messages share: the base structs and the limited field types."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from css.domain.changing import LONGEST_MINUTES

MAX_INTEGER: Final = 2**53 - 1
"""The greatest integer that every peer's JSON library keeps exactly."""
MAX_MINUTES: Final = LONGEST_MINUTES

E164 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,32}\Z")]
"""A conference's number: 1 to 32 digits, leading zeros kept."""
Moid = Annotated[str, msgspec.Meta(pattern=r"\A[!-.0-~]{1,128}\Z")]
"""A domain, platform or room: printable ASCII without space and slash, as it becomes part of keys and queue names."""
OptionalMoid = Annotated[str, msgspec.Meta(pattern=r"\A[!-.0-~]{0,128}\Z")]
"""A `Moid`, or empty for none."""
Ip = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z.:_%-]{1,64}\Z")]
"""An address or host name; it becomes part of queue names."""
Pid = Annotated[str, msgspec.Meta(pattern=r"\A[!-9;-~]{1,64}\Z")]
"""A process of an MCU host: printable ASCII without space and colon. An integer is taken as its digits."""
RequestId = Annotated[str, msgspec.Meta(max_length=128)]
"""The requester's own mark of a request (`mtreqid`), may be empty. An integer is taken as its digits."""
MonitorId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
ErrorText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
"""An error code, of CSS or of a peer."""
Name = Annotated[str, msgspec.Meta(max_length=256)]
"""A name that people read, any language."""
Password = Annotated[str, msgspec.Meta(max_length=128)]
Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
"""Seconds since the epoch, UTC; 0 for none where the contract allows none."""
Epoch = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
"""Names one placement of a conference."""
Minutes = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINUTES)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
ConfType = Annotated[int, msgspec.Meta(ge=1, le=4)]
"""1 instant, 2 reserved, 3 template, 4 virtual."""
State = Literal["normal", "abnormal"]


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Any message. Fields that are optional on the wire have defaults, and are left out where they equal them."""


class Named(Message, tag_field="type", frozen=True, gc=False, omit_defaults=True):
    """A message whose struct stands for exactly one type; its tag is the type's spelling."""


class Kept(Message, dict=True, frozen=True, gc=True, omit_defaults=True):
    """A message whose unknown fields count: the whole body is kept beside the typed fields."""

    @property
    def original(self) -> bytes:
        """The body that it was decoded from, byte for byte; what it encodes to if it was made here."""
        kept: bytes | None = self.__dict__.get("_original")
        return _encoder.encode(self) if kept is None else kept


def keep(message: Kept, body: bytes) -> None:
    """Make `body` the `original` of a message that has just been decoded from it."""
    message.__dict__["_original"] = body


_encoder = msgspec.json.Encoder()
