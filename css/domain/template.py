"""Public templates (seed 6): what a request may do, and whose write counts.

A template lies in SQL and in its platform's Redis. SQL is written first, under a version that only grows; then Redis is
made what SQL has. While a write is under way its *standing* is kept beside it: the newest version, and what it leaves.
"""

from __future__ import annotations

import enum

import msgspec

from css.domain.errors import ErrCode


class Verb(enum.StrEnum):
    """What is wanted; values as in the wire's types."""

    ADD = "ADD"
    MOD = "MOD"
    DEL = "DEL"
    COPY = "COPY"
    """Nobody asked: Redis is to be made what SQL has, since it had lost everything."""


class Standing(msgspec.Struct, frozen=True):
    """The newest write of a template that is under way; `version` 0: none is."""

    version: int = 0
    there: bool = False
    """Whether the template will be there afterwards."""
    taken: int = 0
    """How often another platform has taken the template meanwhile: what was read of SQL before is out of date."""

    def __str__(self) -> str:
        words = (self.version, "put" if self.there else "del", *((self.taken,) if self.taken else ()))
        return " ".join(map(str, words)) if self.version else ""


def standing_from(text: str) -> Standing:
    """The inverse of `str`; a text that is none, as another version of CSS may write, counts as none under way."""
    version, outcome, taken = (*text.split(), "", "", "")[:3]
    if not version.isdecimal():
        return Standing()
    return Standing(int(version), outcome == "put", int(taken) if taken.isdecimal() else 0)


def refusal(verb: Verb, under_way: Standing, in_sql: bool) -> ErrCode | None:
    """Why a request can't be followed, or None. An add of what is there replaces it.

    @param in_sql: whether SQL has the template, as one of the platform that is asked.
    """
    there = under_way.there if under_way.version else in_sql
    return ErrCode.CONF_NOT_FOUND if verb in (Verb.MOD, Verb.DEL) and not there else None


def is_newest(version: int, under_way: Standing) -> bool:
    """Whether Redis may be made what SQL has by the write `version`: no newer one is under way, which will do that."""
    return under_way.version in (0, version)
