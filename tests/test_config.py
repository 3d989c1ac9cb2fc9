"""The configuration: what it gives, and what it refuses, with the words that say why."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet
from twisted.trial.unittest import SynchronousTestCase

from css.config import Broker, ConfigError, Secret, Settings, load, parse
from tests.adapters.amqp.certificates import Authority

MINIMAL = """
[platform]
moid = "platform-a"
[amqp]
url = "amqp://css:p%40ss@mq.example:5673/css%2Fa"
"""

KEY = Fernet.generate_key().decode()


def _platform(rest: str) -> str:
    return f'[platform]\nmoid = "a"\n{rest}'


_REFUSED = {
    # what is wrong: (configuration, what the error must say)
    "not TOML": ("[platform\n", ["is not TOML", "line 1"]),
    "unknown section": (MINIMAL + "[redsi]\n", ["redsi is not a known key", "did you mean redis?"]),
    "unknown key": (MINIMAL + "[timers]\nsync_grace = 1\n", ["[timers] sync_grace is not a known key"]),
    "misspelt key": (MINIMAL + "[timers]\nmcu_timeout_secs = 1\n", ["did you mean mcu_timeout_seconds?"]),
    "unknown key below": (
        MINIMAL + '[redis.sentinel]\naddresses = ["h:1"]\nmasters = {a = "m"}\nx = 1\n',
        ["[redis.sentinel] x is not a known key"],
    ),
    "section is no table": ("timers = 5\n" + MINIMAL, ["[timers]", "expected `object`"]),
    "no platform": ('[amqp]\nurl = "memory:"\n', ["[platform] is missing: add it"]),
    "no moid": ('[platform]\n[amqp]\nurl = "memory:"\n', ["[platform] moid is missing: add it"]),
    "empty moid": ('[platform]\nmoid = ""\n[amqp]\nurl = "memory:"\n', ["[platform] moid"]),
    "moid with a blank": ('[platform]\nmoid = "a b"\n[amqp]\nurl = "memory:"\n', ["[platform] moid"]),
    "moid with a slash": ('[platform]\nmoid = "a/b"\n[amqp]\nurl = "memory:"\n', ["[platform] moid"]),
    "moid with a line's end": ('[platform]\nmoid = "a\\n"\n[amqp]\nurl = "memory:"\n', ["[platform] moid"]),
    "moid is a number": ('[platform]\nmoid = 5\n[amqp]\nurl = "memory:"\n', ["[platform] moid", "expected `str`"]),
    "no broker": (_platform(""), ["[amqp] is missing"]),
    "no broker url": (_platform("[amqp]\n"), ["[amqp] url is missing"]),
    "url is a number": (_platform("[amqp]\nurl = 5\n"), ["[amqp] url", "expected `str`"]),
    "url of another kind": (_platform('[amqp]\nurl = "http://h/v"\n'), ["[amqp] url must begin with amqp://"]),
    "url without a host": (_platform('[amqp]\nurl = "amqp:///v"\n'), ["[amqp] url has no host"]),
    "url with a bad port": (_platform('[amqp]\nurl = "amqp://h:x/v"\n'), ["[amqp] url is not a valid URL"]),
    "url with port 0": (_platform('[amqp]\nurl = "amqp://h:0/v"\n'), ["[amqp] url", "port out of range"]),
    "url with two paths": (_platform('[amqp]\nurl = "amqp://h/a/b"\n'), ["[amqp] url", "%2F"]),
    "url with options": (_platform('[amqp]\nurl = "amqp://h/a?heartbeat=1"\n'), ["[amqp] url"]),
    "queue type": (MINIMAL + 'queue_type = "stream"\n', ["[amqp] queue_type"]),
    "prefetch": (MINIMAL + "prefetch = 0\n", ["[amqp] prefetch"]),
    "two AMQP passwords": (
        MINIMAL + 'password = "hush-hush"\npassword_file = "pw"\n',
        ["[amqp] password and password_file are both given: keep one"],
    ),
    "CA without TLS": (MINIMAL + 'ca_file = "pw"\n', ["[amqp] ca_file needs a url that begins with amqps://"]),
    "no password file": (
        MINIMAL + 'password_file = "gone"\n',
        ["[amqp] password_file = gone cannot be read", "No such"],
    ),
    "empty password file": (MINIMAL + 'password_file = "empty"\n', ["[amqp] password_file is empty"]),
    "folder as a password file": (MINIMAL + 'password_file = "."\n', ["[amqp] password_file", "Is a directory"]),
    "binary password file": (MINIMAL + 'password_file = "binary"\n', ["[amqp] password_file", "not UTF-8"]),
    "two Redis passwords": (
        MINIMAL + '[redis]\npassword = "hush-hush"\npassword_file = "pw"\n',
        ["[redis] password and password_file are both given"],
    ),
    "Redis CA without TLS": (MINIMAL + '[redis]\nca_file = "pw"\n', ["[redis] ca_file needs tls = true"]),
    "Redis user without password": (MINIMAL + '[redis]\nuser = "u"\n', ["[redis] user needs a password"]),
    "Redis CA missing": (
        MINIMAL + '[redis]\ntls = true\nca_file = "gone"\n',
        ["[redis] ca_file = gone cannot be read"],
    ),
    "Sentinel without masters": (
        MINIMAL + '[redis.sentinel]\naddresses = ["h:26379"]\n',
        ["[redis.sentinel] masters is missing"],
    ),
    "Sentinel with empty masters": (
        MINIMAL + '[redis.sentinel]\naddresses = ["h:26379"]\nmasters = {}\n',
        ["[redis.sentinel] masters"],
    ),
    "Sentinel without addresses": (MINIMAL + '[redis.sentinel]\nmasters = {a = "m"}\n', ["addresses is missing"]),
    "Sentinel without a port": (
        MINIMAL + '[redis.sentinel]\naddresses = ["host"]\nmasters = {a = "m"}\n',
        ["[redis.sentinel] addresses: 'host' is not host:port"],
    ),
    "SQL of another kind": (MINIMAL + '[sql]\nurl = "postgresql://h/d"\n', ["[sql] url must begin with mysql://"]),
    "SQL without a database": (MINIMAL + '[sql]\nurl = "mysql://h/"\n', ["[sql] url names no database"]),
    "SQLite without a path": (MINIMAL + '[sql]\nurl = "sqlite://"\n', ["[sql] url must be sqlite:///path"]),
    "SQLite with a user": (MINIMAL + '[sql]\nurl = "sqlite:///x"\nuser = "u"\n', ["[sql] url is SQLite"]),
    "two SQL passwords": (
        MINIMAL + '[sql]\nurl = "mysql://u:hush-hush@h/d"\npassword_file = "pw"\n',
        ["[sql] url and password"],
    ),
    "SQL CA without TLS": (MINIMAL + '[sql]\nca_file = "pw"\n', ["[sql] ca_file needs tls = true"]),
    "SQL key without certificate": (
        MINIMAL + '[sql]\ntls = true\nkey_file = "pw"\n',
        ["[sql] key_file needs cert_file"],
    ),
    "licence keys missing": (MINIMAL + '[license]\nkey_file = "gone"\n', ["[license] key_file = gone cannot be read"]),
    "licence keys empty": (MINIMAL + '[license]\nkey_file = "empty"\n', ["[license] key_file holds no key"]),
    "no licence keys": (MINIMAL + '[license]\nkey_file = "pw"\n', ["[license] key_file, line 1, is not a Fernet key"]),
    "licence keys nowhere": (MINIMAL + '[license]\nkey_file = ""\n', ["[license] key_file", "length >= 1"]),
    "password nowhere": (MINIMAL + '[redis]\npassword_file = ""\n', ["[redis] password_file", "length >= 1"]),
    "discovery nowhere": (MINIMAL + '[npp]\ndiscovery_file = ""\n', ["[npp] discovery_file", "length >= 1"]),
    "licence keys in the file": (MINIMAL + '[license]\nkeys = ["hush-hush"]\n', ["[license] keys is not a known key"]),
    "terminals": (MINIMAL + "[license]\nsmall_conference_terminals = 0\n", ["[license] small_conference_terminals"]),
    "timer is zero": (MINIMAL + "[timers]\nstate_poll_seconds = 0\n", ["[timers] state_poll_seconds"]),
    "timer is negative": (MINIMAL + "[timers]\nexpiry_interval_seconds = -1\n", ["[timers] expiry_interval_seconds"]),
    "timer is endless": (MINIMAL + "[timers]\nmcu_penalty_seconds = inf\n", ["[timers] mcu_penalty_seconds"]),
    "timer is no number": (MINIMAL + "[timers]\nmcu_penalty_seconds = nan\n", ["[timers] mcu_penalty_seconds"]),
    "timer is a text": (
        MINIMAL + '[timers]\nmcu_timeout_seconds = "15"\n',
        ["[timers] mcu_timeout_seconds", "got `str`"],
    ),
    "timer is a flag": (MINIMAL + "[timers]\nmcu_timeout_seconds = true\n", ["[timers] mcu_timeout_seconds"]),
    "grace too short": (
        MINIMAL + "[timers]\nsync_grace_seconds = 15\n",
        ["[timers] sync_grace_seconds = 15 must exceed mcu_timeout_seconds = 15"],
    ),
    "negative rate": (MINIMAL + "[restore]\nrate_per_second = -1\n", ["[restore] rate_per_second"]),
    "no web endpoint": (MINIMAL + "[web]\n", ["[web] endpoint is missing"]),
    "web endpoint": (MINIMAL + '[web]\nendpoint = "8080"\n', ["[web] endpoint"]),
    "web port": (MINIMAL + '[web]\nendpoint = "tcp:80800"\n', ["[web] endpoint = tcp:80800 names no port"]),
    "nested": (MINIMAL + "x = " + "[" * 5000, ["nested too deep"]),
    "path with a NUL": (MINIMAL + '[redis]\npassword_file = "\\u0000"\n', ["[redis] password_file"]),
    "no AMQP user": (MINIMAL + 'user = ""\n', ["[amqp] user", "length >= 1"]),
    "master without a name": (
        MINIMAL + '[redis.sentinel]\naddresses = ["h:1"]\nmasters = {a = ""}\n',
        ["[redis.sentinel] masters: expected `str`"],
    ),
    "master of no platform": (
        MINIMAL + '[redis.sentinel]\naddresses = ["h:1"]\nmasters = {"a b" = "m"}\n',
        ["[redis.sentinel] masters"],
    ),
    "AMQP CA that is none": (
        _platform('[amqp]\nurl = "amqps://h/v"\nca_file = "pw"\n'),
        ["[amqp] ca_file = ", "holds no certificate"],
    ),
    "Redis CA that is empty": (MINIMAL + '[redis]\ntls = true\nca_file = "empty"\n', ["[redis] ca_file = "]),
    "SQL key that is none": (
        MINIMAL + '[sql]\ntls = true\ncert_file = "pw"\nkey_file = "pw"\n',
        ["[sql] cert_file and key_file"],
    ),
    "SQL with options": (MINIMAL + '[sql]\nurl = "mysql://h/d?hush-hush=1"\n', ["[sql] url has options", "remove"]),
    "AMQP with a #": (_platform('[amqp]\nurl = "amqp://u:1hush-hush@h/v#a"\n'), ["[amqp] url", "%23"]),
    "host with a blank": (_platform('[amqp]\nurl = "amqp://h h/v"\n'), ["[amqp] url has blanks"]),
    "instance name with a line's end": (MINIMAL + '[instance]\nname = "one\\n"\n', ["[instance] name"]),
    "instance name": (MINIMAL + '[instance]\nname = "two words"\n', ["[instance] name"]),
}


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.origin = os.path.join(self.folder, "css.toml")
        self.write("pw", b"hush-hush\n")
        self.write("empty", b"\n")
        self.write("binary", b"\xff\xfe")
        Authority().write(Path(self.folder, "ca"))

    def write(self, name: str, content: bytes) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def parse(self, text: str) -> Settings:
        return parse(text, self.origin)


class Refused(_Case):
    def test_refused_with_key_file_and_remedy(self) -> None:
        for name, (text, words) in _REFUSED.items():
            with self.subTest(name):
                error = str(self.assertRaises(ConfigError, self.parse, text))
                self.assertTrue(error.startswith(f"{self.origin}: "), error)
                for word in words:
                    self.assertIn(word, error)
                self.assertRegex(error, r": (correct|add|keep|put|raise|name|change|remove|write)|must|did you mean")

    def test_secrets_do_not_show_in_errors(self) -> None:
        for name, (text, _) in _REFUSED.items():
            with self.subTest(name):
                error = self.assertRaises(ConfigError, self.parse, text)
                self.assertNotIn("hush-hush", f"{error} {error.__cause__!r}")

    def test_missing_file(self) -> None:
        error = str(self.assertRaises(ConfigError, load, self.origin))
        self.assertIn(f"{self.origin}: cannot be read (No such file or directory)", error)


class Accepted(_Case):
    def test_defaults_of_the_protocol(self) -> None:
        settings = self.parse(MINIMAL)
        self.assertEqual(settings.platform.moid, "platform-a")
        self.assertEqual(settings.instance.name, f"{socket.gethostname()}-{os.getpid()}"[-64:])
        self.assertEqual(
            (settings.amqp.user, settings.amqp.queue_type, settings.amqp.prefetch), ("guest", "classic", 20)
        )
        self.assertEqual(
            msgspec.to_builtins(settings.timers),
            {
                "state_poll_seconds": 5,
                "state_refresh_seconds": 30,
                "request_timeout_seconds": 5,
                "creating_timeout_seconds": 30,
                "restore_interval_seconds": 5,
                "expiry_interval_seconds": 1,
                "mcu_timeout_seconds": 15,
                "sync_grace_seconds": 20,
                "legacy_wait_seconds": 300,
                "monitor_timeout_seconds": 60,
                "mcu_penalty_seconds": 30,
                "unroutable_seconds": 60,
                "status_interval_seconds": 60,
                "outbox_lease_seconds": 10,
            },
        )
        self.assertEqual(settings.restore.rate_per_second, 500)
        self.assertEqual(settings.license.small_conference_terminals, 8)
        self.assertIsNone(settings.web)
        self.assertIsNone(settings.npp)
        self.assertIsNone(settings.redis.sentinel)

    def test_own_broker(self) -> None:
        expected = Broker("mq.example", 5673, "css/a", "css", Secret("p@ss"), False)
        self.assertEqual(self.parse(MINIMAL).amqp.broker, expected)

    def test_own_broker_with_the_user_of_the_others(self) -> None:
        settings = self.parse(
            _platform('[amqp]\nurl = "amqps://mq"\nuser = "u"\npassword_file = "pw"\nca_file = "ca"\n')
        )
        self.assertEqual(settings.amqp.broker, Broker("mq", 5671, "/", "u", Secret("hush-hush"), True))
        self.assertEqual(settings.amqp.ca_file, os.path.join(self.folder, "ca"))

    def test_embedded_broker(self) -> None:
        self.assertIsNone(self.parse(_platform('[amqp]\nurl = "memory:"\n')).amqp.broker)

    def test_passwords_keep_their_blanks(self) -> None:
        self.write("pw", b" hush \r\n")
        settings = self.parse(MINIMAL + '[redis]\npassword_file = "pw"\n')
        self.assertEqual(settings.redis.password, Secret(" hush "))

    def test_files_of_an_editor_that_marks_them(self) -> None:
        """The mark of UTF-8 is no part of the text."""
        self.write("pw", b"\xef\xbb\xbfhush\n")
        self.write("css.toml", b"\xef\xbb\xbf" + MINIMAL.encode() + b'[redis]\npassword_file = "pw"\n')
        self.assertEqual(load(self.origin).redis.password, Secret("hush"))

    def test_certificate_and_key(self) -> None:
        """In one file, or in two that fit."""
        self.write("both.pem", Authority().pair())
        self.write("other.pem", Authority().pair())
        tables = MINIMAL + '[sql]\ntls = true\nca_file = "ca"\ncert_file = "both.pem"\n'
        self.assertEqual(self.parse(tables).sql.cert_file, os.path.join(self.folder, "both.pem"))
        self.assertTrue(self.parse(tables + 'key_file = "both.pem"\n').sql.key_file)
        error = self.assertRaises(ConfigError, self.parse, tables + 'key_file = "other.pem"\n')
        self.assertIn("[sql] cert_file and key_file", str(error))

    def test_sentinel(self) -> None:
        text = '[redis.sentinel]\naddresses = ["h:26379", "[::1]:26380"]\nmasters = {"platform-a" = "mymaster"}\n'
        sentinel = self.parse(MINIMAL + text).redis.sentinel
        assert sentinel is not None
        self.assertEqual(sentinel.hosts, (("h", 26379), ("::1", 26380)))
        self.assertEqual(sentinel.masters, {"platform-a": "mymaster"})

    def test_licence_keys(self) -> None:
        self.write("keys", f"\n  {KEY}  \n\n{KEY}\n".encode())
        settings = self.parse(MINIMAL + '[license]\nkey_file = "keys"\n')
        self.assertEqual(settings.license.keys, (Secret(KEY), Secret(KEY)))

    def test_sql_addresses(self) -> None:
        settings = self.parse(MINIMAL + '[sql]\nurl = "mysql://u:p@h/d"\n')
        self.assertEqual(settings.sql.url.reveal(), "mysql://u:p@h/d")
        settings = self.parse(MINIMAL + '[sql]\nurl = "sqlite:///var/css.db"\n')
        self.assertEqual(settings.sql.url.reveal(), f"sqlite:///{self.folder}/var/css.db")
        settings = self.parse(MINIMAL + '[sql]\nurl = "sqlite:////var/css.db"\n')
        self.assertEqual(settings.sql.url.reveal(), "sqlite:////var/css.db")

    def test_every_key_of_the_protocol(self) -> None:
        self.write("keys", KEY.encode())
        settings = self.parse(
            MINIMAL
            + """
            user = "guest"
            password = "p"
            queue_type = "quorum"
            [instance]
            name = "css-1"
            [redis]
            user = "u"
            password_file = "pw"
            [sql]
            url = "mysql://u:p@h/d"
            [npp]
            discovery_file = "d"
            [license]
            key_file = "keys"
            small_conference_terminals = 4
            [timers]
            mcu_timeout_seconds = 1.5
            sync_grace_seconds = 2
            [restore]
            rate_per_second = 0
            [web]
            endpoint = "tcp:8080:interface=127.0.0.1"
            """
        )
        self.assertEqual(settings.instance.name, "css-1")
        self.assertEqual(settings.timers.mcu_timeout_seconds, 1.5)
        self.assertEqual(settings.restore.rate_per_second, 0)
        assert settings.npp is not None and settings.web is not None
        self.assertEqual(settings.npp.discovery_file, os.path.join(self.folder, "d"))
        self.assertEqual(settings.web.endpoint, "tcp:8080:interface=127.0.0.1")

    def test_load(self) -> None:
        self.write("css.toml", MINIMAL.encode())
        self.assertEqual(load(self.origin).platform.moid, "platform-a")

    def test_secrets_do_not_show(self) -> None:
        self.write("keys", KEY.encode())
        text = _platform(
            '[amqp]\nurl = "amqp://u:hush-hush@h/v"\npassword = "hush-hush"\n[redis]\npassword_file = "pw"\n'
            '[sql]\nurl = "mysql://u:hush-hush@h/d"\n[license]\nkey_file = "keys"\n'
        )
        settings = self.parse(text)
        shown = f"{settings!r} {settings} {settings.amqp.broker!r} {settings.license.keys}"
        self.assertNotIn("hush-hush", shown)
        self.assertNotIn(KEY, shown)

    def test_frozen(self) -> None:
        settings = self.parse(MINIMAL)
        self.assertRaises(AttributeError, setattr, settings.timers, "mcu_timeout_seconds", 1)
