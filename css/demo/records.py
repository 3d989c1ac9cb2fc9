"""What the stores and the simulated MCUs hold: for `list`, for the start, and for the account at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from css.domain.conference import Conference, State, from_fields
from css.peers.cmu import CmuHost
from css.peers.cmu_process import Running
from css.ports.store import IConferenceStore

_PAGE = 200


async def stored(stores: Mapping[str, IConferenceStore]) -> dict[str, Conference]:
    """Every conference that has a record, by number. Fails with `StoreError`."""
    found: dict[str, Conference] = {}
    for store in stores.values():
        for moid in stores:
            for e164 in await _members(store, f"platform/{moid}"):
                loaded = await store.load(e164)
                if loaded.record:
                    found[e164] = from_fields(e164, loaded.record, loaded.conf)
    return dict(sorted(found.items()))


async def _members(store: IConferenceStore, index: str) -> list[str]:
    members, cursor = await store.page_index(index, "", _PAGE)
    while cursor:
        more, cursor = await store.page_index(index, cursor, _PAGE)
        members += more
    return members


def take_up(conferences: Iterable[Conference], hosts: Mapping[str, CmuHost]) -> list[Conference]:
    """Let the MCUs run what the records say that they run, as if only CSS had been away. @return: those taken up."""
    taken = []
    for c in conferences:
        host = hosts.get(c.ip)
        if c.state is not State.ONGOING or host is None:
            continue
        process = host.processes.get(c.pid) or host.add_process(c.pid)
        process.conferences[c.e164] = Running(c.e164, c.confname, c.password, c.epoch, c.createtime, c.endtime)
        taken.append(c)
    return taken


def verified(conferences: Iterable[Conference], hosts: Mapping[str, CmuHost]) -> list[str]:
    """Numbers whose record says `ongoing`, and whose MCU process runs that very placement."""
    return [c.e164 for c in conferences if c.state is State.ONGOING and _runs(c, hosts.get(c.ip))]


def _runs(c: Conference, host: CmuHost | None) -> bool:
    process = host.processes.get(c.pid) if host is not None else None
    running = process.conferences.get(c.e164) if process is not None else None
    return running is not None and running.epoch == c.epoch


def waiting(conferences: Iterable[Conference]) -> list[str]:
    """Numbers that wait to be restored, or are being restored: CSS still has them."""
    return [c.e164 for c in conferences if c.has_run and c.state is not State.ONGOING]
