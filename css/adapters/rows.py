"""What must be true of rows before any database sees them; shared by the real and the memory one. Without I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from css.ports.sql import TEXT_LIMITS, RowWrite, SqlRefused, TemplateRow, TemplateWrite

_MAX_INTEGER = 2**63 - 1


def check_row(row: msgspec.Struct) -> None:
    """Refuse what no database could keep unchanged.

    @raise SqlRefused: a text longer than `TEXT_LIMITS` or not encodable as UTF-8, or a number beyond 64 bits.
    """
    for column in row.__struct_fields__:
        value = getattr(row, column)
        if isinstance(value, str):
            _check_text(column, value)
        elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
            raise SqlRefused(f"{column} does not fit in 64 bits")


def check_template(write: TemplateWrite) -> None:
    """Refuse a write of a public template that no database could keep unchanged.

    @raise SqlRefused: as `check_row`.
    """
    check_row(write.row if write.row is not None else TemplateRow(write.e164, "", "", "", ""))


def _check_text(column: str, value: str) -> None:
    if len(value) > TEXT_LIMITS[column]:
        raise SqlRefused(f"{column} has {len(value)} characters, {TEXT_LIMITS[column]} are allowed")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SqlRefused(f"{column} is not valid Unicode text") from error


def newest_writes(writes: Sequence[RowWrite]) -> list[RowWrite]:
    """The one write a number that counts, checked, ordered by number.

    The order is the same in every instance, so that two of them lock rows in the same order and do not deadlock.
    Of equal (epoch, version) the first counts, as if they were applied one after the other.

    @raise SqlRefused: any of the writes, also one that does not count, is refused by `check_row`.
    """
    newest: dict[str, RowWrite] = {}
    for write in writes:
        check_row(write)
        if write.row is not None:
            check_row(write.row)
        known = newest.get(write.e164)
        if known is None or (write.epoch, write.version) > (known.epoch, known.version):
            newest[write.e164] = write
    return [newest[e164] for e164 in sorted(newest)]
