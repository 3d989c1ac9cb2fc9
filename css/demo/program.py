"""The demo as a program: from the command line to the exit status."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from random import Random
from typing import IO, Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    formatEventAsClassicLogText,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile

from css.config import ConfigError
from css.demo.commands import Input
from css.demo.demo import Demo
from css.demo.errors import DemoError
from css.demo.folder import Folder
from css.demo.layout import PLATFORMS
from css.demo.screen import Screen, Warnings, wants_colour
from css.demo.valkey import HOST, Valkey
from css.demo.world import World

LOG_BYTES = 10_000_000
LOG_FILES = 3
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the demo, in order."""
SECONDS_VARIABLE = "DEMO_SECONDS"


def seconds_of(environment: Mapping[str, str]) -> float | None:
    """How long the demo is to run; None: until it is told to end.

    @raise DemoError: the variable is set, and is no such number.
    """
    text = environment.get(SECONDS_VARIABLE, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise DemoError(f"{SECONDS_VARIABLE}={text}: give a number of seconds above 0, as in {SECONDS_VARIABLE}=20")
    return seconds


def begin_logging(folder: Folder, screen: Screen) -> None:
    """Everything goes to the log file, warnings also to the screen."""
    file = LogFile(folder.log.name, str(folder.path), rotateLength=LOG_BYTES, maxRotatedFiles=LOG_FILES)
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    predicate.setLogLevelForNamespace("css", LogLevel.debug)
    predicate.setLogLevelForNamespace("css.peers", LogLevel.info)
    to_file = FilteringLogObserver(FileLogObserver(cast(IO[Any], file), formatEventAsClassicLogText), [predicate])
    to_screen = Warnings(screen, os.path.join(folder.shown, folder.log.name))
    globalLogBeginner.beginLoggingTo([to_file, to_screen], redirectStandardIO=False)


def live(reactor: Any, folder: Folder, screen: Screen, valkey: Valkey, seconds: float | None) -> int:
    """Run the demo on a started Valkey. @return: the exit status."""
    random = Random()
    key = folder.licence_key()
    world = World(reactor, random, folder.path, (HOST, valkey.port), key, str(uuid.uuid4()))
    demo = Demo(reactor, world, screen, random, lambda: valkey.running, seconds)
    screen.on_gone = lambda: demo.finish("nobody reads this any more")
    commands = Input(reactor, 0, demo.take)

    def begin() -> None:
        for number in ENDING:
            signal.signal(number, lambda number, _: end(signal.Signals(number).name))
        # In the background a terminal's input is not ours; to be stopped by it would stop conferences.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        if sys.stdin is not None:
            commands.start()
        _ = Deferred.fromCoroutine(demo.run()).addBoth(ended)

    def end(name: str) -> None:
        reactor.callFromThread(demo.finish, f"{name} received")

    def ended(_: object) -> None:
        for number in ENDING:  # a second Ctrl-C would find Python without its handlers, and spoil the exit status
            signal.signal(number, signal.SIG_IGN)
        commands.stop()
        reactor.stop()

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    return demo.status


def main(arguments: Sequence[str]) -> int:
    """The whole program. @return: the exit status: 0, or 1 if something was lost or failed."""
    parser = argparse.ArgumentParser(prog="python -m css.demo", description="Two platforms of CSS in one process.")
    parser.add_argument("--var", default="var", metavar="FOLDER", help="where data and the log are kept (var)")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no Chinese is no reason to fail
    screen = Screen(sys.stdout, wants_colour(sys.stdout, os.environ))
    try:
        seconds = seconds_of(os.environ)
        folder = Folder(options.var)
        begin_logging(folder, screen)
        valkey = Valkey(folder.path / "valkey", len(PLATFORMS), folder.lock)
        try:
            valkey.start()
            return live(global_reactor, folder, screen, valkey, seconds)
        finally:
            valkey.stop()
    except (DemoError, ConfigError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make run: {error}: look at the rights and the free space of {options.var}", file=sys.stderr)
        return 1
