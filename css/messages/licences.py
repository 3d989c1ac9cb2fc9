"""Licences (seed 4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from css.messages.base import ErrorText, Moid, Named, Natural

Ciphertext = Annotated[str, msgspec.Meta(min_length=1, max_length=65536)]
OptionalCiphertext = Annotated[str, msgspec.Meta(max_length=65536)]


class PlatformNumbers(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The licensed numbers of one platform; None: no limit."""

    moid: Moid
    smallconfnum: Natural | None = None
    largeconfnum: Natural | None = None
    softwarenumlimit: Natural | None = None
    hardwarenumlimit: Natural | None = None
    monitornumlimit: Natural | None = None
    mediaportnumlimit: Natural | None = None
    currentcallnumlimit: Natural | None = None


class LicenseRequest(Named, tag="GET_LICENSE_REQ", frozen=True):
    """CSS asks the BMC, MS and PAS ask CSS, for a platform's licence."""

    moid: Moid


class LicenseNotice(Named, tag="LICENSE_NTF", frozen=True):
    """The BMC's answer or update: the licence of a platform or user domain, a Fernet token."""

    moid: Moid
    license: Ciphertext


class LicenseAck(Named, tag="GET_LICENSE_ACK", frozen=True):
    """To MS and PAS: the licence as CSS has modified it, its numbers in the clear, and those of each platform."""

    moid: Moid
    license: OptionalCiphertext
    platforms: list[PlatformNumbers]
    smallconfnum: Natural | None = None
    largeconfnum: Natural | None = None
    softwarenumlimit: Natural | None = None
    hardwarenumlimit: Natural | None = None
    monitornumlimit: Natural | None = None
    mediaportnumlimit: Natural | None = None
    currentcallnumlimit: Natural | None = None


class LicenseNack(Named, tag="GET_LICENSE_NACK", frozen=True):
    """To MS and PAS: there is no licence to give.

    @ivar moid: what was asked for; None: the request did not say.
    """

    errcode: ErrorText
    moid: Moid | None = None


class PlatformLicenseNotice(Named, tag="PLATFORM_LICENSE_NTF", frozen=True):
    """To MS and PAS, unasked: the same as `LicenseAck`."""

    moid: Moid
    license: OptionalCiphertext
    platforms: list[PlatformNumbers]
    smallconfnum: Natural | None = None
    largeconfnum: Natural | None = None
    softwarenumlimit: Natural | None = None
    hardwarenumlimit: Natural | None = None
    monitornumlimit: Natural | None = None
    mediaportnumlimit: Natural | None = None
    currentcallnumlimit: Natural | None = None


MESSAGES = (LicenseRequest, LicenseNotice, LicenseAck, LicenseNack, PlatformLicenseNotice)
