"""Makes sure that the servers which the tests need are installed: never skipped, never left out silently."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES: Mapping[str, str] = {
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "mariadbd": "mariadb-server",
}
"""Program -> Debian package."""

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Servers live in `sbin`, which a plain user's PATH lacks."""

_POLICY = Path("/usr/sbin/policy-rc.d")


class MissingServers(Exception):
    """Servers are not installed, and could not be installed."""


def program(name: str) -> str:
    """The path of a server's program; `MissingServers` if it isn't installed."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise MissingServers(f"{name} is not installed")
    return path


def missing_packages() -> list[str]:
    """The Debian packages that have to be installed."""
    return [package for name, package in PACKAGES.items() if shutil.which(name, path=SEARCH_PATH) is None]


def ensure_installed() -> None:
    """Install what is missing, as root on Debian; else fail with the command to run."""
    packages = missing_packages()
    if not packages:
        return
    commands = [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]]
    advice = "as root: " + " && ".join(" ".join(command) for command in commands)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingServers(f"the tests need {', '.join(packages)}. Run, {advice}")
    print(f"installing {', '.join(packages)}", flush=True)
    with _no_service_started():
        for command in commands:
            # Run level 1 keeps a package from starting its service: the tests start their own.
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
                raise MissingServers(f"installing {', '.join(packages)} failed. Run, {advice}")
    if still_missing := missing_packages():
        raise MissingServers(f"{', '.join(still_missing)} brought no server program. Run, {advice}")


@contextlib.contextmanager
def _no_service_started() -> Iterator[None]:
    """Forbid packages to start services meanwhile, where the machine has no policy of its own on that."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
