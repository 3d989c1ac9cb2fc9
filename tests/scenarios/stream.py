"""A stream of creates that goes on whatever happens, from a CM that repeats what is not answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import connect
from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings
from css.peers.cm import Request
from css.peers.rms import Resources
from tests.scenarios.ground import ServerGround, reactor, until
from tests.scenarios.processes import Scene
from tests.servers import MariaDBServer, RabbitMQServer, RedisServer

PER_SECOND = 20
REPEAT_SECONDS = 2.0
ANSWER_SECONDS = 120.0
HOSTS = [f"10.2.0.{number}" for number in range(1, 6)]
USER = "u-stream"
PATIENT = {"request_timeout_seconds": 40.0, "creating_timeout_seconds": 60.0}
"""No outage of these tests may fail a create."""


class PrivateGround(ServerGround):
    """The run's servers, but for those that are given."""

    def __init__(
        self,
        rabbitmq: RabbitMQServer | None = None,
        redis: RedisServer | None = None,
        mariadb: MariaDBServer | None = None,
    ) -> None:
        super().__init__()
        self._private_redis = redis
        if rabbitmq is not None:
            self.rabbitmq: Any = rabbitmq
        if mariadb is not None:
            self.sql_url = mariadb.new_schema()
            self.database = SqlDatabase(reactor, SqlSettings(url=self.sql_url))

    def add_platform(self, moid: str) -> None:
        """See `ServerGround.add_platform`."""
        if self._private_redis is None:
            super().add_platform(moid)
            return
        self.redis_address = host, port = self._private_redis.address
        self.vhosts[moid], self.redis[moid] = self.rabbitmq.new_vhost(), 0
        self.stores[moid] = connect(reactor, RedisSettings(host=host, port=port), moid)
        self.stores[moid].start()


class Stream:
    """Creates, one after the other, each with a number of its own."""

    def __init__(self, scene: Scene) -> None:
        self._cm = scene.peers.cm
        scene.peers.rms.answer(USER, Resources(scene.peers.roommoid, HOSTS))
        self.requests: list[Request] = []
        self._repeating: dict[int, Deferred[bool]] = {}
        self._creating = LoopingCall(self._create)
        self._repeats = LoopingCall(self._repeat)

    def start(self) -> Stream:
        """Begin. @return: itself."""
        _ = self._creating.start(1 / PER_SECOND)
        _ = self._repeats.start(REPEAT_SECONDS)
        return self

    async def answered(self, at_least: int = 1) -> None:
        """Wait until so many more creates, begun from now on, have their answer: service goes on."""
        begun = len(self.requests)
        await until(
            lambda: sum(bool(each.answers) for each in self.requests[begun:]) >= at_least,
            ANSWER_SECONDS,
            "creates are answered again",
        )

    async def finish(self) -> list[Request]:
        """Ask for nothing new, and wait until everything is answered. @return: all requests."""
        self._creating.stop()
        try:
            await until(lambda: all(each.answers for each in self.requests), ANSWER_SECONDS, self._missing())
        finally:
            self._repeats.stop()
        return self.requests

    def stop(self) -> None:
        """Stop, whatever is under way."""
        for loop in (self._creating, self._repeats):
            if loop.running:
                loop.stop()

    def outcomes(self) -> Counter[str]:
        """How many creates had which outcome; an answer that differs from an earlier one counts, too."""
        return Counter(
            answer.fields.get("errcode") or answer.type for request in self.requests for answer in request.answers
        )

    def _missing(self) -> str:
        return f"answers to all creates, of which there are {len(self.requests)}"

    def _create(self) -> None:
        number = f"7{len(self.requests):05}"
        request = self._cm.request(
            "CM_MAU_CREATECONF_REQ", confE164=number, confname=f"会议 {number}", moid=USER, mtreqid=number
        )
        _ = request.answer.addErrback(lambda _: None)
        self.requests.append(request)

    def _repeat(self) -> None:
        """One repeat of a request at a time: while the broker is away it waits in the CM."""
        for number, request in enumerate(self.requests[:-PER_SECOND]):
            if not request.answers and number not in self._repeating:
                repeat = self._repeating[number] = self._cm.repeat(request)
                _ = repeat.addBoth(lambda _, number=number: self._repeating.pop(number, None))
