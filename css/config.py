"""The configuration of PROTOCOL section 7: TOML, parsed and checked once, immutable from then on.

`load(path)` and `parse(text, origin)` give `Settings`, or raise `ConfigError`, whose text names the file, the key, and
what to do. Secrets are `Secret`s: they do not show in any `repr`, log line or error. Relative paths are taken from the
folder of the configuration file, since a daemon has no other folder of its own.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
from cryptography.fernet import Fernet

from css.certificates import problem_with

T = TypeVar("T", bound=msgspec.Struct)

Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"\A[^\s\x00-\x1f\x7f]+\Z")]
_Moid = Annotated[str, msgspec.Meta(pattern=r"\A[!-.0-~]{1,128}\Z")]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_File = Annotated[str, msgspec.Meta(min_length=1, pattern=r"\A[^\x00]*\Z")]
"""A path. Without the key there is no such file; a key without a path is somebody's mistake."""
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]

MEMORY = "memory:"
"""The `[amqp] url` of the embedded broker."""


class ConfigError(Exception):
    """The configuration can't be used; the text says which file and key, and what to do."""


class Secret:
    """A text that must not be printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one who logs in with it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "<secret>" if self._value else "<none>"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; its fields are the keys that are allowed."""


class PlatformSection(Section, frozen=True):
    """Whose CSS this is."""

    moid: _Moid
    """Printable ASCII without space and slash, as on the wire."""


class InstanceSection(Section, frozen=True):
    """Which of the platform's instances this is."""

    name: _Name = ""
    """After parsing never empty: default `<host name>-<process id>`."""


class Broker(msgspec.Struct, frozen=True):
    """The own broker, as `[amqp] url` gives it."""

    host: str
    port: int
    vhost: str
    user: str
    password: Secret
    tls: bool


class AmqpSection(Section, frozen=True):
    """The own broker, and how to log in to the other platforms' brokers, whose addresses the PMS gives."""

    url: Secret
    user: _Text = "guest"
    password: Secret = Secret()
    password_file: _File = ""
    queue_type: Literal["classic", "quorum"] = "classic"
    prefetch: Annotated[int, msgspec.Meta(ge=10, le=1000)] = 20
    """Deliveries that one queue's consumer works on at the same time; some may wait for another platform's Redis."""
    ca_file: _File = ""
    """Certificates to trust, PEM; empty: the system's. Needs `amqps://`; the other platforms' brokers follow."""

    @property
    def broker(self) -> Broker | None:
        """None: the embedded broker. Without a user in the URL, `user` and `password` are used here too."""
        if self.url.reveal() == MEMORY:
            return None
        url = urlsplit(self.url.reveal())
        tls = url.scheme == "amqps"
        named = url.username is not None
        return Broker(
            host=url.hostname or "",
            port=url.port or (5671 if tls else 5672),
            vhost=unquote(url.path[1:]) or "/",
            user=unquote(url.username or "") if named else self.user,
            password=Secret(unquote(url.password or "")) if named else self.password,
            tls=tls,
        )


class SentinelSection(Section, frozen=True):
    """Where Sentinels tell the addresses of every Redis, instead of the PMS."""

    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """`host:port` each."""
    masters: Annotated[dict[_Moid, _Text], msgspec.Meta(min_length=1)]
    """The master's name by platform moid; a platform that is not named here is found at the PMS's address."""

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """The addresses as (host, port)."""
        return tuple(_host_port(address) for address in self.addresses)


class RedisSection(Section, frozen=True):
    """How to log in to every Redis."""

    user: str = ""
    password: Secret = Secret()
    password_file: _File = ""
    tls: bool = False
    ca_file: _File = ""
    sentinel: SentinelSection | None = None


class SqlSection(Section, frozen=True):
    """The SQL database: at `url`, else at the PMS's address with `user` and `password`."""

    url: Secret = Secret()
    user: str = ""
    """Replaces the URL's, if given; the same is true of the password."""
    password: Secret = Secret()
    password_file: _File = ""
    tls: bool = False
    ca_file: _File = ""
    cert_file: _File = ""
    key_file: _File = ""
    threads: Annotated[int, msgspec.Meta(ge=1, le=32)] = 2
    timeout_seconds: Seconds = 10.0
    max_waiting: _Count = 200


