"""The licence-cipher port: reading and sealing licences (contract, section 3, "Licence payload")."""

from __future__ import annotations

from zope.interface import Interface


class BadLicence(Exception):
    """The token does not verify under any of the keys, or does not hold what a licence holds."""


class ILicenceCipher(Interface):
    """The keys that licences are sealed with."""

    def open(token: str) -> bytes:
        """@return: the payload. @raise BadLicence: no key fits, or the token was changed."""

    def seal(payload: bytes) -> str:
        """@return: a token under the first key."""
