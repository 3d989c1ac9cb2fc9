"""TLS to a real Redis: verified, or not at all."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from css.adapters.redis.locate import trust_root
from css.adapters.redis.settings import RedisSettings
from css.ports.store import Outcome
from tests.adapters.redis.fixture import wait
from tests.adapters.redis.test_faults import Faults, commit, quick
from tests.adapters.sql.test_tls import write_certificate
from tests.servers import RedisServer, servers
from tests.servers.process import free_port


class TlsRedis(RedisServer):
    """A Redis that also speaks TLS, with a certificate for `named`."""

    def __init__(self, named: str) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.certificate, self._key = write_certificate(self.folder, named)

    def command(self) -> list[str]:
        tls = {
            "tls-port": str(self.tls_port),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self._key),
            "tls-auth-clients": "no",
        }
        return [*super().command(), *(word for name, value in tls.items() for word in (f"--{name}", value))]


class TlsTests(Faults):
    def tls_server(self, named: str = "127.0.0.1") -> TlsRedis:
        servers().redis_address()  # the program is installed
        server = TlsRedis(named)
        self.addCleanup(server.close)
        server.start()
        return server

    def encrypted(self, server: TlsRedis, ca_file: Path | None) -> RedisSettings:
        address = (server.host, server.tls_port)
        return quick(address, tls=True, tls_ca_file="" if ca_file is None else str(ca_file), password="secret-word")

    async def test_trusted_server_serves(self) -> None:
        server = self.tls_server()
        settings = quick((server.host, server.tls_port), tls=True, tls_ca_file=str(server.certificate), db=3)
        store = await self.ready(settings)
        self.assertEqual((await store.commit(commit())).outcome, Outcome.DONE)
        await store.stop()
        self.assertFalse(store.available)

    async def test_server_of_another_authority_or_name_is_refused(self) -> None:
        server, other = self.tls_server(), self.tls_server(named="192.0.2.1")
        for settings in (
            self.encrypted(server, None),
            self.encrypted(server, other.certificate),
            self.encrypted(other, other.certificate),
        ):
            store = self.started(settings)
            await wait(0.3)
            self.assertFalse(store.available)
            reason = await self.reason(store)
            self.assertRegex(reason, "certificate verify failed|VerificationError")
            await store.stop()

    async def test_plain_server_is_refused(self) -> None:
        server = self.tls_server()
        store = self.started(quick(server.address, tls=True, tls_ca_file=str(server.certificate)))
        await wait(0.2)
        self.assertFalse(store.available)
        plain = await self.ready(quick(server.address))
        self.assertEqual((await self.reason(plain), await self.reason(store)), ("", "not connected"))


class TrustTests(SynchronousTestCase):
    def test_file_without_certificates_is_an_error_at_start(self) -> None:
        file = Path(self.mktemp())
        self.assertRaises(OSError, trust_root, str(file))
        file.write_text("nothing\n", encoding="ascii")
        self.assertRaises(ValueError, trust_root, str(file))
