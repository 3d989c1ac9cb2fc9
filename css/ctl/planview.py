"""A plan as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from css.ctl.plan import Plan
from css.handlers.rehearsal import HostLoad, Item, Outcome

_NOT_RESTORED = {
    Outcome.STUCK: "would not fit",
    Outcome.WAITS: "would wait for old hardware",
    Outcome.ENDS: "would end",
    Outcome.STAYS: "would stay",
}


def text(plan: Plan) -> str:
    """The whole plan, line by line."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"dry run on {plan.platform}: {plan.kind} {plan.subject}; nothing is written"
    lost = sum(each.lost for each in plan.conferences)
    moved = [each for each in plan.conferences if each.outcome is Outcome.MOVES]
    waited = sum(not each.lost for each in moved)
    if moved:
        yield f"{lost} conferences are lost, {len(moved)} would be restored ({waited} wait already), in this order:"
    else:
        yield f"{lost or 'no'} conferences are lost, none would be restored"
    for number, item in enumerate(moved, 1):
        yield f"{number:6}  {_conference(item)}  -> {item.to_ip} {_room(item.to_room)}  by {item.by}{_waits(item)}"
    for outcome, title in _NOT_RESTORED.items():
        found = [each for each in plan.conferences if each.outcome is outcome]
        if found:
            yield f"{title}: {len(found)}"
            yield from (f"        {_conference(item)}  {item.because}{_waits(item)}" for item in found)
    if plan.hosts:
        yield "hosts:"
        yield from map(_host, plan.hosts)
    yield from (f"note: {note}" for note in plan.notes)
    yield "all fit" if plan.fits else "NOT all fit"


def _conference(item: Item) -> str:
    place = f"{item.ip}/{item.pid or '-'}" if item.ip else "no MCU"
    return f"{item.e164}  priority {item.priority}  {place} {_room(item.roommoid)}  {item.confname}"


def _room(roommoid: str) -> str:
    return f"({roommoid or 'room unknown'})"


def _waits(item: Item) -> str:
    return "" if item.lost or item.outcome is Outcome.STAYS else "  (waits already)"


def _host(host: HostLoad) -> str:
    note = f"  {host.obstacle}" if host.obstacle else ""
    return f"        {host.ip} {_room(host.roommoid)}  {host.platform}  {host.before} -> {host.after}{note}"
