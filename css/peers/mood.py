"""How a simulated peer treats requests: the verbs of tests that several peers share."""

from __future__ import annotations

import enum

import msgspec

FOR_EVER = -1


class Verdict(enum.Enum):
    """What to do with one request."""

    SERVE = "serve"
    REJECT = "reject"
    IGNORE = "ignore"
    """Do not even do it."""
    LOSE_ANSWER = "lose_answer"
    """Do it, and say nothing."""


class Mood(msgspec.Struct, eq=False):
    """What happens to the next requests. Verbs replace each other, but for `late`, which goes with any."""

    delay_seconds: float = 0.0
    errcode: str = ""
    _verdict: Verdict = Verdict.SERVE
    _times: int = FOR_EVER

    def reject(self, errcode: str, times: int = FOR_EVER) -> None:
        """Refuse the next `times` requests."""
        self.errcode = errcode
        self._set(Verdict.REJECT, times)

    def silent(self, times: int = FOR_EVER) -> None:
        """Swallow the next `times` requests: nothing is done, nothing said."""
        self._set(Verdict.IGNORE, times)

    def lose_answers(self, times: int = FOR_EVER) -> None:
        """Do what the next `times` requests ask for, and say nothing."""
        self._set(Verdict.LOSE_ANSWER, times)

    def late(self, seconds: float) -> None:
        """Answer every request that much later."""
        self.delay_seconds = seconds

    def resume(self) -> None:
        """Serve at once, from now on."""
        self.delay_seconds = 0.0
        self._set(Verdict.SERVE, FOR_EVER)

    def next(self) -> Verdict:
        """The verdict on one more request."""
        verdict = self._verdict
        if self._times > 0:
            self._times -= 1
            if not self._times:
                self._set(Verdict.SERVE, FOR_EVER)
        return verdict

    def _set(self, verdict: Verdict, times: int) -> None:
        if times == 0:
            return
        self._verdict, self._times = verdict, times
