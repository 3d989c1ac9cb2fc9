"""States and addresses of platforms and rooms (seed 1.2, 2.2, 2.3)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from css.messages.base import Ip, Moid, Named, Natural, Port, State


class DomainState(msgspec.Struct, frozen=True, gc=False):
    """The state of a platform or a room."""

    moid: Moid
    state: State


class BrokerAddress(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a platform's broker is."""

    ip: Ip
    port: Port
    vhost: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "/"


class RedisAddress(msgspec.Struct, frozen=True, gc=False):
    """Where the Redis of a source platform is."""

    ip: Ip
    port: Port
    db: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    platformmoid: Moid


class SqlAddress(msgspec.Struct, frozen=True, gc=False):
    """Where the database is; `db` is the schema's name."""

    ip: Ip
    port: Port
    db: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class PlatformStateRequest(Named, tag="PLATFORM_STATE_REQ", frozen=True):
    """How is this platform?"""

    moid: Moid


class PlatformStateNotice(Named, tag="PLATFORM_STATE_NOTIFY", frozen=True):
    """How a platform is. The three lists are None in a broadcast, and `rooms` may be None in a reply.

    `main`: platforms that this one backs up; `backup`: those that back this one up; `seq`: older ones are ignored.
    """

    moid: Moid
    state: State
    main: list[DomainState] | None = None
    backup: list[DomainState] | None = None
    rooms: list[DomainState] | None = None
    seq: Natural | None = None


class PlatformConfigRequest(Named, tag="PLATFORM_CONFIG_REQ", frozen=True):
    """Where are this platform's servers?"""

    moid: Moid


class PlatformConfigNotice(Named, tag="PLATFORM_CONFIG_NOTIFY", frozen=True):
    """Where a platform's servers are; `redis` and `mysql` only for the platform that asks about itself."""

    moid: Moid
    mq: list[BrokerAddress]
    redis: list[RedisAddress] | None = None
    mysql: SqlAddress | None = None


class RoomStateNotice(Named, tag="SERVER_ROOM_STATE_NOTIFY", frozen=True):
    """How a server room is."""

    roommoid: Moid
    state: State
    seq: Natural | None = None


MESSAGES = (
    PlatformStateRequest,
    PlatformStateNotice,
    PlatformConfigRequest,
    PlatformConfigNotice,
    RoomStateNotice,
)
