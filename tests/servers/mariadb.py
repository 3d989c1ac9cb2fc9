"""MariaDB servers."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess

import pymysql

from tests.servers.install import program
from tests.servers.process import Server, ServerFailed

USER = "css"
PASSWORD = "css"

_FAST = [
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=2",
    "--key-buffer-size=1M",
    "--performance-schema=OFF",
]
"""Small, and not safe against a power cut, which the tests don't make; kill -9 loses nothing."""


class MariaDBServer(Server):
    """A private MariaDB, with an all-powerful account `USER`, `PASSWORD`."""

    name = "mariadb"

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def new_schema(self) -> str:
        """Create an empty schema, and give its address: `mysql://user:password@host:port/schema`."""
        schema = f"t{next(self._numbers)}"
        with contextlib.closing(self.connect()) as link, link.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
        return f"mysql://{USER}:{PASSWORD}@{self.host}:{self.port}/{schema}"

    def connect(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        """A client's connection, of a driver without Twisted."""
        return pymysql.connect(host=self.host, port=self.port, user=USER, password=PASSWORD, connect_timeout=5)

    def prepare(self) -> None:
        (self.folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n"
        )
        arguments = [*self._common(), "--auth-root-authentication-method=normal", "--skip-test-db", *_FAST]
        (self.folder / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(
            [program("mariadb-install-db"), *arguments], capture_output=True, text=True, check=False, cwd=self.folder
        )
        if done.returncode:
            raise ServerFailed(f"mariadb-install-db: {done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        return [
            program("mariadbd"),
            *self._common(),
            f"--port={self.port}",
            f"--bind-address={self.host}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--skip-networking=OFF",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--max-connections=500",
            *_FAST,
        ]

    def ready(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _common(self) -> list[str]:
        user = ["--user=root"] if os.geteuid() == 0 else []
        # Its own folder for temporary tables: two servers setting up in one have removed each other's.
        return ["--no-defaults", f"--datadir={self.folder / 'data'}", f"--tmpdir={self.folder / 'tmp'}", *user]
