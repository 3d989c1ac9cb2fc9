"""The demo's folder: made where it is missing, used by one demo at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from cryptography.fernet import Fernet

from css.demo.errors import DemoError

LOCK_PATIENCE_SECONDS = 3.0
"""The Valkey of a demo that was killed needs a moment to end."""


class Folder:
    """`var/`, locked for as long as this process, or a Valkey that it started, lives.

    @raise DemoError: it can't be written, or another demo uses it.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).resolve()
        self.shown = path
        """As the user named it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(self.path / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DemoError(
                f"the folder {self.path} can't be written ({error.strerror}): give yourself the right to, "
                "or name another one: .venv/bin/python -m css.demo --var FOLDER"
            ) from error
        self._take_lock()
        self._note_process_id()

    @property
    def log(self) -> Path:
        """Where the service logs."""
        return self.path / "css.log"

    def licence_key(self) -> bytes:
        """The key under which the simulated BMC signs licences and CSS verifies them; made at the first start."""
        path = self.path / "license.keys"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
        return path.read_bytes().strip()

    def _take_lock(self) -> None:
        give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > give_up_at:
                holder = os.pread(self.lock, 32, 0).decode(errors="replace").strip() or "unknown"
                raise DemoError(
                    f"the folder {self.path} is in use by another demo (process {holder}): end that first, "
                    "or name another folder: .venv/bin/python -m css.demo --var FOLDER"
                )
            time.sleep(0.05)

    def _note_process_id(self) -> None:
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, f"{os.getpid()}\n".encode(), 0)