class NppSection(Section, frozen=True):
    """Only for `twistd npp`."""

    discovery_file: _File


class LicenseSection(Section, frozen=True):
    """How licences are verified, and what they count."""

    key_file: _File = ""
    keys: tuple[Secret, ...] = ()
    """Read from `key_file`, one a line; not a key of the configuration. Without any no licence can be verified."""
    small_conference_terminals: _Count = 8


class TimersSection(Section, frozen=True):
    """All in seconds."""

    state_poll_seconds: Seconds = 5.0
    state_refresh_seconds: Seconds = 30.0
    request_timeout_seconds: Seconds = 5.0
    creating_timeout_seconds: Seconds = 30.0
    restore_interval_seconds: Seconds = 5.0
    expiry_interval_seconds: Seconds = 1.0
    mcu_timeout_seconds: Seconds = 15.0
    sync_grace_seconds: Seconds = 20.0
    legacy_wait_seconds: Seconds = 300.0
    monitor_timeout_seconds: Seconds = 60.0
    mcu_penalty_seconds: Seconds = 30.0
    unroutable_seconds: Seconds = 60.0
    status_interval_seconds: Seconds = 60.0
    outbox_lease_seconds: Seconds = 10.0
    """After that time another instance carries out effects that this one committed and did not finish."""


class RestoreSection(Section, frozen=True):
    """Paced restoration: of the platform that restores, whosever conferences, all instances together."""

    rate_per_second: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 500.0
    """0: unlimited."""


class WebSection(Section, frozen=True):
    """The console and API; without this section there is none."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+:.+$")]
    """A server endpoint in Twisted's words, e.g. `tcp:8080:interface=127.0.0.1`."""


class Settings(Section, frozen=True):
    """The whole configuration, checked."""

    platform: PlatformSection
    amqp: AmqpSection
    instance: InstanceSection = InstanceSection()
    redis: RedisSection = RedisSection()
    sql: SqlSection = SqlSection()
    npp: NppSection | None = None
    license: LicenseSection = LicenseSection()
    timers: TimersSection = TimersSection()
    restore: RestoreSection = RestoreSection()
    web: WebSection | None = None


def load(path: str) -> Settings:
    """Read and check a configuration file.

    @raise ConfigError: it can't be read, or not be used.
    """
    return parse(read_text(path), path)


def read_text(path: str) -> str:
    """The text of a configuration file. @raise ConfigError: it can't be read."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({_reason(error)}): give --config a readable TOML file") from error


def parse(text: str, origin: str) -> Settings:
    """Check a configuration.

    @param origin: the file's path, for errors and for relative paths in it.
    @raise ConfigError: with the key's name, `origin`, and what to do.
    """
    try:
        return Checker(origin).finish(convert(tables_of(text), Settings))
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error.__cause__


def tables_of(text: str) -> dict[str, Any]:
    """The tables of a configuration. @raise ConfigError: it is not TOML, or has what no file may have."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message may quote the line, but tomllib quotes single characters only.
        raise ConfigError(f"is not TOML: {error}: correct that line") from None
    except RecursionError:
        raise ConfigError("is not TOML that anybody needs: it is nested too deep: correct it") from None
    license_table = tables.get("license")
    if isinstance(license_table, dict) and "keys" in license_table:
        raise ConfigError("[license] keys is not a known key: name a file with the keys in key_file")
    return tables


