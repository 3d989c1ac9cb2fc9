"""From settings to a SQLAlchemy engine: time-outs for everything, strict sessions, verified TLS."""

from __future__ import annotations

import ssl
from typing import Any

import msgspec
from sqlalchemy import URL, Engine, create_engine, event, make_url

MYSQL_PORT = 3306


class SqlTls(msgspec.Struct, frozen=True):
    """TLS to the server, always with a verified certificate and name."""

    ca_file: str = ""
    """Certificates to trust, PEM; empty: the system's."""
    cert_file: str = ""
    """A client certificate, PEM; empty: none."""
    key_file: str = ""

    def context(self) -> ssl.SSLContext:
        """@raise OSError: a file can't be read, or holds no certificate (`ssl.SSLError` is one)."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context


class SqlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the database is and how much of it to use."""

    url: str
    """`mysql://user:password@host:port/db` or `sqlite:///path`; `mariadb://` is the same as `mysql://`."""
    user: str = ""
    """Replaces the URL's, if given."""
    password: str = ""
    tls: SqlTls | None = None
    threads: int = 2
    """Commands that run at the same time, each on its own connection."""
    timeout_seconds: float = 10.0
    """Longest time from a command's call to its answer, waiting for a thread included."""
    max_waiting: int = 200
    """Commands under way or waiting; one more is refused at once with `SqlError`."""

    def __repr__(self) -> str:
        return f"SqlSettings({make_url(self.url).render_as_string(hide_password=True)})"


def make_engine(settings: SqlSettings) -> Engine:
    """An engine that connects when first used. Nothing blocks for longer than the settings say.

    @raise ValueError: neither a MySQL nor a SQLite URL.
    """
    url = make_url(settings.url)
    backend = url.get_backend_name()
    if backend in ("mysql", "mariadb"):
        return _mysql(url, settings)
    if backend == "sqlite":
        return _sqlite(url, settings)
    raise ValueError(f"unsupported database: {backend}")


def _mysql(url: URL, settings: SqlSettings) -> Engine:
    wait_seconds = max(1.0, settings.timeout_seconds / 2)
    # Below the read time-out, so that a lock that isn't had is told by the server and keeps the connection.
    lock_seconds = max(1, int(wait_seconds) - 1)
    arguments: dict[str, Any] = {
        "connect_timeout": wait_seconds,
        "read_timeout": wait_seconds,
        "write_timeout": wait_seconds,
        "init_command": f"SET SESSION sql_mode='STRICT_ALL_TABLES', innodb_lock_wait_timeout={lock_seconds}",
    }
    if settings.tls is not None:
        arguments["ssl"] = settings.tls.context()
    else:
        arguments["ssl_disabled"] = True
    return create_engine(
        url.set(
            drivername="mysql+pymysql",
            username=settings.user or url.username,
            password=settings.password or url.password,
            port=url.port or MYSQL_PORT,
            query={"charset": "utf8mb4"},
        ),
        connect_args=arguments,
        # Each statement sees what others have committed, and locks only the rows that it names.
        isolation_level="READ COMMITTED",
        pool_size=settings.threads,
        max_overflow=0,
        pool_timeout=settings.timeout_seconds,
        hide_parameters=True,
    )


def _sqlite(url: URL, settings: SqlSettings) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": max(0.1, settings.timeout_seconds / 2), "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver's own idea of when a transaction begins leaves out the reads before the first write.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
