"""`cssctl plan`: from the command line to the stores, the plan and the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from css.config import Settings
from css.connections import ServerConnector
from css.core import milliseconds, rules_of
from css.ctl import plan as plans
from css.ctl import planview
from css.ctl.broker import OwnBroker, Unreachable
from css.ctl.plan import Plan, Scene
from css.ctl.reach import address_from, own_of, reached
from css.domain.platforms import Known, Platforms, PlatformState
from css.handlers.rehearsal import Candidates
from css.messages.pms import DomainState, RedisAddress
from css.ports.store import IConferenceStore

ALIVE_NOTE = (
    "hosts are those known alive in Redis; CSS asks RMS for each restore, which may name fewer for a user domain: "
    "give --hosts, or --ask-rms"
)
SUPPOSED_NOTE = (
    "the PMS was not asked: the platforms given by --redis count as backed up here and normal, but for --serving"
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for, beside the configuration.

    `hosts`: by user domain; an empty one: every domain not named. `redis`: address by platform, the own one first.
    """

    kind: str
    subject: str
    pid: str = ""
    redis: tuple[RedisAddress, ...] = ()
    serving: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] = {}
    ask_rms: bool = False
    most: int = 0
    as_json: bool = False


def wanted_from(options: argparse.Namespace, own: str) -> Wanted:
    """@raise ValueError: options contradict each other, or one is no good."""
    given = vars(options)
    addresses, moids = given.get("redis", []), given.get("platform", []) or [own]
    if addresses and len(addresses) != len(moids):
        raise ValueError(f"give one --platform for each --redis: {len(addresses)} and {len(moids)} are given")
    if addresses and moids[0] != own:
        raise ValueError(f"give the own platform's --redis first: {own} is configured")
    ask_rms = given.get("ask_rms", False)
    if ask_rms and "config" not in given:
        raise ValueError("--ask-rms needs --config, which says where the broker is")
    return Wanted(
        kind=options.what,
        subject=options.subject,
        pid=getattr(options, "pid", ""),
        redis=tuple(address_from(text, moid) for text, moid in zip(addresses, moids, strict=False)),
        serving=tuple(given.get("serving", ())),
        hosts=dict(map(_hosts_of, given.get("hosts", ()))),
        ask_rms=ask_rms,
        most=given.get("most", 0),
        as_json=given.get("json", False),
    )


def _hosts_of(text: str) -> tuple[str, tuple[str, ...]]:
    moid, _, ips = text.rpartition("=")
    hosts = tuple(ip.strip() for ip in ips.split(",") if ip.strip())
    if not hosts:
        raise ValueError(f"--hosts {text!r} is not IP,IP… or USERDOMAIN=IP,IP…")
    return moid, hosts


async def make(scene: Scene, wanted: Wanted) -> Plan:
    """Make the plan that is wanted. Fails with `StoreError`, `NotFound` or `Unreachable`."""
    if wanted.kind == "mcu-down":
        return await plans.mcu_down(scene, wanted.subject, wanted.pid)
    work = {"room-down": plans.room_down, "takeover": plans.takeover, "handback": plans.handback}[wanted.kind]
    return await work(scene, wanted.subject)


def shown(plan: Plan, as_json: bool) -> str:
    """For programs, or for people."""
    return msgspec.json.format(msgspec.json.encode(plan)).decode() if as_json else planview.text(plan)


