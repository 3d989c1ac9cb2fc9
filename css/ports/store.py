"""The conference-store port: one platform's Redis. One commit primitive serves every step of every conference.

Names of sets and indexes are given without prefix; the Redis adapter keeps them below `css/`. All times are integer
milliseconds of the *store's* clock since the epoch unless said otherwise; all values in hashes are text. Epochs travel
as text: 2^53 does not survive Lua's number formatting.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec
from zope.interface import Attribute, Interface

from css.ports.placing import Standing

Fields = dict[str, str]


class StoreError(Exception):
    """The store did not answer, or answered with an error: whether the command was executed is unknown."""


class WrongType(StoreError):
    """A key is of another type than CSS writes: somebody else has written it. Until it is gone it is always so."""


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """A member to put in a set of bounded size (a licence). A member that is already there needs no place."""

    set_name: str
    member: str
    limit_key: str
    """Full Redis key of the hash that holds the limit, e.g. `domain/<moid>/license`."""
    limit_field: str
    """Its field; if the key exists and the field is missing or empty there is no limit. Once the time in the hash's
    field `expires` (seconds since the epoch, by the store's clock) has come, the limit is zero whatever it says."""
    required: bool
    """What it means that `limit_key` is missing: True: refused, False: no limit."""


class RequestWrite(msgspec.Struct, frozen=True, gc=False):
    """The memory of one request (`css/req/<key>`), by which its repetition is known."""

    key: str
    value: bytes
    """Empty: pending. Else the answer, in the caller's own encoding."""
    ttl_seconds: int
    only_new: bool = False
    """Refuse the whole commit with `DUPLICATE` if the key exists already."""


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an ended conference, in `css/ended/<e164>`: fields `epoch`, `reason`, `time` and any others."""

    fields: Fields
    ttl_seconds: int


class OutboxEntry(msgspec.Struct, frozen=True, gc=False):
    """Effects that must follow a commit, kept until `clear_outbox` says that they are done.

    Entries of one (platform, lane, e164) are ordered by (epoch, version): the first numbers of `mark`.
    """

    platform: str
    """Moid of the platform whose instances carry it out."""
    lane: str
    """Which of its receivers: a lane is emptied independently of the others."""
    mark: str
    """`<epoch>.<version>` of the commit; unique within (platform, lane, e164)."""
    data: bytes
    due_ms: int
    """When a sweep may take it: before that, whoever committed carries it out."""


class Commit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that one step writes to one store. It happens whole or not at all."""

    e164: str
    expected: tuple[str, int] | None = None
    """(`first_epoch`, `version`) of the record that the step was decided on; None: there must be no record."""
    touch_record: bool = True
    """False: the record is neither checked nor changed, `expected` and all record parts are ignored (effects,
    requests, indexes, reservations and guards still count)."""
    set_fields: Fields = {}
    """Fields of `confex/<e164>` to set. On success the store sets `version` itself: 1, or the expected one plus 1."""
    drop_fields: tuple[str, ...] = ()
    delete_record: bool = False
    """Delete `confex/<e164>` and `conf/<e164>`."""
    set_conf: Fields | None = None
    """Fields of `conf/<e164>` to set; None: leave it."""
    index_add: dict[str, int] = {}
    """Index name -> score; the member is always the e164. Indexes are sorted sets."""
    index_drop: tuple[str, ...] = ()
    reserve: tuple[Reservation, ...] = ()
    unreserve: tuple[tuple[str, str], ...] = ()
    """(set name, member) to give back; missing ones are fine."""
    request: RequestWrite | None = None
    answers: tuple[RequestWrite, ...] = ()
    """Answers to remember of *other* requests, written without any check (their `only_new` is ignored)."""
    tombstone: Tombstone | None = None
    above_tombstone: str = ""
    """An epoch: the commit is refused with `OLD_EPOCH` unless it exceeds the tombstone's, if there is one."""
    guards: tuple[tuple[str, str], ...] = ()
    """(full key, value): each must be a string key with that value, or missing where the value is empty."""
    hashes: dict[str, Fields | None] = {}
    """Public hashes to replace, by full key (None: delete), as `write_hashes` does."""
    strings: dict[str, str] = {}
    """String keys of CSS's own to set, by full name; empty: delete. With `guards` a compare-and-set."""
    outbox: tuple[OutboxEntry, ...] = ()
    cleared: tuple[tuple[str, str, str], ...] = ()
    """(platform, lane, mark) of earlier entries of this number that have been carried out: forgotten in the same step,
    before `waiting` is answered (saves a `clear_outbox` on the hot path); as `clear_outbox` does."""


class Loaded(msgspec.Struct, gc=False):
    """All that a store knows of one number."""

    record: Fields
    """`confex/<e164>`; empty: no record."""
    conf: Fields
    tombstone: Fields
    request: bytes | None = None
    """The remembered request that was asked for: None: unknown, empty: pending, else its answer."""


class Outcome(enum.Enum):
    """What became of a commit."""

    DONE = "done"
    CONFLICT = "conflict"
    DUPLICATE = "duplicate"
    LIMIT = "limit"
    GUARD = "guard"
    OLD_EPOCH = "old_epoch"


class CommitResult(msgspec.Struct, gc=False):
    """`loaded` is given for every outcome but DONE and GUARD (with the request of the commit, if it had one).

    Checks are made in this order: DUPLICATE, GUARD, CONFLICT, OLD_EPOCH, LIMIT.
    """

    outcome: Outcome
    loaded: Loaded | None = None
    detail: str = ""
    """LIMIT: the set's name; GUARD: the key."""
    waiting: tuple[str, ...] = ()
    """DONE: lanes of this commit's outbox entries in which *earlier* entries of the number still wait: these entries
    may not be carried out before those."""


class OutboxBatch(msgspec.Struct):
    """The waiting effects of one number in one lane, in order."""

    e164: str
    entries: list[tuple[str, bytes]]
    """(mark, data)"""


class IConferenceStore(Interface):
    """One platform's Redis. Each method fails with `StoreError` when it does not answer in time, or with an error."""

    platform = Attribute("Moid of the platform whose store this is.")
    available = Attribute("True while the link to it is up.")
    links = Attribute("How often the link has come up: another server may answer since, which lacks the newest writes.")

    async def load(e164: str, request_key: str = "") -> Loaded:
        """Read all that is known of a number, in one atomic step."""

    async def commit(commit: Commit) -> CommitResult:
        """Write one step, all or nothing. After a `StoreError` the outcome is unknown: load, and decide again."""

    async def claim_due(index: str, lease_ms: int, limit: int) -> list[str]:
        """Numbers in a sorted set whose score is at or below the store's now, oldest first, at most `limit`.

        Each is claimed: its score becomes now + `lease_ms`, so that no other instance takes it meanwhile.
        """

    async def ready_restores(limit: int) -> tuple[int, bool]:
        """Numbers in the index `restore/<platform>` whose score is at or below the store's now, at most `limit`, move
        to `ready/<platform>`, scored as in `urgency/<platform>`. Costs in proportion to what moves.

        @return: how many are in `ready/` now; whether more are due to be moved.
        """

    async def claim_restores(lease_ms: int, limit: int) -> list[str]:
        """The first numbers in `ready/<platform>`, at most `limit`: the most urgent of those that are ready.

        Each is claimed: it moves back to `restore/<platform>`, scored now + `lease_ms`.
        """

    async def due_before(index: str, before_ms: int, limit: int) -> list[str]:
        """Numbers in a sorted set whose score is at or below a time, lowest first, at most `limit`. None is claimed."""

    async def differing(ip: str, pid: str, entries: Sequence[tuple[str, str]]) -> list[str]:
        """Of (e164, epoch) entries, epoch as text or empty: the numbers whose record is not `ongoing` on this process
        with that epoch (any, if empty), was missed by an earlier list (field `missed`), or is no record at all."""

    async def page_index(index: str, cursor: str, limit: int) -> tuple[list[str], str]:
        """Members of an index, paged; begin with an empty cursor, end when the returned cursor is empty.

        A member that is there throughout is seen at least once. Each page costs in proportion to `limit`.
        """

    async def index_size(index: str) -> int:
        """@return: how many members an index, or a set of reservations, has."""

    async def sweep_reservations(set_name: str, cursor: str, limit: int) -> tuple[int, str]:
        """Drop from a set of reservations what belongs to no record: members `<e164>:<first epoch>` of numbers whose
        record is missing, or has another `first_epoch`. Paged like `page_index`.

        @return: how many were dropped, and the next cursor; empty: that was all.
        """

    async def take_outbox(platform: str, lane: str, lease_ms: int, limit: int) -> list[OutboxBatch]:
        """Claim at most `limit` numbers with due entries in a lane, oldest first, each with all its entries in order.

        A claimed number becomes due again after `lease_ms`.
        """

    async def clear_outbox(platform: str, lane: str, done: Sequence[tuple[str, str]]) -> None:
        """Forget entries, as (e164, mark), that have been carried out. Unknown ones are fine.

        What is left of a number in the lane has waited for that, and becomes due now.
        """

    async def outbox_lanes(platform: str) -> list[str]:
        """@return: lanes of a platform in which anything waits."""

    async def outbox_size(platform: str, lane: str) -> int:
        """@return: how many entries wait in a lane. Costs in proportion to the numbers in it."""

    async def read_hash(key: str) -> Fields:
        """Read one of the public hashes (`domain/<moid>/info`, …) by its full key; empty if missing."""

    async def read_hashes(prefix: str, suffix: str) -> dict[str, Fields]:
        """All hashes whose full key begins and ends so, by key; scanned in pages. For domains and licences only."""

    async def write_hashes(
        hashes: dict[str, Fields | None], bump: str = "", outbox: tuple[OutboxEntry, ...] = ()
    ) -> None:
        """Replace public hashes by full key (None: delete), atomically; then increment the string key `bump`.

        Given outbox entries (their number is the empty e164) are appended in the same step.
        """

    async def read_string(key: str) -> str:
        """@return: a string key of CSS's own by its full name, e.g. `css/domains/generation`; empty if missing."""

    async def now_ms() -> int:
        """@return: the store's clock, milliseconds since the epoch."""


class Booking(msgspec.Struct, frozen=True, gc=False):
    """A place on an MCU that `IMcuLoads.book` has taken."""

    ip: str
    roommoid: str
    """The room that the host last reported, else empty."""


class McuSeen(msgspec.Struct, frozen=True):
    """A sign of life of one MCU process. `time_ms` 0: it has disconnected."""

    ip: str
    pid: str
    time_ms: int
    roommoid: str = ""
    """Empty: unknown, keep what is known."""


class McuHost(msgspec.Struct, frozen=True):
    """What is known of one MCU host. Times in milliseconds."""

    ip: str
    roommoid: str
    processes: dict[str, int]
    """Those that were heard of and are not forgotten: pid -> when last, 0: disconnected."""
    load: int
    """Booked conferences, those that run included."""
    drained: bool
    losses: int
    """How often it was lost lately, see `book`."""


class ListMark(msgspec.Struct, frozen=True):
    """What tells the order of an MCU process's lists."""

    seq: int
    time: int | None = None
    """Seconds, by the MCU's clock."""
    restarted: bool = False
    """It says that its process has begun anew."""


class IPlatformState(Interface):
    """What all instances of one platform share in its *own* Redis: MCUs, their load, rooms, instance slots.

    Every method fails with `StoreError` like those of `IConferenceStore`. Times are milliseconds of this store's clock.
    """

    async def book(
        token: str,
        candidates: Sequence[str],
        default_room: str,
        silent_before_ms: int,
        lease_ms: int,
        flap_ms: int = 0,
    ) -> Booking | None:
        """Choose and book, atomically, the least loaded of `candidates` (ties: the first, so hand them over shuffled).

        A host that flaps is chosen only if all others are left out: for `flap_ms` after its second loss, twice as long
        after each further one, 32 times at most; 20 minutes without a loss, and its losses are forgotten. A loss is a
        process that disconnected, or was forgotten as silent; what is lost of a host within 5 s is one.

        Left out are hosts that are drained, whose room (`default_room` if they never reported one) is abnormal, or
        all of whose known processes are disconnected or last seen before `silent_before_ms`; a host never heard of is
        in. Load is the number of tokens booked on the host plus its penalty. The booking is checked once by
        `claim_bookings`, after `lease_ms`. A token that is already booked keeps its place: that booking is returned.
        """

    async def unbook(bookings: Sequence[tuple[str, str]]) -> None:
        """Drop (ip, token) bookings. Unknown ones are fine."""

    async def rebook(bookings: Sequence[tuple[str, str]], lease_ms: int) -> None:
        """Count (ip, token) placements that were not booked; they are checked like bookings, after `lease_ms`."""

    async def accept_list(ip: str, pid: str, mark: ListMark, patience_ms: int) -> bool:
        """Note the number of a process's list. @return: False if a newer one was noted before.

        The numbering begins anew, and any list is accepted, if the process was forgotten or has disconnected, or if
        no list of it was accepted for `patience_ms`: whatever went wrong, it is not ignored for longer. So it does with
        a list that says that its process has restarted, unless it is an older one: by its time, or, where that can't
        tell, by a number above the one that the known run began with. A list of the first number that comes again
        without a time can't be told from a restart; it is accepted, and what comes after it too.
        """

    async def unknown_since(ip: str, pid: str, numbers: Sequence[str]) -> dict[str, int]:
        """Note which conferences a process lists that have no record: exactly these.

        @return: since when each has been noted, milliseconds.
        """

    async def is_replacement_known(ip: str, pid: str) -> bool:
        """@return: whether `note_replacement` was called for a process that has not been forgotten since."""

    async def note_replacement(ip: str, pid: str) -> None:
        """A process has replaced all others of its host, and they have been taken care of: once is enough."""

    async def processes_of(ip: str) -> dict[str, int]:
        """@return: pid -> when it was last seen, milliseconds; 0: it has disconnected."""

    async def claim_bookings(lease_ms: int, limit: int) -> list[tuple[str, str]]:
        """(ip, token) of bookings whose lease has run out, claimed for another lease. Follow with `settle_bookings` or
        `unbook`."""

    async def settle_bookings(bookings: Sequence[tuple[str, str]]) -> None:
        """These (ip, token) bookings belong to a record: keep their load, look at them no more."""

    async def loads(ips: Sequence[str]) -> dict[str, int]:
        """Booked tokens per host, penalties left out."""

    async def penalise(ip: str, weight: int, seconds: int) -> None:
        """Add phantom load to a host, which decays linearly to nothing in `seconds` from now; what is left of an
        earlier one is added."""

    async def note_seen(seen: Sequence[McuSeen]) -> None:
        """Record signs of life, in one step."""

    async def set_drained(ip: str, drained: bool) -> None:
        """Keep a host from new conferences, or let it have them again."""

    async def hosts() -> list[McuHost]:
        """All hosts of which a process is known, and all drained ones, by their addresses. For people: costs in
        proportion to all that."""

    async def standings(ips: Sequence[str]) -> list[Standing]:
        """What `book` looks at, of each of these hosts, in their order. Nothing is changed."""

    async def set_paused(paused: bool) -> None:
        """Keep all instances of the platform from beginning restores by themselves, or let them go on."""

    async def is_paused() -> bool:
        """@return: whether `set_paused` was called so."""

    async def known_processes(silent_before_ms: int = 0) -> int:
        """@param silent_before_ms: if given, only those that were last heard of before this time are counted, without
        those that have disconnected.
        @return: how many MCU processes were heard of and are not forgotten by `forget_processes`.
        """

    async def claim_gone(silent_before_ms: int, lease_ms: int, limit: int) -> list[McuSeen]:
        """Processes that have disconnected (`time_ms` 0) or were last seen before `silent_before_ms`, oldest first.

        Each is claimed for `lease_ms`, so that no other instance takes it meanwhile. Follow with `forget_processes`
        once all that ran there is taken care of. A process that is heard of again is no longer gone.
        """

    async def expect_processes(processes: Sequence[tuple[str, str]]) -> None:
        """Something runs on these (ip, pid): one that was never heard of, or is forgotten, counts as heard of just now,
        so that `claim_gone` names it should it be silent. For the placing of anything nothing is changed."""

    async def forget_processes(gone: Sequence[McuSeen]) -> None:
        """These processes are taken care of: `claim_gone` names them no more, unless they are heard of again. One that
        was heard of since it was claimed stays. What `accept_list` and `note_replacement` noted of it goes."""

    async def draw(bucket: str, rate_per_second: float, burst: int, want: int) -> int:
        """Draw tokens from a bucket that all instances share and that fills at a rate, to `burst` at most.

        @return: how many were there, at most `want`.
        """

    async def abnormal_rooms() -> set[str]:
        """@return: moids of the rooms that are abnormal."""

    async def set_room(roommoid: str, abnormal: bool, seq: int = -1) -> bool:
        """Record a room's state. With a `seq` >= 0, one not above the last known of the room is ignored.

        @return: whether the state changed.
        """

    async def replace_rooms(abnormal: Sequence[str]) -> None:
        """The abnormal rooms are exactly these."""

    async def note_duty(on: bool) -> int:
        """Note whether the platform is on duty, or off duty because the PMS calls it abnormal.

        @return: if on duty, when it was first noted to be so again, milliseconds; 0: it never was off duty.
        """

    async def claim_slot(owner: str, lease_ms: int) -> int:
        """Claim, or renew, this instance's slot, 0 to 1023; the same owner gets the same one while its lease lasts.

        @raise StoreError: also when all 1,024 are taken.
        """

    async def release_slot(owner: str) -> None:
        """Give the slot back."""
