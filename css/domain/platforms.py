"""Which platforms this one may serve, does serve, and is backed up by (seed 2.2, 2.3.2).

`Platforms` is immutable; what the PMS says makes a new one. *Possible* platforms are those that this one backs up; the
*service* platforms are this one and every possible one that the PMS says is abnormal; *backup* platforms back this one
up. A `seq` orders what is said about one platform: older than what is known of it is ignored; equal is the same again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec


class PlatformState(enum.StrEnum):
    """How a platform is, by the PMS's decision; values as on the wire."""

    UNKNOWN = "unknown"
    NORMAL = "normal"
    ABNORMAL = "abnormal"


class Known(msgspec.Struct, frozen=True):
    """What was last said about a platform; `seq` -1: nothing numbered yet."""

    state: PlatformState
    seq: int = -1


class Change(msgspec.Struct, frozen=True):
    """What differs between two `Platforms`."""

    entered: tuple[str, ...] = ()
    """Platforms other than the own one that are served now and were not before."""
    left: tuple[str, ...] = ()
    own_before: PlatformState = PlatformState.UNKNOWN
    own_after: PlatformState = PlatformState.UNKNOWN

    @property
    def own_became_abnormal(self) -> bool:
        return self.own_after is PlatformState.ABNORMAL and self.own_before is not PlatformState.ABNORMAL

    @property
    def own_became_normal(self) -> bool:
        return self.own_after is PlatformState.NORMAL and self.own_before is not PlatformState.NORMAL

    def __bool__(self) -> bool:
        return bool(self.entered or self.left or self.own_before is not self.own_after)


class Platforms(msgspec.Struct, frozen=True):
    """What is known of the platforms. Begin with `Platforms(own)`."""

    own: str
    possible_moids: tuple[str, ...] = ()
    backup_moids: tuple[str, ...] = ()
    known: Mapping[str, Known] = {}
    answered: bool = False
    """Whether the PMS has answered with its lists; before that nothing may be consumed."""

    def state_of(self, moid: str) -> PlatformState:
        """UNKNOWN for a platform that nothing was said about."""
        known = self.known.get(moid)
        return known.state if known else PlatformState.UNKNOWN

    @property
    def own_state(self) -> PlatformState:
        return self.state_of(self.own)

    @property
    def own_abnormal(self) -> bool:
        known = self.known.get(self.own)  # asked at every step: no detours
        return known is not None and known.state is PlatformState.ABNORMAL

    @property
    def possible(self) -> dict[str, PlatformState]:
        """State by moid."""
        return {moid: self.state_of(moid) for moid in self.possible_moids}

    @property
    def backup(self) -> dict[str, PlatformState]:
        """State by moid."""
        return {moid: self.state_of(moid) for moid in self.backup_moids}

    @property
    def service(self) -> tuple[str, ...]:
        """The own platform first; it is listed whatever its state."""
        taken = (moid for moid in self.possible_moids if self.state_of(moid) is PlatformState.ABNORMAL)
        return (self.own, *taken)

    @property
    def possible_and_own(self) -> tuple[str, ...]:
        """The own platform first."""
        return (self.own, *self.possible_moids)

    @property
    def peers(self) -> tuple[str, ...]:
        """Possible platforms, then backup ones that are not possible ones too."""
        return (*self.possible_moids, *(moid for moid in self.backup_moids if moid not in self.possible_moids))

    @property
    def lost(self) -> tuple[tuple[str, str], ...]:
        """(source, platform): what in the store of a source platform that is served here runs on a platform that is
        abnormal. The own one is served, too: its conferences may run on a backup."""
        abnormal = [moid for moid in self.peers if self.state_of(moid) is PlatformState.ABNORMAL]
        return tuple((source, moid) for source in self.service for moid in abnormal)

    def serves(self, moid: str) -> bool:
        """Whether it is a service platform."""
        return moid == self.own or (moid in self.possible_moids and self.state_of(moid) is PlatformState.ABNORMAL)

    def with_reply(
        self,
        moid: str,
        state: str,
        main: Sequence[tuple[str, str]] | None,
        backup: Sequence[tuple[str, str]] | None,
        seq: int | None = None,
    ) -> Platforms:
        """After the PMS has answered; its lists of (moid, state) replace what was known, None leaves one as it is.

        An answer about another platform, or older than what is known of the own one, changes nothing. A listed
        platform of which something newer is known keeps that.
        """
        if moid != self.own or self._is_old(moid, seq):
            return self
        listed = [*(main or ()), *(backup or ())]
        known = dict(self.known)
        for each, its_state in [*listed, (moid, state)]:
            if not self._is_old(each, seq):
                known[each] = self._heard(each, its_state, seq)
        possible = self.possible_moids if main is None else _names(main, self.own)
        backups = self.backup_moids if backup is None else _names(backup, self.own)
        kept = {self.own, *possible, *backups}
        return Platforms(
            self.own,
            possible,
            backups,
            {each: what for each, what in known.items() if each in kept},
            self.answered or (main is not None and backup is not None),
        )

    def with_broadcast(self, moid: str, state: str, seq: int | None = None) -> Platforms:
        """After the PMS has told everybody how a platform is. One that is in no list here changes nothing, except
        before the first answer: that may list it, and be older."""
        concerns = moid == self.own or moid in self.possible_moids or moid in self.backup_moids
        if self._is_old(moid, seq) or (self.answered and not concerns):
            return self
        known = {**self.known, moid: self._heard(moid, state, seq)}
        return msgspec.structs.replace(self, known=known)

    def with_own_state(self, state: PlatformState) -> Platforms:
        """The same with another own state: this instance can't do what the PMS expects yet."""
        return msgspec.structs.replace(self, known={**self.known, self.own: Known(state)})

    def change_from(self, before: Platforms) -> Change:
        """What became different since `before`."""
        return Change(
            entered=tuple(moid for moid in self.service if not before.serves(moid)),
            left=tuple(moid for moid in before.service if not self.serves(moid)),
            own_before=before.own_state,
            own_after=self.own_state,
        )

    def _is_old(self, moid: str, seq: int | None) -> bool:
        known = self.known.get(moid)
        return seq is not None and known is not None and seq < known.seq

    def _heard(self, moid: str, state: str, seq: int | None) -> Known:
        known = self.known.get(moid)
        return Known(PlatformState(state), seq if seq is not None else known.seq if known else -1)


def _names(listed: Sequence[tuple[str, str]], own: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(moid for moid, _ in listed if moid != own))
