"""How much a test does: small figures in `make test`, the literal figures of the requirements in `make soak`.

creates = scaled(100, 1000)
"""

from __future__ import annotations

import os
from typing import TypeVar

NumberT = TypeVar("NumberT", int, float)

SOAK_VARIABLE = "CSS_SOAK"
"""The environment variable that asks for the literal figures when it is 1."""


def soaking() -> bool:
    """Whether this run is to use the literal figures."""
    return os.environ.get(SOAK_VARIABLE) == "1"


def scaled(small: NumberT, soak: NumberT) -> NumberT:
    """The first in `make test`, the second in `make soak`."""
    return soak if soaking() else small