class DryRun:
    """Reaches what a plan needs, and leaves it again. Nothing is written to any store."""

    def __init__(self, reactor: Any, settings: Settings, wanted: Wanted) -> None:
        self._reactor = reactor
        self._settings = settings
        self._wanted = wanted
        self._own = settings.platform.moid
        self._connector = ServerConnector(reactor, settings)
        self._broker: OwnBroker | None = None
        self._stores: list[IConferenceStore] = []

    async def run(self) -> Plan:
        """@return: the plan. Fails as `make`, and with `PmsSilent`."""
        try:
            return await make(await self._scene(), self._wanted)
        finally:
            for store in self._stores:
                await self._connector.drop_store(store)
            if self._broker is not None:
                await self._broker.stop()

    async def _scene(self) -> Scene:
        wanted, timers = self._wanted, self._settings.timers
        if wanted.ask_rms or not wanted.redis:
            self._broker = OwnBroker(self._reactor, self._connector.make_own_bus(), self._own)
            await self._broker.start()
        addresses, platforms, notes = await self._known()
        stores, away = await self._reach(addresses)
        notes += [f"{each}: what of its conferences is concerned is not in this plan" for each in away]
        states = {moid: self._connector.make_state(store) for moid, store in stores.items()}
        if await states[self._own].is_paused():
            notes.append("restores are paused: none begins until cssctl resume")
        notes += _notes(wanted, self._settings)
        return Scene(
            platforms=platforms,
            stores=stores,
            states=states,
            rules=rules_of(self._settings),
            silence_ms=milliseconds(timers.mcu_timeout_seconds),
            flap_ms=max(1, round(timers.mcu_penalty_seconds)) * 1000,
            given=self._given,
            most=wanted.most,
            notes=tuple(notes),
        )

    async def _known(self) -> tuple[Sequence[RedisAddress], Platforms, list[str]]:
        """Where the stores are, and how the platforms are: as told, else as the PMS says."""
        wanted = self._wanted
        if wanted.redis:
            others = tuple(each.platformmoid for each in wanted.redis[1:])
            states = dict.fromkeys(wanted.serving, PlatformState.ABNORMAL)
            known = {moid: Known(states.get(moid, PlatformState.NORMAL)) for moid in (self._own, *others)}
            return wanted.redis, Platforms(self._own, others, (), known, True), [SUPPOSED_NOTE]
        assert self._broker is not None
        addresses = (await self._broker.pms.ask_config(self._own)).redis or ()
        own_of(addresses, self._own)
        said = await self._broker.pms.ask_state()
        platforms = Platforms(self._own).with_reply(said.moid, said.state, _pairs(said.main), _pairs(said.backup))
        return addresses, platforms, []

    async def _reach(self, addresses: Sequence[RedisAddress]) -> tuple[dict[str, IConferenceStore], list[str]]:
        """The stores that answer, the own one first, and what is wrong with the others."""
        own_first = sorted(addresses, key=lambda each: each.platformmoid != self._own)
        self._stores = [self._connector.make_store(each) for each in own_first]
        found, away = {}, []
        for store in self._stores:
            try:
                found[store.platform] = await reached(self._reactor, store)
            except Unreachable as error:
                if store.platform == self._own:
                    raise
                away.append(str(error))
        return found, away

    async def _given(self, platform: str, moid: str, alive: tuple[str, ...]) -> Candidates:
        """The hosts that are told for a user domain, else what RMS says, else all that are alive.

        RMS here knows nothing of another platform's hosts.
        """
        told = self._wanted.hosts.get(moid, self._wanted.hosts.get(""))
        if told is not None:
            return Candidates(told)
        if self._wanted.ask_rms and self._broker is not None and platform == self._own:
            return await self._broker.resources(moid)
        return Candidates(alive)


def _pairs(listed: Sequence[DomainState] | None) -> list[tuple[str, str]]:
    return [(each.moid, each.state) for each in listed or ()]


def _notes(wanted: Wanted, settings: Settings) -> list[str]:
    """What the plan rests on."""
    rate = settings.restore.rate_per_second
    notes = ["equal loads: CSS chooses at random, this plan the first by address"]
    if not wanted.ask_rms and not wanted.hosts:
        notes.append(ALIVE_NOTE)
    if wanted.ask_rms:
        notes.append("RMS was asked once for each user domain; its answers may change")
    if not wanted.most:
        notes.append("how many conferences an MCU can run is not known here, it refuses when it is full: give --most")
    if rate:
        notes.append(f"at most {rate:g} restores begin in a second")
    return notes
