"""`cssctl` as a program: from the command line to the exit status."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from css.config import ConfigError, Settings, load
from css.connections import ServerConnector
from css.ctl.broker import Unreachable
from css.ctl.control import Control, NotFound
from css.ctl.dryrun import DryRun, shown, wanted_from
from css.ctl.reach import address_from, bare_settings, own_store
from css.handlers.pms import PmsSilent
from css.ports.store import StoreError

NO_PLAN = 2
"""Exit status of `plan` when there is none."""


def parser() -> argparse.ArgumentParser:
    """The command line. Options may stand before or after the verb."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", metavar="FILE", help="CSS's configuration; the PMS is asked where Redis is")
    common.add_argument(
        "--redis", action=_Each, metavar="HOST:PORT/DB", help="the platform's own Redis, where the PMS is not asked"
    )
    common.add_argument("--platform", action=_Each, metavar="MOID", help="whose Redis that is, without --config")
    common.add_argument("--who", help="who acts, for the ledger (default: the user)")
    common.add_argument("--reason", help="why, for the ledger")
    program = argparse.ArgumentParser("cssctl", description="See and steer one platform of CSS.", parents=[common])
    verbs = program.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, meaning: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=meaning, description=meaning, parents=[common])

    verb("drain", "give an MCU host no new conferences").add_argument("ip")
    verb("undrain", "let an MCU host have new conferences again").add_argument("ip")
    verb("pause", "begin no restores")
    verb("resume", "begin restores again")
    verb("mcus", "show the MCU hosts")
    recoveries = verb("recoveries", "show the newest recoveries and what operators did, or one of them step by step")
    recoveries.add_argument("id", nargs="?", help="its name")
    conferences = verb("conferences", "show the platform's conferences, or all that is known of one")
    conferences.add_argument("e164", nargs="?", help="its number")
    for listing, most in ((recoveries, 20), (conferences, 200)):
        listing.add_argument("--limit", type=_count, default=most, help=f"how many at most ({most})")
    _add_plan(verb("plan", "show what a recovery would do, without doing it; status 3: not all would fit"), common)
    return program


def _add_plan(plan: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The four that can be supposed. --redis and --platform may be given for several platforms, the own one first."""
    kinds = plan.add_subparsers(dest="what", required=True, metavar="WHAT")
    for kind, subject, meaning in (
        ("mcu-down", "IP", "an MCU host, or one process of it, has gone"),
        ("room-down", "ROOM", "a room is abnormal"),
        ("takeover", "PLATFORM", "a platform that is backed up here is abnormal"),
        ("handback", "PLATFORM", "it is normal again"),
    ):
        each = kinds.add_parser(kind, help=meaning, description=meaning, parents=[common])
        each.add_argument("subject", metavar=subject)
        if kind == "mcu-down":
            each.add_argument("pid", nargs="?", default="", metavar="PID")
        each.add_argument("--json", action="store_true", help="for programs")
        each.add_argument(
            "--hosts",
            action="append",
            default=[],
            metavar="[USERDOMAIN=]IP,IP",
            help="the hosts that RMS would give (default: those that are alive)",
        )
        each.add_argument("--ask-rms", action="store_true", help="ask RMS for them, once a user domain")
        each.add_argument("--most", type=_count, default=0, metavar="N", help="conferences that a host can run")
        each.add_argument(
            "--serving", action="append", default=[], metavar="MOID", help="it is abnormal now (without the PMS)"
        )


class _Each(argparse.Action):
    """Collects an option wherever on the line it stands: a verb's parser begins with an empty namespace."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._values: list[str] = []

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        self._values.append(values)
        setattr(namespace, self.dest, list(self._values))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


async def obey(control: Control, options: argparse.Namespace) -> None:
    """Do what the verb says. Fails with `StoreError` or `NotFound`."""
    verb = options.verb
    if verb == "recoveries":
        await (control.recovery(options.id) if options.id else control.recoveries(options.limit))
    elif verb == "conferences":
        await (control.conference(options.e164) if options.e164 else control.conferences(options.limit))
    elif verb in ("drain", "undrain"):
        await {"drain": control.drain, "undrain": control.undrain}[verb](options.ip)
    else:
        await {"pause": control.pause, "resume": control.resume, "mcus": control.mcus}[verb]()


FAULTS = (ConfigError, ValueError, Unreachable, NotFound, StoreError, PmsSilent)
"""What goes wrong without being a mistake of the program; the text says what."""


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Connect, obey, close. @return: the exit status."""
    given = vars(options)
    try:
        settings = load(given["config"]) if "config" in given else bare_settings(given["platform"][0])
        if options.verb == "plan":
            return await _plan(reactor, settings, options)
        address = address_from(given["redis"][0], settings.platform.moid) if "redis" in given else None
        store = await own_store(reactor, settings, address)
        connector = ServerConnector(reactor, settings)
        who, why = given.get("who") or getpass.getuser(), given.get("reason", "")
        control = Control(store, connector.make_state(store), connector.make_ledger(store), print, who, why)
        try:
            await obey(control, options)
        finally:
            await connector.drop_store(store)
    except FAULTS as error:
        print(f"cssctl: {error}", file=sys.stderr)
        return NO_PLAN if options.verb == "plan" else 1
    return 0


async def _plan(reactor: Any, settings: Settings, options: argparse.Namespace) -> int:
    wanted = wanted_from(options, settings.platform.moid)
    plan = await DryRun(reactor, settings, wanted).run()
    print(shown(plan, wanted.as_json))
    return plan.status


def main(arguments: Sequence[str] | None = None) -> None:
    """The whole program; ends the process: 0; 1 if it did not work (`plan`: 2, and 3 if not all would fit); 2 if the
    command line is no good."""
    program = parser()
    options = program.parse_args(arguments)
    given = vars(options)
    if "config" not in given and not ("redis" in given and "platform" in given):
        program.error("give --config FILE, or --redis HOST:PORT/DB and --platform MOID")
    if options.verb != "plan" and len(given.get("redis", ())) > 1:
        program.error("only plan takes more than one --redis")

    def begin(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(run(reactor, options)).addCallback(sys.exit)

    react(begin)
