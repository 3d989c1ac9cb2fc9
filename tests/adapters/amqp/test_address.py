"""AMQP URLs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.adapters.amqp.address import AmqpAddress, BadAddress


class Addresses(SynchronousTestCase):
    """AMQP URLs."""

    def test_whole(self) -> None:
        address = AmqpAddress.from_url("amqps://us%40er:p%2Fw@host.example:1234/v%2Fh", ca_file="ca.pem")
        self.assertEqual(address, AmqpAddress("host.example", 1234, "v/h", "us@er", "p/w", True, "ca.pem"))

    def test_defaults(self) -> None:
        self.assertEqual(AmqpAddress.from_url("amqp://h"), AmqpAddress("h"))
        self.assertEqual(AmqpAddress.from_url("amqps://h/").port, 5671)
        self.assertEqual(AmqpAddress.from_url("amqp://[::1]:99/x"), AmqpAddress("::1", 99, "x"))

    def test_bad(self) -> None:
        for url in ("http://h", "amqp://", "h:5672", "", "amqp://h:port", "amqp://h:99999"):
            self.assertRaises(BadAddress, AmqpAddress.from_url, url)

    def test_no_password_in_sight(self) -> None:
        address = AmqpAddress.from_url("amqp://user:geheim@h/v")
        self.assertNotIn("geheim", f"{address} {address!r}")
        error = self.assertRaises(BadAddress, AmqpAddress.from_url, "amqp://user:geheim@h:99999/v")
        self.assertNotIn("geheim", f"{error} {error.__cause__!r}")
