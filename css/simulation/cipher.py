"""Licences without secrets: a real cipher draws its vectors from the operating system, which no seed determines."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from zope.interface import implementer

from css.peers.bmc import BmcPeer
from css.ports.licence import BadLicence, ILicenceCipher

_MARK = "plain:"


@implementer(ILicenceCipher)
class PlainCipher:
    """Tokens that anybody can read."""

    def open(self, token: str) -> bytes:
        """See `ILicenceCipher.open`."""
        try:
            return base64.b64decode(token.removeprefix(_MARK), validate=True)
        except binascii.Error as error:
            raise BadLicence(str(error)) from error

    def seal(self, payload: bytes) -> str:
        """See `ILicenceCipher.seal`."""
        return _MARK + base64.b64encode(payload).decode()


class PlainBmc(BmcPeer):
    """A BMC that seals licences so."""

    def token(self, payload: dict[str, Any], key: bytes | None = None) -> str:
        """See `BmcPeer.token`."""
        return PlainCipher().seal(msgspec.json.encode(payload))
