"""Licences as Fernet tokens, under one or more keys."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from zope.interface import implementer

from css.ports.licence import BadLicence, ILicenceCipher


@implementer(ILicenceCipher)
class FernetCipher:
    """Opens tokens made with any of the keys; seals with the first one, so that keys can be rotated.

    @raise ValueError: there is no key, or one is not 32 bytes in URL-safe base64.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("no licence key is given")
        self._keys = MultiFernet([Fernet(key) for key in keys])

    def open(self, token: str) -> bytes:
        """See `ILicenceCipher.open`."""
        try:
            return self._keys.decrypt(token.encode())
        except (InvalidToken, UnicodeEncodeError) as error:
            raise BadLicence("the token does not verify under any of the keys") from error

    def seal(self, payload: bytes) -> str:
        """See `ILicenceCipher.seal`."""
        return self._keys.encrypt(payload).decode()


@implementer(ILicenceCipher)
class NoCipher:
    """Stands where no key file is configured: every licence is refused."""

    def open(self, token: str) -> bytes:
        """See `ILicenceCipher.open`."""
        raise BadLicence("no [license] key_file is configured, so no licence can be verified")

    def seal(self, payload: bytes) -> str:
        """See `ILicenceCipher.seal`."""
        raise BadLicence("no [license] key_file is configured, so no licence can be sealed")