def convert(tables: dict[str, Any], kind: type[T]) -> T:
    """Sections from tables. @raise ConfigError: with the key that is unknown, missing, or of the wrong type."""
    try:
        return msgspec.convert(tables, kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error))) from None


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?P<kind>unknown|missing required) field `(?P<name>[^`]*)`")


def _explain(text: str) -> str:
    """msgspec's words, with the key as it stands in the file."""
    match = _PATH.match(text)
    what, path = (match["what"], (match["path"] or "").replace("[...]", "")) if match else (text, "")
    field = _FIELD.search(what)
    if field is None:
        return f"{_key(path)}: {what[:1].lower() + what[1:]}: correct the value"
    name = f"{path}.{field['name']}" if path else field["name"]
    if field["kind"] == "unknown":
        return f"{_key(name)} is not a known key{_meant(path, field['name'])}: correct or remove it"
    return f"{_key(name)} is missing: add it"


def _key(path: str) -> str:
    section, _, name = path.rpartition(".")
    if not section:
        return f"[{name}]" if name in Settings.__struct_fields__ else name
    return f"[{section}] {name}"


def _meant(path: str, name: str) -> str:
    known: dict[str, tuple[str, ...]] = {
        "": Settings.__struct_fields__,
        "amqp": AmqpSection.__struct_fields__,
        "redis": RedisSection.__struct_fields__,
        "sql": SqlSection.__struct_fields__,
        "timers": TimersSection.__struct_fields__,
        "license": LicenseSection.__struct_fields__,
        "restore": RestoreSection.__struct_fields__,
    }
    close = difflib.get_close_matches(name, known.get(path, ()), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class Checker:
    """What types can't say: combinations, files, URLs. @param origin: the file's path."""

    def __init__(self, origin: str) -> None:
        self._folder = os.path.dirname(os.path.abspath(origin))

    def finish(self, settings: Settings) -> Settings:
        _check_timers(settings.timers)
        _check_port(settings.web.endpoint if settings.web else "")
        return msgspec.structs.replace(
            settings,
            instance=self._instance(settings.instance),
            amqp=self._amqp(settings.amqp),
            redis=self.redis(settings.redis),
            sql=self._sql(settings.sql),
            license=self._license(settings.license),
            npp=settings.npp and self.npp(settings.npp),
        )

    def _instance(self, section: InstanceSection) -> InstanceSection:
        return InstanceSection(name=section.name or f"{socket.gethostname()}-{os.getpid()}"[-64:])

    def _amqp(self, section: AmqpSection) -> AmqpSection:
        if section.url.reveal() != MEMORY:
            url = _url("[amqp] url", section.url, ("amqp", "amqps"))
            if url.path.count("/") > 1 or url.query:
                raise ConfigError("[amqp] url must end with one /vhost, with any further / in it written as %2F")
        if section.ca_file and not section.url.reveal().startswith("amqps:"):
            raise ConfigError("[amqp] ca_file needs a url that begins with amqps://: change the url or remove ca_file")
        return self._files("amqp", self._password("amqp", section))

    def redis(self, section: RedisSection) -> RedisSection:
        """With its password, and absolute paths. @raise ConfigError: a combination that can't be, a missing file."""
        if section.ca_file and not section.tls:
            raise ConfigError("[redis] ca_file needs tls = true: add it or remove ca_file")
        if section.user and not (section.password or section.password_file):
            raise ConfigError("[redis] user needs a password: add password_file or password, or remove user")
        if section.sentinel is not None:
            _check_addresses(section.sentinel)
        return self._files("redis", self._password("redis", section))

    def _sql(self, section: SqlSection) -> SqlSection:
        login = bool(section.user or section.password or section.password_file)
        if section.url:
            url = _url("[sql] url", section.url, ("mysql", "mariadb", "sqlite"))
            if url.scheme == "sqlite":
                if login or section.tls:
                    raise ConfigError("[sql] url is SQLite, which has no user, password and tls: remove them")
                section = msgspec.structs.replace(section, url=self._sqlite(url))
            elif url.password and (section.password or section.password_file):
                raise ConfigError("[sql] url and password or password_file both give a password: keep one of them")
        for key in ("ca_file", "cert_file", "key_file"):
            if getattr(section, key) and not section.tls:
                raise ConfigError(f"[sql] {key} needs tls = true: add it or remove {key}")
        if section.key_file and not section.cert_file:
            raise ConfigError("[sql] key_file needs cert_file: add it or remove key_file")
        return self._files("sql", self._password("sql", section))

    def _sqlite(self, url: SplitResult) -> Secret:
        return Secret("sqlite:///" + self._path(url.path[1:]))

    def _license(self, section: LicenseSection) -> LicenseSection:
        if not section.key_file:
            return section
        section = self._files("license", section)
        lines = [line.strip() for line in self._read("[license] key_file", section.key_file).splitlines()]
        keys = tuple(Secret(_fernet_key(number, line)) for number, line in enumerate(lines, 1) if line)
        if not keys:
            raise ConfigError("[license] key_file holds no key: put one or more in it, a line each")
        return msgspec.structs.replace(section, keys=keys)

    def npp(self, section: NppSection) -> NppSection:
        """With an absolute path. The file itself may come later."""
        return NppSection(discovery_file=self._path(section.discovery_file))

    def _password(self, name: str, section: T) -> T:
        path, password = getattr(section, "password_file", ""), getattr(section, "password", None)
        if not path:
            return section
        if password:
            raise ConfigError(f"[{name}] password and password_file are both given: keep one of them")
        # An editor ends the last line; nothing else of the text is ours to change.
        text = self._read(f"[{name}] password_file", path).rstrip("\r\n")
        if not text:
            raise ConfigError(f"[{name}] password_file is empty: put the password in it")
        return msgspec.structs.replace(section, password=Secret(text), password_file=self._path(path))

    def _files(self, name: str, section: T) -> T:
        """Make paths absolute, and see that what is read later can be read."""
        found = {key: path for key in ("ca_file", "cert_file", "key_file") if (path := getattr(section, key, ""))}
        for key, path in found.items():
            self._read(f"[{name}] {key}", path)
        if problem := problem_with(**(found := {key: self._path(path) for key, path in found.items()})):
            raise ConfigError(f"[{name}] {problem}")
        return msgspec.structs.replace(section, **found)

    def _read(self, key: str, path: str) -> str:
        try:
            with open(self._path(path), encoding="utf-8-sig") as file:
                return file.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = _reason(error)
            raise ConfigError(f"{key} = {path} cannot be read ({reason}): correct the path or its rights") from None

    def _path(self, path: str) -> str:
        return os.path.join(self._folder, path)


def _check_timers(timers: TimersSection) -> None:
    grace, silence = timers.sync_grace_seconds, timers.mcu_timeout_seconds
    if grace <= silence:
        raise ConfigError(
            f"[timers] sync_grace_seconds = {grace:g} must exceed mcu_timeout_seconds = {silence:g}: "
            "raise the one or lower the other"
        )


def _check_port(endpoint: str) -> None:
    kind, port = endpoint.split(":")[:2] if endpoint else ("", "")
    if kind in ("tcp", "tcp6", "ssl", "tls") and port.isdecimal() and int(port) > 65_535:
        raise ConfigError(f"[web] endpoint = {endpoint} names no port: write one of 1 to 65535")


def _check_addresses(section: SentinelSection) -> None:
    for address in section.addresses:
        try:
            _host_port(address)
        except ValueError:
            raise ConfigError(f"[redis.sentinel] addresses: {address!r} is not host:port: correct it") from None


def _host_port(address: str) -> tuple[str, int]:
    url = urlsplit(f"//{address}")
    if not url.hostname or not url.port or url.path or url.username is not None:
        raise ValueError(address)
    return url.hostname, url.port


def _url(key: str, secret: Secret, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of a URL; errors don't quote it, as it may hold a password."""
    allowed = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        url = urlsplit(secret.reveal())
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        raise ConfigError(f"{key} is not a valid URL: correct its host and port") from None
    if url.scheme not in schemes:
        raise ConfigError(f"{key} must begin with {allowed}: correct it")
    if "#" in secret.reveal() or (schemes[0] == "mysql" and url.query):
        raise ConfigError(f"{key} has options behind ? or #, which nobody reads: remove them, write # as %23")
    if any(character.isspace() for character in url.netloc):
        raise ConfigError(f"{key} has blanks in its host: correct it")
    if url.scheme == "sqlite":
        if url.netloc or len(url.path) < 2:
            raise ConfigError(f"{key} must be sqlite:///path: correct it")
    elif not url.hostname or not port_is_valid:
        raise ConfigError(f"{key} has no host, or a port out of range: write {schemes[0]}://user:password@host:port/…")
    elif schemes[0] == "mysql" and (len(url.path) < 2 or "/" in url.path[1:]):
        raise ConfigError(f"{key} names no database: write mysql://user:password@host:port/database")
    return url


def _fernet_key(number: int, line: str) -> str:
    try:
        Fernet(line)
    except ValueError:
        raise ConfigError(f"[license] key_file, line {number}, is not a Fernet key: correct or remove it") from None
    return line


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "not UTF-8 text"
