"""From settings to an engine: secrets, TLS, unusable URLs."""

from __future__ import annotations

import ssl

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings, SqlTls, make_engine


class EngineTests(SynchronousTestCase):
    def test_secrets_are_not_printed(self) -> None:
        settings = SqlSettings(url="mysql://u:secret@db/css", password="secret", tls=SqlTls())
        self.assertNotIn("secret", repr(settings))
        self.assertNotIn("secret", repr(SqlDatabase(reactor, settings)))
        self.assertNotIn("secret", repr(make_engine(settings)))

    def test_user_and_password_replace_those_of_the_url(self) -> None:
        url = make_engine(SqlSettings(url="mysql://u:p@db/css", user="a", password="b@:/")).url
        self.assertEqual((url.username, url.password, url.host, url.port), ("a", "b@:/", "db", 3306))

    def test_tls_verifies_certificate_and_name(self) -> None:
        context = SqlTls().context()
        self.assertEqual(context.verify_mode, ssl.CERT_REQUIRED)
        self.assertTrue(context.check_hostname)

    def test_unreadable_certificates_are_told_at_once(self) -> None:
        settings = SqlSettings(url="mysql://db/css", tls=SqlTls(ca_file=self.mktemp()))
        self.assertRaises(OSError, make_engine, settings)

    def test_other_databases_are_refused(self) -> None:
        self.assertRaises(ValueError, make_engine, SqlSettings(url="postgresql://db/css"))
