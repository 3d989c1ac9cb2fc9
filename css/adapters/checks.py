"""What both stores refuse before anything is written, so that a mistake can't leave half a commit behind."""

from __future__ import annotations

from css.ports.store import Commit


def check_commit(commit: Commit) -> None:
    """@raise ValueError: a time to live is not positive, or the epochs are not decimal numbers."""
    for request in (commit.request, *commit.answers):
        if request is not None and request.ttl_seconds <= 0:
            raise ValueError("a request's ttl_seconds must be positive")
    if commit.tombstone is not None and commit.tombstone.ttl_seconds <= 0:
        raise ValueError("a tombstone's ttl_seconds must be positive")
    if commit.above_tombstone and not commit.above_tombstone.isdecimal():
        raise ValueError("above_tombstone must be an epoch")
