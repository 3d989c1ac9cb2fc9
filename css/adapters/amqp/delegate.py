"""What the broker says on its own account, as txamqp dispatches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txamqp.client import Closed, TwistedDelegate

if TYPE_CHECKING:
    from css.adapters.amqp.link import Link

MAX_FRAME = 131_072
"""What CSS asks for where the broker sets no limit."""

CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class LinkDelegate(TwistedDelegate):
    """Negotiates as CSS wants it, and tells the link what happens to it."""

    client: Link

    def connection_start(self, ch: Any, msg: Any) -> None:
        if "PLAIN" not in msg.mechanisms.split():
            self.client.give_up(f"the broker offers no PLAIN login, only {msg.mechanisms}")
            return
        ch.connection_start_ok(
            client_properties={"product": "CSS", "connection_name": self.client.name, "capabilities": CAPABILITIES},
            mechanism=self.client.mechanism,
            response=self.client.response,
            locale=self.client.locale,
        )

    def connection_tune(self, ch: Any, msg: Any) -> None:
        max_frame = min(msg.frame_max or MAX_FRAME, MAX_FRAME)
        heartbeat = self.client.tuned(max_frame, msg.channel_max, msg.heartbeat)
        ch.connection_tune_ok(msg.channel_max, max_frame, heartbeat)
        self.client.started.fire()

    def connection_blocked(self, ch: Any, msg: Any) -> None:
        self.client.blocked(msg.reason)

    def connection_unblocked(self, ch: Any, msg: Any) -> None:
        self.client.blocked(None)

    def connection_close(self, ch: Any, msg: Any) -> None:
        self.client.failure = f"the broker closed it: {msg.reply_code} {msg.reply_text}"
        ch.connection_close_ok()
        self.client.do_close(msg)

    def channel_close(self, ch: Any, msg: Any) -> None:
        ch.channel_close_ok()
        self.client.channel_closed(ch, msg.reply_code, msg.reply_text)
        ch.do_close(msg)

    def basic_cancel(self, ch: Any, msg: Any) -> None:
        self.client.consumer_cancelled(ch.id)

    def close(self, reason: Any) -> None:
        client = self.client
        client.closed = True
        client.started.fail_if_not_fired(Closed(reason))
        client.flush(with_acks=True)
        client.output.close()
        client.transport.loseConnection()
