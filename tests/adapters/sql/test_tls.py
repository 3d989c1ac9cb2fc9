"""TLS to a real MariaDB: verified, or not at all."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings, SqlTls
from css.ports.sql import SqlError
from tests.servers import MariaDBServer, servers


def write_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate for an address, signed by itself. @return: certificate file, key file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{host}.pem", folder / f"{host}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


class TlsMariaDB(MariaDBServer):
    """A MariaDB with a certificate for `named`, by default its own address."""

    named = ""

    def command(self) -> list[str]:
        self.certificate, key = write_certificate(self.folder, self.named or self.host)
        return [*super().command(), f"--ssl-cert={self.certificate}", f"--ssl-key={key}"]


class OtherNameMariaDB(TlsMariaDB):
    named = "192.0.2.1"


class TlsTests(TestCase):
    timeout = 60

    def connect(self, url: str, certificate: Path) -> SqlDatabase:
        settings = SqlSettings(url=url, tls=SqlTls(ca_file=str(certificate)), timeout_seconds=5)
        database = SqlDatabase(reactor, settings)
        self.addCleanup(lambda: Deferred.fromCoroutine(database.close()))
        return database

    def started(self, server: Any) -> Any:
        self.addCleanup(server.close)
        server.start()
        return server

    async def refused(self, database: SqlDatabase, words: str) -> None:
        preparing: Deferred[Any] = Deferred.fromCoroutine(database.prepare())
        error = await self.assertFailure(preparing, SqlError)
        self.assertIn(words, str(error))

    async def test_encrypted_with_a_trusted_certificate(self) -> None:
        server = self.started(TlsMariaDB())
        database = self.connect(server.new_schema(), server.certificate)
        await database.prepare()
        with database._engine.connect() as connection:
            cipher = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").all()[0][1]
        self.assertNotEqual(cipher, "")

    async def test_certificate_that_nobody_trusts(self) -> None:
        server = self.started(TlsMariaDB())
        stranger, _ = write_certificate(server.folder, "192.0.2.9")
        await self.refused(self.connect(server.new_schema(), stranger), "CERTIFICATE_VERIFY_FAILED")

    async def test_certificate_of_another_host(self) -> None:
        server = self.started(OtherNameMariaDB())
        await self.refused(self.connect(server.new_schema(), server.certificate), "IP address mismatch")

    async def test_server_without_tls_is_refused(self) -> None:
        certificate, _ = write_certificate(Path(self.mktemp()).parent, "127.0.0.1")
        await self.refused(self.connect(servers().mariadb().new_schema(), certificate), "SSL")
