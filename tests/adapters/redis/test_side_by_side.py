"""The memory store and Redis side by side: whatever is done to both, they answer alike and hold the same keys."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import blockingCallFromThread, deferToThread

from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore
from css.ports.store import Commit, ListMark, McuHost, McuSeen, OutboxEntry, RequestWrite, Reservation, Tombstone
from tests.adapters.redis.fixture import REACTOR, RedisFixture, dump
from tests.servers import servers

EXAMPLES, STEPS = 150, 50
CLOCK_TOLERANCE_MS = 3000
"""How far the two clocks may drift apart in an example; all leases are longer, so that nothing runs out in it."""

LEASE = 3_600_000
FUTURE = 4_000_000_000_000
NUMBERS = st.sampled_from(["1", "02", "003"])
NAMES = st.sampled_from(["a", "b/c"])
EPOCHS = st.sampled_from(["7", "1835008000126469", "1835008000126470", "9007199254740991"])
MARKS = st.builds("{}.{}".format, EPOCHS, st.integers(1, 12))
LISTS = st.builds(ListMark, st.integers(0, 3), st.sampled_from([None, 7, 8]), st.booleans())
TEXT = st.sampled_from(["", "x", "周会", "0660175", "a b"])
FIELDS = st.dictionaries(st.sampled_from(["state", "epoch", "ip", "名"]), TEXT, max_size=4)
SCORES = st.sampled_from([1, 2, 1_700_000_000_123, FUTURE])
MEMBERS = st.sampled_from(["m1", "m2", "m3"])
LICENCES = st.sampled_from(["domain/u1/license", "domain/u2/license"])
HOSTS = st.permutations(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
QUEUES = st.sampled_from(["restore/A", "urgency/A", "ready/A"])
HOST = st.sampled_from(["10.0.0.1", "10.0.0.2"])
TOKENS = st.sampled_from(["1:7", "02:7", "003:8"])
ROOMS = st.sampled_from(["r1", "r2"])

RESERVATIONS = st.builds(Reservation, NAMES, MEMBERS, LICENCES, st.sampled_from(["small", "large"]), st.booleans())
OUTBOX = st.builds(OutboxEntry, st.sampled_from(["A", "B"]), NAMES, MARKS, st.binary(max_size=8), SCORES)
REQUESTS = st.builds(
    RequestWrite, st.sampled_from(["q1", "q2"]), st.binary(max_size=4), st.sampled_from([600, 900]), st.booleans()
)
TOMBSTONES = st.builds(Tombstone, st.fixed_dictionaries({"epoch": EPOCHS}), st.just(800))
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "touch_record": st.booleans(),
        "set_fields": FIELDS,
        "drop_fields": st.lists(st.sampled_from(["state", "epoch", "first_epoch"]), max_size=2).map(tuple),
        "delete_record": st.booleans(),
        "set_conf": st.none() | FIELDS,
        "index_add": st.dictionaries(NAMES | QUEUES, SCORES),
        "index_drop": st.lists(NAMES | QUEUES, max_size=2).map(tuple),
        "reserve": st.lists(RESERVATIONS, max_size=3).map(tuple),
        "unreserve": st.lists(st.tuples(NAMES, MEMBERS), max_size=2).map(tuple),
        "request": st.none() | REQUESTS,
        "answers": st.lists(REQUESTS, max_size=2).map(tuple),
        "tombstone": st.none() | TOMBSTONES,
        "above_tombstone": st.just("") | EPOCHS,
        "guards": st.lists(st.tuples(st.sampled_from(["css/g", "domain/u1/info"]), st.sampled_from(["", "1"]))).map(
            tuple
        ),
        "outbox": st.lists(OUTBOX, max_size=3).map(tuple),
        "cleared": st.lists(st.tuples(st.sampled_from(["A", "B"]), NAMES, MARKS), max_size=3).map(tuple),
    },
)


class SideBySide(RuleBasedStateMachine):
    """Each rule does one thing to both. Runs in a thread, beside the reactor of the Redis adapter."""

    store: ClassVar[RedisStore]
    compared: ClassVar[list[str]]
    """The keys of which both have said the same at the end of an example."""

    @initialize()
    def begin(self) -> None:
        self._redis(lambda: self.store.link.command("FLUSHDB"))
        self.clock = Clock()
        self.memory = MemoryStore("A", self.clock)
        self.memory_state = MemoryPlatformState(self.clock, self.memory.server)
        self.redis_state = RedisPlatformState(self.store.link)

    @rule(e164=NUMBERS, known=st.integers(0, 9), first_epoch=EPOCHS, parts=PARTS)
    def commit(self, e164: str, known: int, first_epoch: str, parts: dict[str, Any]) -> None:
        record = self.memory.server.keyspace.hash(f"confex/{e164}")
        expected = (record.get("first_epoch", "7"), int(record["version"])) if record else None
        if known == 0:
            expected = (first_epoch, 1) if expected is None else None
        if not record:
            parts["set_fields"] = {"first_epoch": first_epoch, **parts.get("set_fields", {})}
        self._both(lambda store: store.commit(Commit(e164=e164, expected=expected, **parts)))

    @rule(e164=NUMBERS, epoch=EPOCHS, seats=st.lists(RESERVATIONS, min_size=1, max_size=2).map(tuple))
    def create_or_end(self, e164: str, epoch: str, seats: tuple[Reservation, ...]) -> None:
        record = self.memory.server.keyspace.hash(f"confex/{e164}")
        if record:
            commit = Commit(
                e164=e164,
                expected=(record.get("first_epoch", ""), int(record["version"])),
                delete_record=True,
                tombstone=Tombstone({"epoch": epoch}, 800),
                unreserve=tuple((seat.set_name, seat.member) for seat in seats),
                reserve=seats[1:],
            )
        else:
            commit = Commit(e164=e164, above_tombstone=epoch, set_fields={"first_epoch": epoch}, reserve=seats)
        self._both(lambda store: store.commit(commit))

    @rule(e164=NUMBERS, request=st.sampled_from(["", "q1", "q2"]))
    def load(self, e164: str, request: str) -> None:
        self._both(lambda store: store.load(e164, request))

    @rule(index=NAMES, limit=st.integers(1, 3))
    def claim_due(self, index: str, limit: int) -> None:
        self._both(lambda store: store.claim_due(index, LEASE, limit))

    @rule(index=NAMES)
    def list_index(self, index: str) -> None:
        self._both(lambda store: store.index_size(index))
        self._both(lambda store: _all_pages(store, index))

    @rule(platform=st.sampled_from(["A", "B"]), lane=NAMES, limit=st.integers(1, 3))
    def take_outbox(self, platform: str, lane: str, limit: int) -> None:
        self._both(lambda store: store.take_outbox(platform, lane, LEASE, limit))
        self._both(lambda store: store.outbox_lanes(platform))
        self._both(lambda store: store.outbox_size(platform, lane))

    @rule(lane=NAMES, done=st.lists(st.tuples(NUMBERS | st.just(""), MARKS), max_size=9))
    def clear_outbox(self, lane: str, done: list[tuple[str, str]]) -> None:
        self._both(lambda store: store.clear_outbox("A", lane, done))

    @rule(lane=NAMES)
    def clear_all_that_waits(self, lane: str) -> None:
        dump = self.memory.dump()
        waiting = {key: dump[key] for key in dump if key.startswith(f"css/out/A/{lane}/")}
        done = [(key.rpartition("/")[2], mark) for key, entries in waiting.items() for mark in entries]
        self._both(lambda store: store.clear_outbox("A", lane, done))

    @rule(
        licence=LICENCES,
        limits=st.none() | st.dictionaries(st.sampled_from(["small", "large", "expires"]), st.sampled_from("012x")),
    )
    def write_licence(self, licence: str, limits: dict[str, str] | None) -> None:
        self._both(lambda store: store.write_hashes({licence: limits}))

    @rule(info=st.none() | FIELDS, bump=st.sampled_from(["", "css/g"]), outbox=st.lists(OUTBOX, max_size=2).map(tuple))
    def write_domain(self, info: dict[str, str] | None, bump: str, outbox: tuple[OutboxEntry, ...]) -> None:
        self._both(lambda store: store.write_hashes({"domain/u1/info": info}, bump, outbox))
        self._both(lambda store: store.read_string("css/g"))
        self._both(lambda store: store.read_hash("domain/u1/info"))
        self._both(lambda store: store.read_hashes("domain/", "/license"))

    @rule(
        token=TOKENS,
        hosts=HOSTS,
        room=ROOMS,
        silent=st.sampled_from([0, 5]),
        lease=st.sampled_from([0, LEASE]),
        flap=st.sampled_from([0, LEASE]),
    )
    def book(self, token: str, hosts: list[str], room: str, silent: int, lease: int, flap: int) -> None:
        self._both_states(lambda state: state.book(token, hosts, room, silent, lease, flap))
        self._both_states(lambda state: state.loads(hosts))

    @rule(bookings=st.lists(st.tuples(HOST, TOKENS), max_size=4), settled=st.booleans())
    def end_bookings(self, bookings: list[tuple[str, str]], settled: bool) -> None:
        self._both_states(lambda state: (state.settle_bookings if settled else state.unbook)(bookings))

    @rule()
    def claim_bookings(self) -> None:
        # Those without a lease may have been booked within one millisecond or not: their order is no promise.
        self._both_states(lambda state: _sorted(state.claim_bookings(LEASE, 100)))

    @rule(host=HOST, pid=st.sampled_from("12"), time=st.sampled_from([0, 4, 5, 6]), room=ROOMS | st.just(""))
    def note_seen(self, host: str, pid: str, time: int, room: str) -> None:
        self._both_states(lambda state: state.note_seen([McuSeen(host, pid, time, room)]))

    @rule(silent=st.sampled_from([1, 5, 6, 9]), lease=st.sampled_from([0, LEASE]), limit=st.integers(1, 3))
    def claim_gone(self, silent: int, lease: int, limit: int) -> None:
        self._both_states(lambda state: state.claim_gone(silent, lease, limit))
        self._both_states(lambda state: state.known_processes(silent))
        self._both_states(lambda state: state.known_processes())

    @rule(host=HOST, pid=st.sampled_from("12"), time=st.sampled_from([0, 4, 5, 6]))
    def forget_process(self, host: str, pid: str, time: int) -> None:
        self._both_states(lambda state: state.forget_processes([McuSeen(host, pid, time)]))
        self._both_states(lambda state: state.processes_of(host))

    @rule(host=HOST, pid=st.sampled_from("12"))
    def expect_process(self, host: str, pid: str) -> None:
        self._both_states(lambda state: state.expect_processes([(host, pid)]))

    @rule(host=HOST, pid=st.sampled_from("12"), mark=LISTS)
    def number_list(self, host: str, pid: str, mark: ListMark) -> None:
        self._both_states(lambda state: state.accept_list(host, pid, mark, LEASE))

    @rule(host=HOST, pid=st.sampled_from("12"))
    def replace_process(self, host: str, pid: str) -> None:
        self._both_states(lambda state: state.is_replacement_known(host, pid))
        self._both_states(lambda state: state.note_replacement(host, pid))

    @rule(bookings=st.lists(st.tuples(HOST, TOKENS), max_size=3))
    def rebook(self, bookings: list[tuple[str, str]]) -> None:
        self._both_states(lambda state: state.rebook(bookings, LEASE))

    @rule(ip=st.sampled_from(["", "x"]), entries=st.lists(st.tuples(NUMBERS, EPOCHS | st.just("")), max_size=3))
    def differing(self, ip: str, entries: list[tuple[str, str]]) -> None:
        self._both(lambda store: store.differing(ip, "1", entries))

    @rule(limit=st.integers(1, 3))
    def restores(self, limit: int) -> None:
        self._both(lambda store: store.ready_restores(limit))
        self._both(lambda store: store.claim_restores(LEASE, limit))

    @rule(index=NAMES, before=st.integers(0, 9), limit=st.integers(1, 3))
    def due_before(self, index: str, before: int, limit: int) -> None:
        self._both(lambda store: store.due_before(index, before, limit))

    @rule(host=HOST, drained=st.booleans())
    def drain(self, host: str, drained: bool) -> None:
        self._both_states(lambda state: state.set_drained(host, drained))

    @rule(paused=st.booleans())
    def operate(self, paused: bool) -> None:
        self._both_states(lambda state: state.set_paused(paused))
        self._both_states(lambda state: state.is_paused())
        self._both_states(lambda state: _hosts(state.hosts()))
        self._both_states(_standings)

    @rule(room=ROOMS, abnormal=st.booleans(), seq=st.integers(-1, 4))
    def set_room(self, room: str, abnormal: bool, seq: int) -> None:
        self._both_states(lambda state: state.set_room(room, abnormal, seq))
        self._both_states(lambda state: state.abnormal_rooms())

    @rule(rooms=st.lists(ROOMS, unique=True))
    def replace_rooms(self, rooms: list[str]) -> None:
        self._both_states(lambda state: state.replace_rooms(rooms))

    @rule(owner=st.sampled_from(["css-1", "css 2"]), held=st.booleans())
    def slots(self, owner: str, held: bool) -> None:
        self._both_states(lambda state: state.claim_slot(owner, LEASE) if held else state.release_slot(owner))

    def teardown(self) -> None:
        """Equal dumps and times to live."""
        if not hasattr(self, "memory"):
            return
        ours, theirs = self.memory.dump(), self._redis(lambda: dump(self.store.link))
        assert ours.keys() == theirs.keys(), (ours, theirs)
        for key, value in ours.items():
            assert _alike(value, theirs[key]), (key, value, theirs[key])
            left = self.memory.server.keyspace.ttl_ms(key)
            theirs_left = self._redis(functools.partial(self.store.link.command, "PTTL", key))
            assert abs((-1 if left is None else left) - theirs_left) < CLOCK_TOLERANCE_MS, (key, left, theirs_left)
            self.compared.append(key)

    def _both(self, action: Callable[[Any], Awaitable[Any]]) -> None:
        self._compare(action, self.memory, self.store)

    def _both_states(self, action: Callable[[Any], Awaitable[Any]]) -> None:
        self._compare(action, self.memory_state, self.redis_state)

    def _compare(self, action: Callable[[Any], Awaitable[Any]], memory: Any, redis: Any) -> None:
        now = self._redis(self.store.now_ms)
        self.clock.advance(max(0.0, now / 1000 - self.clock.seconds()))
        theirs = self._redis(lambda: action(redis))
        ours: list[Any] = []
        Deferred.fromCoroutine(action(memory)).addBoth(ours.append)  # type: ignore[arg-type,unused-awaitable]
        assert ours == [theirs]

    def _redis(self, action: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await action()

        return blockingCallFromThread(REACTOR, lambda: Deferred.fromCoroutine(run()))


async def _all_pages(store: Any, index: str) -> set[str]:
    found, cursor = await store.page_index(index, "", 2)
    seen = set(found)
    while cursor:
        found, cursor = await store.page_index(index, cursor, 2)
        seen.update(found)
    return seen


async def _sorted(claiming: Awaitable[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return sorted(await claiming)


async def _standings(state: Any) -> Any:
    """Without what the two clocks make different."""
    found = await state.standings(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    return [msgspec.structs.replace(each, lost_ms=0) for each in found]


async def _hosts(listing: Awaitable[list[McuHost]]) -> list[McuHost]:
    """Without the times that the two clocks gave; those that a rule gave are small."""
    found = await listing
    times = [{pid: min(time, 1_000) for pid, time in host.processes.items()} for host in found]
    return [msgspec.structs.replace(host, processes=seen) for host, seen in zip(found, times, strict=True)]


def _alike(ours: Any, theirs: Any) -> bool:
    """Equal, but for times taken from the two clocks."""
    if isinstance(ours, dict) and ours.keys() == theirs.keys():
        return all(_alike(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, int):
        return bool(abs(ours - theirs) < CLOCK_TOLERANCE_MS)
    if isinstance(ours, str) and len(ours) == len(theirs) == 13 and ours.isdecimal() and theirs.isdecimal():
        return bool(abs(int(ours) - int(theirs)) < CLOCK_TOLERANCE_MS)
    if isinstance(ours, str) and re.match(r"\d{13} ", ours):  # a time and what belongs to it
        mine, other = ours.split(" ", 1), theirs.split(" ", 1)
        return bool(mine[1] == other[1] and abs(int(mine[0]) - int(other[0])) < CLOCK_TOLERANCE_MS)
    return bool(ours == theirs)


class SideBySideTests(RedisFixture):
    timeout = 400  # a failure takes time to shrink; success takes 10 s

    def settings(self) -> RedisSettings:
        host, port = servers().redis_address()
        return RedisSettings(host=host, port=port, db=servers().new_redis_database())

    async def test_memory_and_redis_answer_alike(self) -> None:
        compared: list[str] = []
        machine = type("Machine", (SideBySide,), {"store": self.store, "compared": compared})
        bounds = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        await deferToThread(run_state_machine_as_test, machine, settings=bounds)
        self.assertGreater(len(compared), EXAMPLES)
