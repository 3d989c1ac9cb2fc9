"""What both stores must agree on about waiting effects: the order of their marks."""

from __future__ import annotations


def mark_position(mark: str) -> tuple[int, int]:
    """@return: (epoch, version) of a mark `<epoch>.<version>[.…]`; what is not a number counts as 0."""
    epoch, _, rest = mark.partition(".")
    version = rest.partition(".")[0]
    return (int(epoch) if epoch.isdecimal() else 0, int(version) if version.isdecimal() else 0)


def mark_order(mark: str) -> tuple[int, int, str]:
    """Sort key of marks: by epoch, by version, then by text."""
    return (*mark_position(mark), mark)
