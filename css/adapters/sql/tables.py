"""The tables of PROTOCOL section 5, and those of CSS's own.

Public tables may exist already, made by others: they are used as they are, as long as they have our columns.
Text compares byte by byte (`utf8mb4_bin`): a MOID differing in case is another MOID, and pages are in code-point order.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, String, Table, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from css.ports.sql import TEXT_LIMITS

metadata = MetaData()

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def _text(name: str, primary_key: bool = False) -> Column[str]:
    return Column(name, String(TEXT_LIMITS[name]), primary_key=primary_key, nullable=False)


confinfo = Table(
    "confinfo",
    metadata,
    _text("e164", primary_key=True),
    _text("confname"),
    _text("password"),
    _text("moid"),
    _text("srcplatformmoid"),
    _text("platformmoid"),
    _text("ip"),
    Column("begintime", BigInteger, nullable=False),
    Column("endtime", BigInteger, nullable=False),
    Index("confinfo_source", "srcplatformmoid", "e164"),
    **_OPTIONS,
)

ttemplateinfo = Table(
    "ttemplateinfo",
    metadata,
    _text("e164", primary_key=True),
    _text("moid"),
    _text("platformmoid"),
    _text("name"),
    Column("content", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    **_OPTIONS,
)

ap_domain = Table(
    "ap_domain",
    metadata,
    _text("moid", primary_key=True),
    Column("level", SmallInteger, nullable=False),
    _text("uplevelmoid"),
    _text("name"),
    Column("used", SmallInteger, nullable=False),
    Column("enableh265", SmallInteger, nullable=False),
    Column("enablehdmeeting", SmallInteger, nullable=False),
    **_OPTIONS,
)

css_row_version = Table(
    "css_row_version",
    metadata,
    _text("e164", primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("side", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=True),
    Index("css_row_version_changed", "changed"),
    **_OPTIONS,
)
"""(`epoch`, `version`) of the last write that was applied to each number's `confinfo` row, also after that row was
deleted; `changed`: when, in seconds of the database's clock; `side`: the record's fields, see `RowWrite.side`."""

css_template_version = Table(
    "css_template_version",
    metadata,
    _text("e164", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("css_template_version_changed", "changed"),
    **_OPTIONS,
)
"""Version of the last write that was applied to each public template, also after it was deleted; `changed`: when."""

css_schema = Table(
    "css_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    **_OPTIONS,
)
"""One row a migration that has been carried out."""

PUBLIC_TABLES = (confinfo, ttemplateinfo, ap_domain)
WRITTEN_TABLES = (confinfo, ttemplateinfo)
